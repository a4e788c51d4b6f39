"""Loss along linear paths, and how synthetic tickets compare with those of IMP."""

import numpy as np
from matplotlib.figure import Figure

from kerasticket.experiments.figures.style import (
    DASHES,
    OTHERS,
    STYLES,
    distinct,
    draws_rows,
    mean_and_std,
    plain_axes,
    where,
)


@draws_rows("kind", "round", "sparsity", "alpha", "loss")
def linear_paths(rows: list[dict], title: str = "") -> Figure:
    """Loss between trainings that differ in data order, as Figures 3 and 4 of McDermott & Parhi (arXiv 2503.17905).

    Args:
        rows: one dict per point: `kind`, `round`, `sparsity`, `alpha`, `loss`; several lines of one kind and round
            are averaged. The network at the start (kind "dense" or "start") is drawn as the first of every kind.
        title: what was measured, printed above.

    Returns:
        A figure: for each kind its lines, stacked over the rounds of pruning, then all kinds in one panel with a
        band of one sample standard deviation.
    """
    kinds = [kind for kind in ("synthetic", "imp", "random") if any(row["kind"] == kind for row in rows)]
    origin = [row for row in rows if row["kind"] in ("dense", "start")]
    with plain_axes():
        figure = Figure(figsize=(3.2 * len(kinds) + 5, 3.7))
        grid = figure.add_gridspec(
            1, len(kinds) + 1, width_ratios=[1] * len(kinds) + [1.2], left=0.01, right=0.86, bottom=0.14, top=0.84
        )
        losses = [row["loss"] for row in rows]
        for position, kind in enumerate(kinds):
            axes = figure.add_subplot(grid[position], projection="3d")
            _draw_stack(axes, origin + where(rows, kind=kind), kind)
            axes.set_zlim(min(losses) * 0.98, max(losses) * 1.02 + 1e-6)
        axes = figure.add_subplot(grid[len(kinds)])
        for kind in ("dense", "start", *kinds):
            _draw_lines(axes, where(rows, kind=kind), kind)
        axes.set_title("mean over inits and pairs, band of one std", fontsize=10)
        axes.set_xlabel("alpha")
        axes.grid(axis="y", alpha=0.25)
        axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1.02))
        figure.suptitle(title, fontsize=11)
    return figure


def _draw_stack(axes, rows: list[dict], kind: str) -> None:
    """Lines of one kind, one behind the other in the order of pruning; the first is the network at the start."""
    for index in sorted(distinct(rows, "round")):
        alphas, means, _ = _line(where(rows, round=index))
        color = STYLES["dense" if index == min(distinct(rows, "round")) else kind]["color"]
        axes.plot(alphas, np.full(len(alphas), index), means, color=color, linewidth=1.8)
    axes.set_xlabel("alpha", labelpad=-4)
    axes.set_ylabel("round", labelpad=-4)
    axes.tick_params(labelsize=8, pad=-2)
    axes.set_yticks(sorted(distinct(rows, "round")))
    axes.set_title(STYLES[kind]["label"], fontsize=10)
    axes.view_init(elev=22, azim=-60)


def _draw_lines(axes, rows: list[dict], kind: str) -> None:
    for index, dashes in zip(sorted(distinct(rows, "round")), DASHES * len(rows), strict=False):
        alphas, means, stds = _line(where(rows, round=index))
        style = STYLES.get(kind, STYLES["dense"])
        sparsity = where(rows, round=index)[0]["sparsity"]
        label = kind if kind in ("dense", "start") else f"{kind}, {sparsity:.0%}"
        axes.plot(alphas, means, color=style["color"], linestyle=dashes, linewidth=1.6, label=label)
        axes.fill_between(alphas, means - stds, means + stds, color=style["color"], alpha=0.12, linewidth=0)


def _line(rows: list[dict]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Alphas, mean loss and its sample standard deviation, 0 for one line."""
    alphas = sorted(distinct(rows, "alpha"))
    means, stds = zip(*(mean_and_std(row["loss"] for row in where(rows, alpha=alpha)) for alpha in alphas), strict=True)
    return np.array(alphas), np.array(means), np.nan_to_num(stds)


RATIOS = ("barrier_ratio", "accuracy_ratio", "compression")


@draws_rows("run", "round", "sparsity", "accuracy_ratio", "barrier_ratio", "compression")
def stability_ratios(rows: list[dict]) -> Figure:
    """Synthetic over IMP tickets, in accuracy against barrier, as Figure 6 of McDermott & Parhi (arXiv 2503.17905).

    Args:
        rows: one dict per run and round: `run`, `round`, `sparsity`, `accuracy_ratio`, `barrier_ratio` and
            `compression` (real over distilled images), which is the size of the marker. Rounds of a run are joined.
    """
    with plain_axes():
        figure = Figure(figsize=(5.6, 4.2), layout="constrained")
        axes = figure.subplots()
        axes.scatter([1], [1], marker="*", s=160, color=STYLES["imp"]["color"], label="IMP", zorder=3)
        for position, run in enumerate(distinct(rows, "run")):
            points = where(rows, run=run)
            x, y, sizes = (np.array([row[key] for row in points]) for key in RATIOS)
            color = OTHERS[position % len(OTHERS)]
            axes.plot(x, y, linestyle=":", color=color, linewidth=1)
            axes.scatter(x, y, s=30 * np.sqrt(sizes), color=color, alpha=0.7, label=run)
            for row in points:
                at = row["barrier_ratio"], row["accuracy_ratio"]
                axes.annotate(f"{row['sparsity']:.0%}", at, textcoords="offset points", xytext=(6, 4), fontsize=8)
        axes.axhline(1, color="black", linewidth=0.6)
        axes.axvline(1, color="black", linewidth=0.6)
        axes.set_xlabel("barrier, synthetic / IMP")
        axes.set_ylabel("test accuracy, synthetic / IMP")
        axes.legend(frameon=False, fontsize=8, title="marker: real / distilled images", title_fontsize=8)
    return figure
