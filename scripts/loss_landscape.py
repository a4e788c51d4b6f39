"""The loss on planes through networks that differ in data order alone (paper, Fig. 5), or around one network."""

from kerasticket.cli.commands import run

if __name__ == "__main__":
    run("landscape")
