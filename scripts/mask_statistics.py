"""What the masks of IMP, of distilled data and of chance have in common: overlap, layers, initial magnitudes."""

from kerasticket.cli.commands import run

if __name__ == "__main__":
    run("masks")
