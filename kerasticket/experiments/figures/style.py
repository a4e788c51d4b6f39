"""Colors, markers and small helpers that the figures share."""

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

# Okabe & Ito's palette, which color-blind readers can tell apart; markers differ as well.
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


def plain_axes() -> Any:
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


def draws_rows(*columns: str) -> Callable:
    """A decorator of functions of `rows`: raises ValueError, naming what to pass, unless all rows have the columns."""

    def decorated(function: Callable) -> Callable:
        @functools.wraps(function)
        def checked(rows: Any, *arguments: Any, **options: Any) -> Figure:
            check_rows(function.__name__, rows, columns)
            return function(rows, *arguments, **options)

        return checked

    return decorated


def check_rows(name: str, rows: Any, columns: tuple[str, ...]) -> None:
    expected = f"Expected rows for figures.{name}: a list of dicts with {', '.join(columns)}."
    if not isinstance(rows, (list, tuple)) or hasattr(rows, "_fields") or not rows:
        what = "none" if isinstance(rows, list) else f"a {type(rows).__name__}"
        raise ValueError(f"{expected} Received: {what}. The CSV files of the commands hold such rows.")
    for row in rows:
        if not isinstance(row, Mapping):
            fields = getattr(row, "__dataclass_fields__", getattr(row, "_fields", ()))
            lacks = ", ".join(column for column in columns if column not in fields)
            advice = "Pass dataclasses.asdict(record) of each" if fields else "Pass dicts"
            advice += f", with {lacks} beside" if fields and lacks else ""
            raise ValueError(f"{expected} Received: a {type(row).__name__} among them. {advice}.")
        missing = ", ".join(column for column in columns if column not in row)
        if missing:
            raise ValueError(f"{expected} Received: a row without {missing}, of {sorted(map(str, row))}.")
