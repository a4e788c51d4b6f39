"""One function per figure: results in, matplotlib Figure out; draws from plain rows, trains nothing."""

from collections.abc import Iterable

import matplotlib
import numpy as np
from matplotlib.figure import Figure

# Okabe & Ito's palette, which colour-blind readers can tell apart; markers differ as well.
STYLES = {
    "dense": {"color": "#000000", "marker": "", "label": "dense"},
    "imp": {"color": "#D55E00", "marker": "o", "label": "IMP (real data)"},
    "synthetic": {"color": "#0072B2", "marker": "s", "label": "synthetic (distilled data)"},
    "random": {"color": "#7F7F7F", "marker": "^", "label": "random mask"},
}


def mean_and_std(values: Iterable[float]) -> tuple[float, float]:
    """Mean and sample standard deviation (n - 1); the latter is NaN for one value."""
    array = np.asarray(list(values), float)
    return float(array.mean()), float(array.std(ddof=1)) if array.size > 1 else float("nan")


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


def image_grid(images: np.ndarray, columns: int) -> Figure:
    """Images in rows of `columns`, without axes.

    Args:
        images: (n, height, width, 1 or 3) in [0, 1].
        columns: images per row; a distilled set has one class per row if this is its images per class.
    """
    rows = -(-len(images) // columns)
    figure = Figure(figsize=(0.6 * columns, 0.6 * rows))
    for index, image in enumerate(images):
        row, column = divmod(index, columns)
        axes = figure.add_axes((column / columns, 1 - (row + 1) / rows, 0.97 / columns, 0.97 / rows))
        axes.imshow(image.squeeze(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        axes.axis("off")
    return figure


def growth(rows: list[dict]) -> Figure:
    """How time grows with the work: one log-log panel per axis, with its slope.

    Args:
        rows: one dict per measurement: `axis` (what grows), `value` and `seconds`, both positive.
    """
    names = list(dict.fromkeys(row["axis"] for row in rows))
    with matplotlib.rc_context({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(3 * len(names), 3), layout="constrained")
        for axes, name in zip(np.atleast_1d(figure.subplots(1, len(names))), names, strict=True):
            x, y = (np.array([row[key] for row in rows if row["axis"] == name]) for key in ("value", "seconds"))
            slope = growth_slope(x, y)
            axes.loglog(x, y, marker="o", color=STYLES["synthetic"]["color"])
            axes.loglog(x, y[0] * x / x[0], color="black", linestyle=":", linewidth=1, label="proportional")
            axes.set_xlabel(name)
            axes.set_ylabel("seconds")
            axes.set_xticks(x, [f"{value:,}" for value in x])
            axes.minorticks_off()
            axes.set_title(f"time ~ ({name})^{slope:.2f}", fontsize=10)
            axes.legend(frameon=False, loc="upper left", fontsize=8)
    return figure


def growth_slope(x: np.ndarray, y: np.ndarray) -> float:
    """The exponent of y ~ x^slope, by least squares of the logarithms.

    >>> round(growth_slope(np.array([1.0, 2.0, 4.0]), np.array([3.0, 12.0, 48.0])), 6)
    2.0
    """
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])
