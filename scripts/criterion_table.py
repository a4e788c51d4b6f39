"""Criteria side by side: accuracy at 80, 90 and 98% sparsity by IMP with rewinding, SNIP, GraSP, SynFlow and others."""

from kerasticket.cli.commands import run

if __name__ == "__main__":
    run("criteria")
