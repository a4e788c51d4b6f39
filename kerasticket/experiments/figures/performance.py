"""Accuracy and data used against sparsity."""

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from kerasticket.experiments.figures.style import STYLES, draws_rows, mean_and_std


@draws_rows("kind", "round", "sparsity", "accuracy", "stored", "decoded")
def performance(rows: list[dict], title: str = "") -> Figure:
    """Accuracy and data used against sparsity, as Figure 2 of McDermott & Parhi (arXiv 2503.17905).

    Args:
        rows: one dict per training with the fields of `records.Trained`.
        title: what was trained, printed above.

    Returns:
        A figure of two panels; error bars are one sample standard deviation over init seeds and data orders.
    """
    with matplotlib.rc_context({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(10, 4), layout="constrained")
        left, right = figure.subplots(1, 2)
        _draw_accuracy(left, rows)
        _draw_data(right, rows)
        if title:
            figure.suptitle(title, fontsize=11)
    return figure


def _draw_accuracy(axes, rows: list[dict]) -> None:
    for origin in ("dense", "start"):
        accuracies = [100 * row["accuracy"] for row in rows if row["kind"] == origin]
        if not accuracies:
            continue
        mean, std = mean_and_std(accuracies)
        axes.axhline(mean, color="black", linestyle="--", linewidth=1, label=origin)
        if np.isfinite(std):
            axes.axhspan(mean - std, mean + std, color="black", alpha=0.08, linewidth=0)
    for kind in ("imp", "synthetic", "random"):
        points = _by_round(rows, kind)
        if points:
            x = [100 * group[0]["sparsity"] for group in points]
            statistics = [mean_and_std(100 * row["accuracy"] for row in group) for group in points]
            y, error = zip(*statistics, strict=True)
            axes.errorbar(x, y, np.nan_to_num(error), capsize=3, markersize=5, linewidth=1.5, **STYLES[kind])
    axes.set_xlabel("sparsity (% of prunable weights)")
    axes.set_ylabel("test accuracy (%)")
    axes.legend(frameon=False, loc="lower left")
    axes.grid(axis="y", alpha=0.25)


def _draw_data(axes, rows: list[dict]) -> None:
    for kind in ("imp", "synthetic"):
        points = [group for group in _by_round(rows, kind) if group[0]["stored"]]
        if not points:
            continue
        x = [100 * group[0]["sparsity"] for group in points]
        axes.plot(x, [group[0]["stored"] for group in points], markersize=5, linewidth=1.5, **STYLES[kind])
        if points[0][0]["decoded"] != points[0][0]["stored"]:
            style = STYLES[kind] | {"label": "synthetic, decoded", "linestyle": ":", "marker": ""}
            axes.plot(x, [group[0]["decoded"] for group in points], linewidth=1.5, **style)
    axes.set_yscale("log")
    axes.set_xlabel("sparsity (% of prunable weights)")
    axes.set_ylabel("images used to find the mask")
    axes.legend(frameon=False, loc="upper left")
    axes.grid(axis="y", alpha=0.25)


def _by_round(rows: list[dict], kind: str) -> list[list[dict]]:
    """Trainings of one kind, grouped by round in increasing order."""
    rounds = sorted({row["round"] for row in rows if row["kind"] == kind})
    return [[row for row in rows if row["kind"] == kind and row["round"] == index] for index in rounds]
