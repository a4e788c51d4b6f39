"""Contours of the loss on planes through trained networks."""

from collections.abc import Iterable

import matplotlib
import numpy as np
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from kerasticket.analysis.results import Surface

COLORS = {"loss": "cividis", "accuracy": "cividis_r"}  # even steps for color-blind readers too; good is dark

AXES = {
    "paper": ("$(w_0 - w_1)\\,/\\,2$", "$(w_3 - w_2)\\,/\\,2$, made orthogonal"),
    "through_three": ("$w_1 - w_0$", "$w_2 - w_0$, made orthogonal"),
    "random": ("random direction", "another one"),
}


def landscapes(panels: dict[str, Surface], quantity: str = "loss", title: str = "") -> Figure:
    """Contours of loss or accuracy on planes through trained nets, as Figure 5 of McDermott & Parhi (arXiv 2503.17905).

    Args:
        panels: surfaces of one kind, by what is written above them; side by side.
        quantity: "loss" or "accuracy".
        title: what was measured, printed above.

    Returns:
        A figure. All panels share the scale of the colors, which for losses that differ by more than a factor of 10
        is logarithmic; the contour lines, of the loss alone, have levels of each panel's own. Discs are nets that lie
        in the plane, circles the projections of others, which have another loss.
    """
    if not isinstance(panels, dict) or not panels or not all(isinstance(each, Surface) for each in panels.values()):
        of = f" of {next(iter(panels.values()))!r:.60}" if isinstance(panels, dict) and panels else ""
        raise ValueError(
            "Expected panels for figures.landscapes: a dict of Surface, such as {'dense': surface}. "
            f"Received: {type(panels).__name__}{of}. They come from kerasticket.analysis.loss_plane or Surface.load."
        )
    if quantity not in ("loss", "accuracy"):
        raise ValueError(f"Expected quantity 'loss' or 'accuracy'. Received: {quantity!r}.")
    values = {name: getattr(surface, quantity) for name, surface in panels.items()}
    norm = _scale(np.concatenate(list(values.values())), quantity)
    columns = 3 if len(panels) == 3 else min(len(panels), 2)
    rows = -(-len(panels) // columns)
    with matplotlib.rc_context({"font.size": 10}):
        figure = Figure(figsize=(3.6 * columns + 1.2, 3.6 * rows + 0.8), layout="constrained")
        drawn = list(figure.subplots(rows, columns, squeeze=False).ravel())
        while len(drawn) > len(panels):
            drawn.pop().remove()
        for axes, (name, surface) in zip(drawn, panels.items(), strict=True):
            _draw_surface(axes, surface, values[name], norm, COLORS[quantity])
            if quantity == "loss":  # accuracies of some hundred images have steps
                _draw_contours(axes, surface)
            _draw_nets(axes, surface)
            axes.set_title(name, fontsize=10)
            axes.set_xlabel(AXES[surface.kind][0])
            axes.set_ylabel(AXES[surface.kind][1])
        bar = figure.colorbar(matplotlib.cm.ScalarMappable(norm, COLORS[quantity]), ax=drawn, label=quantity)
        bar.set_ticks(_levels(norm, 9).tolist(), labels=_written(_levels(norm, 9)))
        bar.minorticks_off()
        figure.legend(handles=_net_handles(panels.values()), loc="outside lower center", ncols=2, frameon=False)
        figure.suptitle(title, fontsize=11)
    return figure


def _written(levels: np.ndarray) -> list[str]:
    """The levels with as few digits, at least two, as give each to a tenth of the least step.

    >>> _written(np.array([0.95, 1.0, 1.05])), _written(np.array([0.1, 1, 10]))
    (['0.95', '1', '1.05'], ['0.1', '1', '10'])
    """
    step = np.diff(levels).min(initial=np.inf)
    for digits in range(2, 9):
        labels = [f"{level:.{digits}g}" for level in levels]
        if np.abs(np.array(labels, float) - levels).max() <= step / 10:
            break
    return labels


def _scale(values: np.ndarray, quantity: str) -> Normalize:
    """The scale of the colors; values that are not finite have no part in it."""
    finite = values[np.isfinite(values)]
    low, high = float(finite.min()), float(finite.max())
    if quantity == "loss" and high > 10 * low > 0:
        return LogNorm(low, high)
    return Normalize(low, max(high, low + 1e-6))


def _levels(norm: Normalize, count: int) -> np.ndarray:
    """Values that are evenly spaced on a scale, both ends among them."""
    space = np.geomspace if isinstance(norm, LogNorm) else np.linspace
    assert norm.vmin is not None
    assert norm.vmax is not None
    return space(norm.vmin, norm.vmax, count)


def _draw_surface(axes, surface: Surface, values: np.ndarray, norm: Normalize, colors: str) -> None:
    finite = np.isfinite(values)
    x, y = surface.coordinates[finite].T
    # Extended, as else what equals the highest level stays white; as pixels, as a PDF of polygons takes megabytes.
    filled = axes.tricontourf(x, y, values[finite], levels=_levels(norm, 65), norm=norm, cmap=colors, extend="both")
    filled.set_rasterized(True)
    (left, bottom), (right, top) = surface.coordinates.min(0), surface.coordinates.max(0)
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)
    axes.set_aspect(surface.lengths[1] / surface.lengths[0])


def _draw_contours(axes, surface: Surface) -> None:
    finite = np.isfinite(surface.loss)
    (x, y), z = surface.coordinates[finite].T, surface.loss[finite]
    levels = _levels(_scale(z, "loss"), 8)[1:-1]
    lines = axes.tricontour(x, y, z, levels=levels, colors="white", linewidths=0.8)
    for text in axes.clabel(lines, fmt="%.3g", fontsize=7):
        text.set_path_effects([withStroke(linewidth=1.5, foreground="black")])


def _draw_nets(axes, surface: Surface) -> None:
    outline = [withStroke(linewidth=3, foreground="white")]
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    for index, (position, inside) in enumerate(zip(surface.positions, surface.in_plane, strict=True)):
        x, y = position
        if not (left <= x <= right and bottom <= y <= top):
            continue
        axes.plot(x, y, path_effects=outline, zorder=3, **_net_style(inside))
        at = (-8 if x > (left + 3 * right) / 4 else 7, -13 if y > (bottom + 3 * top) / 4 else 6)
        axes.annotate(f"$w_{index}$", position, textcoords="offset points", xytext=at, fontsize=11, zorder=4,
                      ha="right" if at[0] < 0 else "left", path_effects=outline)  # fmt: skip


def _net_style(inside: bool) -> dict:
    disc = {"marker": "o", "color": "black", "linestyle": "", "markersize": 7, "markeredgewidth": 1.5}
    return disc | {"fillstyle": "full" if inside else "none"}


def _net_handles(surfaces: Iterable[Surface]) -> list[Line2D]:
    inside = np.concatenate([surface.in_plane for surface in surfaces])
    labels = {True: "network in the plane", False: "projection of one beside it"}
    return [Line2D([], [], label=labels[each], **_net_style(each)) for each in (True, False) if each in inside]
