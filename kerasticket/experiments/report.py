"""The CSV and the figure of a run, made from its files alone, and its lottery-ticket limits."""

from kerasticket.experiments import figure_files, figures
from kerasticket.experiments.run import Run
from kerasticket.files.rows import write_rows

ORIGINS = ("dense", "start")
KINDS = ("synthetic", "imp", "random")
LIMIT = 0.005  # half a point of accuracy below dense still counts as a lottery ticket


def write_report(run: Run, title: str) -> None:
    """Writes results.csv, figure.png and figure.pdf."""
    rows = run.results()
    title = title_of(rows, title)
    write_rows(rows, run.folder / "results.csv")
    figure = figures.performance(rows, title)
    figure_files.save(figure, run.folder, "figure")


def title_of(rows: list[dict], title: str) -> str:
    seeds = len({row["init_seed"] for row in rows})
    return f"{title}, {seeds} initialization{'s' if seeds > 1 else ''}"


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
