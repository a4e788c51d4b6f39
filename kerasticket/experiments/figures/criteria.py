"""Accuracy of networks pruned by several criteria, against sparsity."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from kerasticket.experiments.figures.style import distinct, draws_rows, mean_and_std, plain_axes, styles_of, where


@draws_rows("kind", "sparsity", "accuracy")
def criterion_curves(rows: list[dict], title: str = "") -> Figure:
    """Test accuracy against the share of weights that is kept, on a log axis; a line per kind of ticket.

    Args:
        rows: one dict per training: `kind`, `sparsity`, and `accuracy` in [0, 1]; of kind "dense" for the level that is
            drawn as a band.
        title: printed above.

    Returns:
        A figure of one panel; error bars are one sample standard deviation over seeds.
    """
    kinds = [kind for kind in distinct(rows, "kind") if kind != "dense"]
    with plain_axes():
        figure = Figure(figsize=(8, 4), layout="constrained")
        axes = figure.subplots()
        _draw_dense(axes, [100 * row["accuracy"] for row in where(rows, kind="dense")])
        for place, (kind, style) in enumerate(styles_of(kinds).items()):
            of_kind = where(rows, kind=kind)
            sparsities = sorted(distinct(of_kind, "sparsity"))
            accuracies = [[100 * row["accuracy"] for row in where(of_kind, sparsity=s)] for s in sparsities]
            mean, std = zip(*map(mean_and_std, accuracies), strict=True)
            aside = 1 + 0.02 * (place - (len(kinds) - 1) / 2)  # so that error bars do not hide each other
            x = aside * (1 - np.array(sparsities))
            axes.errorbar(x, mean, np.nan_to_num(std), capsize=3, markersize=5, linewidth=1.5, **style)
        _name_sparsities(axes, sorted({row["sparsity"] for row in rows if row["kind"] in kinds}))
        axes.set_ylabel("test accuracy (%)")
        axes.grid(axis="y", alpha=0.25)
        axes.legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1, 0.5))
        axes.set_title(title, fontsize=11)
    return figure


def _draw_dense(axes, accuracies: list[float]) -> None:
    if accuracies:
        mean, std = mean_and_std(accuracies)
        axes.axhline(mean, color="black", linestyle="--", linewidth=1, label="dense")
        axes.axhspan(mean - np.nan_to_num(std), mean + np.nan_to_num(std), color="black", alpha=0.08, linewidth=0)


def _name_sparsities(axes, sparsities: list[float]) -> None:
    axes.set_xscale("log")
    axes.invert_xaxis()
    axes.set_xticks([1 - sparsity for sparsity in sparsities], [f"{sparsity:.1%}" for sparsity in sparsities])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("sparsity (share of prunable weights that is pruned)")
