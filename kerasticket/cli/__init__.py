"""The command line, `kerasticket COMMAND`: the only room that reads arguments and prints."""
