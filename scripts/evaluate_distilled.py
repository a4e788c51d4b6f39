"""How good distilled sets are, our own and others': test accuracy of fresh networks trained on them."""

from kerasticket.cli.commands import run

if __name__ == "__main__":
    run("evaluate")
