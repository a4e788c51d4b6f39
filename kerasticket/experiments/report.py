"""The CSV and the figure of a run, made from its files alone, and its lottery-ticket limits."""

import pandas as pd

from kerasticket.experiments import figure_files, figures
from kerasticket.experiments.frames import summary
from kerasticket.experiments.run import Run
from kerasticket.files.rows import write_rows

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
    table = summary(pd.DataFrame(rows))
    if "dense" not in table.index:
        return ["No dense network in this run, so no lottery-ticket limit."]
    bar = table.loc["dense", "mean"].iloc[0] - LIMIT
    return [f"{kind:9}  {_limit(table.loc[kind], bar)}" for kind in KINDS if kind in table.index]


def _limit(rounds: pd.DataFrame, bar: float) -> str:
    passing = rounds[rounds["mean"] >= bar]
    if passing.empty:
        return "no round within 0.5 points of dense"
    sparsest = passing.iloc[-1]
    return f"sparsest round within 0.5 points of dense: {passing.index[-1]} (sparsity {sparsest.sparsity:.2%})"
