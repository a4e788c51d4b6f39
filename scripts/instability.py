"""Are tickets stable? Loss and accuracy between trainings that differ in data order alone (paper, Figs. 3 and 4)."""

from kerasticket.cli.commands import run

if __name__ == "__main__":
    run("stability")
