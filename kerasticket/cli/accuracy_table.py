"""The table of a run on the terminal: accuracy at every sparsity, and the lottery-ticket limits."""

import pandas as pd
from rich.console import Console
from rich.table import Table

from kerasticket.experiments.frames import ORIGINS, summary
from kerasticket.experiments.report import KINDS, limits, title_of


def show(rows: list[dict], title: str) -> None:
    """Prints table and limits."""
    console = Console(highlight=False, width=130)
    console.print(table(rows, title_of(rows, title)))
    for line in limits(rows):
        console.print(line)


def table(rows: list[dict], title: str) -> Table:
    """One line per round: accuracy of each kind (mean ± sample std over seeds and orders), images used."""
    drawn = Table(title=title)
    for heading in ("round", "sparsity", *(f"{kind} (%)" for kind in KINDS)):
        drawn.add_column(heading, justify="right")
    for heading in ("synthetic: stored", "decoded", "imp: images used"):
        drawn.add_column(heading, justify="right")
    frame = summary(pd.DataFrame(rows))
    for kind, index in frame.index:
        if kind in ORIGINS:
            cells = [_cell(frame, kind, index)] * len(KINDS)
            drawn.add_row(kind, f"{frame.sparsity[kind, index]:.2%}", *cells, "0", "0", "0")
    for index in sorted({index for kind, index in frame.index if kind in KINDS}):
        sparsity = next(frame.sparsity[kind, index] for kind in KINDS if (kind, index) in frame.index)
        cells = [_cell(frame, kind, index) for kind in KINDS]
        used = [("synthetic", "stored"), ("synthetic", "decoded"), ("imp", "stored")]
        drawn.add_row(str(index), f"{sparsity:.2%}", *cells, *(_images(frame, kind, index, of) for kind, of in used))
    return drawn


def _cell(frame: pd.DataFrame, kind: str, index: int) -> str:
    if (kind, index) not in frame.index:
        return "-"
    row = frame.loc[(kind, index)]
    return f"{100 * row['mean']:.2f}" + (f" ± {100 * row['std']:.2f}" if row["count"] > 1 else "")


def _images(frame: pd.DataFrame, kind: str, index: int, column: str) -> str:
    return f"{int(frame.loc[(kind, index), column]):,}" if (kind, index) in frame.index else "-"
