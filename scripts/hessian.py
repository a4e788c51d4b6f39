"""How sharp is the minimum that a ticket ends in? The diagonal of the Hessian after training (paper, section 4.2)."""

from kerasticket.cli.commands import run

if __name__ == "__main__":
    run("hessian")
