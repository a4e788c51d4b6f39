"""How good the tickets are that each of several distilled sets finds, beside random real images and 'mix'."""

from kerasticket.cli.commands import run

if __name__ == "__main__":
    run("compare")
