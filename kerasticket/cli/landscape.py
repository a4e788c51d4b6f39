"""The loss on planes through networks that differ in data order alone (paper, Fig. 5), or around one network.

    python scripts/distilled_pruning.py --out runs/digits --data-orders 0 1 2 3   # each ticket trained four times
    python scripts/loss_landscape.py runs/digits                                  # minutes
    python scripts/loss_landscape.py runs/cifar10-cpu --rounds 9 --points 10000   # 20 minutes per network, two cores
    python scripts/loss_landscape.py runs/digits --plane random --layout grid
    python scripts/loss_landscape.py a.keras b.keras c.keras --plane through_three --dataset digits --out landscape

Writes each surface (HDF5, and its points and networks as CSV), surfaces.csv, and maps of loss and accuracy (PNG and
PDF) with the dense network and the tickets of a round side by side, into RUN/landscape/PLANE. Every finished surface
is kept, and the points of the one that is being made: the same command again goes on where it was killed.
"""

import time
from typing import Any

from rich.console import Console
from rich.table import Table

from kerasticket.backend.quiet import import_keras
from kerasticket.cli.bars import Bars
from kerasticket.cli.flags import read
from kerasticket.experiments.settings import PlaneSettings


def main(settings: PlaneSettings) -> None:
    import_keras()
    from kerasticket.experiments.jobs.plane import landscape

    started = time.perf_counter()
    with Bars() as bars:
        made = landscape(settings, bars)
    Console(highlight=False, width=150).print(table(made.rows, made.title))
    seconds, out = time.perf_counter() - started, made.folder.resolve()
    print(f"\n{seconds:.0f} s; surfaces, tables and figures lie in {out}")


def table(rows: list[dict[str, Any]], title: str) -> Table:
    """A line per surface."""
    from kerasticket.experiments.landscape_report import NUMBERS

    drawn = Table(title=f"{title}: train loss on the plane")
    for heading in ("surface", "sparsity", "points", *(name.replace("_", " ") for name in NUMBERS)):
        drawn.add_column(heading, justify="right")
    for row in sorted(rows, key=lambda row: row["name"]):
        numbers = [f"{float(row[name]):.3g}" for name in NUMBERS]
        drawn.add_row(row["name"], f"{float(row['sparsity']):.1%}", row["points"], *numbers)
    return drawn


def run(arguments: list[str]) -> None:
    main(read(PlaneSettings, arguments, __doc__))
