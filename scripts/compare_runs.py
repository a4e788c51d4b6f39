"""What another precision (or backend, or machine) changes: two runs of `distilled_pruning.py`, side by side."""

from kerasticket.cli.commands import run

if __name__ == "__main__":
    run("precision")
