"""Colours, markers and small helpers that the figures share."""

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

KINDS = ("dense", "start", "synthetic", "imp", "random")  # in the order of legends and tables

DASHES = ("-", "--", ":", "-.")  # of the rounds of one kind

# For what has no style of its own: the rest of Okabe & Ito's palette.
OTHERS = ("#009E73", "#CC79A7", "#E69F00", "#56B4E9")

MARKERS = ("o", "s", "^", "D", "v")


def mean_and_std(values: Iterable[float]) -> tuple[float, float]:
    """Mean and sample standard deviation (n - 1); the latter is NaN for one value."""
    array = np.asarray(list(values), float)
    return float(array.mean()), float(array.std(ddof=1)) if array.size > 1 else float("nan")


def plain_axes():
    return matplotlib.rc_context({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False})


def distinct(rows: list[dict], key: str) -> list:
    return list(dict.fromkeys(row[key] for row in rows))


def where(rows: list[dict], **values) -> list[dict]:
    return [row for row in rows if all(row[key] == value for key, value in values.items())]


def styles_of(names: list[str]) -> dict[str, dict]:
    """The style of each name; those without one share the rest of the palette."""
    unknown = [name for name in names if name not in STYLES]
    given = {
        name: {"color": OTHERS[i % len(OTHERS)], "marker": MARKERS[i % len(MARKERS)], "label": name}
        for i, name in enumerate(unknown)
    }
    return {name: STYLES.get(name) or given[name] for name in names}


def legend_below(figure: Figure, axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
