"""A regime atlas: distilled pruning at every point of a grid of settings, accuracy and barrier in one figure."""

from kerasticket.cli.commands import run

if __name__ == "__main__":
    run("sweep")
