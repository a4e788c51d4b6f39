"""Distilled pruning against IMP and random masks: accuracy and data used at every sparsity (paper, Fig. 2)."""

from kerasticket.cli.commands import run

if __name__ == "__main__":
    run("prune")
