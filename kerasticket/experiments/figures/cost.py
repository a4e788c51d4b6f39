"""How time grows with the work."""

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from kerasticket.experiments.figures.style import STYLES, draws_rows


@draws_rows("axis", "value", "seconds")
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
