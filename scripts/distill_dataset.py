"""Distills a data set and measures the result beside real images and the images that the method began with."""

from kerasticket.cli.commands import run

if __name__ == "__main__":
    run("distill")
