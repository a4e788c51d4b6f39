"""Entries of Hessian diagonals."""

import numpy as np
from matplotlib.figure import Figure

from kerasticket.experiments.figures.style import DASHES, KINDS, STYLES, plain_axes

SMALLEST = 0.02  # share of all entries that lie to the left of the figure


def diagonals(groups: list[tuple[str, int, np.ndarray]], title: str = "") -> Figure:
    """How many entries of Hessian diagonals exceed a size: one line per kind and round, both axes logarithmic.

    Args:
        groups: (kind, round, entries) of each network; those of one kind and round are pooled.
        title: what was measured, printed above.
    """
    if not groups or not all(isinstance(group, (tuple, list)) and len(group) == 3 for group in groups):
        what = ", ".join(sorted({type(group).__name__ for group in groups})) or "none"
        raise ValueError(
            f"Expected groups for figures.diagonals: (kind, round, entries) of each network. Received: {what}. Of a "
            "Diagonal, entries are np.concatenate([diagonal.values[path][seen] for path, seen in "
            "diagonal.sampled.items()])."
        )
    keys = sorted({(kind, index) for kind, index, _ in groups}, key=lambda key: (KINDS.index(key[0]), key[1]))
    with plain_axes():
        figure = Figure(figsize=(6.4, 4), layout="constrained")
        axes = figure.subplots()
        for kind, index in keys:
            entries = np.concatenate([values for *key, values in groups if tuple(key) == (kind, index)])
            sizes = np.sort(np.abs(entries))[::-1]
            rounds = sorted(other for name, other in keys if name == kind)
            style = {
                "color": STYLES.get(kind, STYLES["dense"])["color"],
                "linestyle": DASHES[rounds.index(index) % len(DASHES)],
            }
            label = kind if kind in ("dense", "start") else f"{kind}, round {index}"
            axes.loglog(sizes, (np.arange(sizes.size) + 1) / sizes.size, label=label, **style)
        every = np.abs(np.concatenate([values for *_, values in groups]))
        least = np.quantile(every[every > 0], SMALLEST) if every.any() else None
        axes.set_xlim(left=least)  # below, all curves are flat, and some entries are as small as 1e-27
        axes.set_xlabel("|h|")
        axes.set_ylabel("share of surviving entries at least as large")
        axes.grid(alpha=0.25)
        axes.legend(frameon=False, fontsize=8)
        axes.set_title(title, fontsize=11)
    return figure
