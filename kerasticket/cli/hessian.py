"""How sharp is the minimum that a ticket ends in? The diagonal of the Hessian after training (paper, section 4.2).

    python scripts/hessian.py runs/digits                                              # a run of distilled_pruning.py
    python scripts/hessian.py runs/cifar10-cpu --rounds 4 9 --coordinates 2000 --images 512

Exact second derivatives of the mean training loss at random surviving weights of each trained network. Writes
hessian.csv, with the paper's columns over all entries and over surviving ones, each diagonal as HDF5, and a figure
into RUN/hessian. Diagonals that are there are not computed again, so a killed command goes on where it was.
"""

import time
from typing import Any

from rich.console import Console
from rich.table import Table

from kerasticket.backend.quiet import import_keras
from kerasticket.cli.bars import Bars
from kerasticket.cli.flags import read
from kerasticket.experiments.settings import CurvatureSettings


def main(settings: CurvatureSettings) -> None:
    import_keras()
    from kerasticket.experiments.jobs.curvature import hessian

    started = time.perf_counter()
    with Bars() as bars:
        made = hessian(settings, bars)
    console = Console(highlight=False, width=150)
    for scope in ("surviving", "all"):
        rows = [row for row in made.rows if row["entries"] == scope]
        console.print(table(rows, f"{made.title}: Hessian diagonal, {scope} entries"))
    seconds, out = time.perf_counter() - started, made.folder.resolve()
    print(f"\n{seconds:.0f} s; hessian.csv, diagonals and the figure lie in {out}")


def table(rows: list[dict[str, Any]], title: str) -> Table:
    """A line per kind and round in the paper's columns: extremes over the networks, else mean ± std over them."""
    from kerasticket.experiments.figures import KINDS, mean_and_std

    drawn = Table(title=title)
    for heading in ("kind", "round", "networks", "min / max", "mean", "std", "mean |h|"):
        drawn.add_column(heading, justify="right")
    keys = sorted({(row["kind"], row["round"]) for row in rows}, key=lambda key: (KINDS.index(key[0]), key[1]))
    for kind, index in keys:
        group = [row for row in rows if (row["kind"], row["round"]) == (kind, index)]
        cells = []
        for name in ("mean", "std", "magnitude"):
            mean, std = mean_and_std(row[name] for row in group)
            cells.append(f"{mean:.5f} ± {std:.5f}" if len(group) > 1 else f"{mean:.5f}")
        extremes = f"{min(row['minimum'] for row in group):.3f} / {max(row['maximum'] for row in group):.3f}"
        drawn.add_row(kind, str(index), str(len(group)), extremes, *cells)
    return drawn


def run(arguments: list[str]) -> None:
    main(read(CurvatureSettings, arguments, __doc__))
