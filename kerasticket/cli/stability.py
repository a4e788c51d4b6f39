"""Are tickets stable? Loss and accuracy between trainings that differ in data order alone (paper, Figs. 3 and 4).

    python scripts/distilled_pruning.py --out runs/digits --data-orders 1 2       # minutes; each ticket trained twice
    python scripts/instability.py runs/digits                                     # a minute
    python scripts/instability.py runs/cifar10-cpu --rounds 4 9 --statistics reestimate

Takes every two data orders of each ticket that a run has trained. Writes curves.csv, barriers.csv and the figure
into RUN/instability; curves that are there are not evaluated again, so a killed command goes on where it was.
"""

import math
import time
from typing import Any

from rich.console import Console
from rich.table import Table

from kerasticket.backend.quiet import import_keras
from kerasticket.cli.bars import Bars
from kerasticket.cli.flags import read
from kerasticket.experiments.settings import PathSettings


def main(settings: PathSettings) -> None:
    import_keras()
    from kerasticket.experiments.jobs.path import stability

    started = time.perf_counter()
    with Bars() as bars:
        made = stability(settings, bars)
    Console(highlight=False, width=150).print(table(made.rows, made.title))
    seconds, out = time.perf_counter() - started, made.folder.resolve()
    print(f"\n{seconds:.0f} s; curves.csv, barriers.csv and the figure lie in {out}")


def table(found: list[dict[str, Any]], title: str) -> Table:
    """Midpoint, highest and error barriers on the training images, accuracy on both splits."""
    drawn = Table(title=f"{title}: barriers between data orders (train loss), mean ± std over inits and pairs")
    for heading in ("kind", "round", "inits x pairs", "midpoint", "highest", "train error (%)", "stable (< 2%)"):
        drawn.add_column(heading, justify="right")
    for heading in ("test accuracy, ends (%)", "middle (%)"):
        drawn.add_column(heading, justify="right")
    tests = {(row["kind"], row["round"], row["statistics"]): row for row in found if row["split"] == "test"}
    for row in (row for row in found if row["split"] == "train"):
        test = tests[row["kind"], row["round"], row["statistics"]]
        cells = [_cell(row, "midpoint_barrier", 1, 3), _cell(row, "barrier", 1, 3), _cell(row, "error_barrier", 100, 1)]
        verdict = "yes" if row["stable"] else "no"
        accuracies = [f"{100 * test[name]:.1f}" for name in ("accuracy_ends", "accuracy_middle")]
        counts = f"{row['inits']} x {row['pairs'] / row['inits']:g}"
        drawn.add_row(row["kind"], str(row["round"]), counts, *cells, verdict, *accuracies)
    return drawn


def _cell(row: dict[str, Any], name: str, times: float, digits: int) -> str:
    mean, std = times * row[name], times * row[f"{name}_std"]
    return f"{mean:.{digits}f} ± {std:.{digits}f}" if math.isfinite(std) else f"{mean:.{digits}f}"


def run(arguments: list[str]) -> None:
    main(read(PathSettings, arguments, __doc__))
