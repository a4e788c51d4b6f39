"""The table, CSV and figure of a run, made from its files alone."""

from rich.console import Console
from rich.table import Table
from rows import write_rows as write_csv

from kerasticket.experiments import figures
from kerasticket.experiments.run import Run
from kerasticket.files.atomic import atomic

ORIGINS = ("dense", "start")
KINDS = ("synthetic", "imp", "random")
LIMIT = 0.005  # half a point of accuracy below dense still counts as a lottery ticket


def write_report(run: Run, title: str) -> None:
    """Prints the table and the lottery-ticket limits; writes results.csv, figure.png and figure.pdf."""
    rows = run.results()
    seeds = len({row["init_seed"] for row in rows})
    title = f"{title}, {seeds} initialization{'s' if seeds > 1 else ''}"
    write_csv(rows, run.folder / "results.csv")
    figure = figures.performance(rows, title)
    for ending in ("png", "pdf"):
        with atomic(run.folder / f"figure.{ending}") as temporary:
            figure.savefig(temporary, dpi=150)
    console = Console(highlight=False, width=130)
    console.print(table(rows, title))
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


def limits(rows: list[dict]) -> list[str]:
    """For each kind, the sparsest round whose mean accuracy is within half a point of the dense network's."""
    dense = [row["accuracy"] for row in rows if row["kind"] == "dense"]
    if not dense:
        return ["No dense network in this run, so no lottery-ticket limit."]
    bar = sum(dense) / len(dense) - LIMIT
    return [f"{kind:9}  {_limit(rows, kind, bar)}" for kind in KINDS if any(row["kind"] == kind for row in rows)]


def _limit(rows: list[dict], kind: str, bar: float) -> str:
    passing = []
    for index in sorted({row["round"] for row in rows if row["kind"] == kind}):
        group = [row for row in rows if row["kind"] == kind and row["round"] == index]
        if sum(row["accuracy"] for row in group) / len(group) >= bar:
            passing.append((index, group[0]["sparsity"]))
    if not passing:
        return "no round within 0.5 points of dense"
    index, sparsity = passing[-1]
    return f"sparsest round within 0.5 points of dense: {index} (sparsity {sparsity:.2%})"


def _cell(rows: list[dict], kind: str, index: int) -> str:
    accuracies = [100 * row["accuracy"] for row in rows if row["kind"] == kind and row["round"] == index]
    if not accuracies:
        return "-"
    mean, std = figures.mean_and_std(accuracies)
    return f"{mean:.2f} ± {std:.2f}" if len(accuracies) > 1 else f"{mean:.2f}"
