"""The table of a run on the terminal: accuracy at every sparsity, and the lottery-ticket limits."""

from rich.console import Console
from rich.table import Table

from kerasticket.experiments import figures
from kerasticket.experiments.report import KINDS, ORIGINS, limits, title_of


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
    for row in {row["kind"]: row for row in rows if row["kind"] in ORIGINS}.values():
        kind, index = row["kind"], row["round"]
        drawn.add_row(kind, f"{row['sparsity']:.2%}", *[_cell(rows, kind, index)] * len(KINDS), "0", "0", "0")
    for index in sorted({row["round"] for row in rows if row["kind"] in KINDS}):
        group = [row for row in rows if row["round"] == index]
        used = {row["kind"]: (f"{row['stored']:,}", f"{row['decoded']:,}") for row in group}
        cells = [_cell(rows, kind, index) for kind in KINDS]
        images = [*used.get("synthetic", ("-", "-")), used.get("imp", "-")[0]]
        drawn.add_row(str(index), f"{group[0]['sparsity']:.2%}", *cells, *images)
    return drawn


def _cell(rows: list[dict], kind: str, index: int) -> str:
    accuracies = [100 * row["accuracy"] for row in rows if row["kind"] == kind and row["round"] == index]
    if not accuracies:
        return "-"
    mean, std = figures.mean_and_std(accuracies)
    return f"{mean:.2f} ± {std:.2f}" if len(accuracies) > 1 else f"{mean:.2f}"
