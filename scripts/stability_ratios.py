"""Synthetic tickets over IMP tickets, in accuracy and in barrier, for many runs in one picture (paper, Fig. 6)."""

from kerasticket.cli.commands import run

if __name__ == "__main__":
    run("ratios")
