"""Heat maps of a sweep: accuracy and barrier of each kind of ticket at every point of the grid."""

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from kerasticket.experiments.figures.style import KINDS, STYLES, plain_axes

# Column, label, factor, colors, how numbers are written, and values that the scale always reaches.
PANELS = (
    ("accuracy", "test accuracy (%)", 100.0, "viridis", "{:.1f}", ()),
    ("midpoint_barrier", "midpoint barrier (nats)", 1.0, "magma_r", "{:.3f}", (0.0, 0.05)),
)


def sweep(table: pd.DataFrame, fields: list[str], *, round: int | None = None) -> Figure:
    """A row of maps for accuracy and one for the midpoint barrier, a column for each kind of ticket.

    Args:
        table: of `kerasticket.experiments.sweep`: swept fields, kind, round, accuracy, midpoint_barrier.
        fields: that were swept. The first runs upwards, the others side by side.
        round: of pruning; None: the last. The dense network is drawn for every round.

    Returns:
        A figure; means over initializations and data orders stand in the cells.

    Example:
        >>> row = {"kind": "imp", "round": 1, "accuracy": 0.9, "midpoint_barrier": 0.1}
        >>> rows = [row | {"l2": l2} for l2 in (0.0, 0.1)]
        >>> len(sweep(pd.DataFrame(rows), ["l2"]).axes)  # two maps and their scales
        4
    """
    last = table["round"].max() if round is None else round
    shown = table[(table["round"] == last) | table["kind"].isin(["dense", "start"])]
    kinds = [kind for kind in KINDS if kind in set(shown["kind"])]
    panels = [panel for panel in PANELS if shown[panel[0]].notna().any()]
    upwards, across = [fields[0]], fields[1:]
    width = max(2.2, 0.9 * shown.groupby(across or upwards).ngroups if across else 2.2)
    with plain_axes():
        figure = Figure(figsize=(1.6 + width * len(kinds), 0.8 + 2.4 * len(panels)), layout="constrained")
        axes = figure.subplots(len(panels), len(kinds), squeeze=False)
        for row, (column, label, scale, colors, number, reached) in zip(axes, panels, strict=True):
            maps = [_map(shown[shown["kind"] == kind], column, upwards, across) * scale for kind in kinds]
            limits = _limits([*maps, pd.DataFrame(reached)])
            for place, kind, values in zip(row, kinds, maps, strict=True):
                image = _draw(place, values, limits, colors, number)
                place.set_title(STYLES.get(kind, {"label": kind})["label"], fontsize=10)
                place.set_xlabel(", ".join(across))
            row[0].set_ylabel(fields[0])
            figure.colorbar(image, ax=list(row), label=label)
    return figure


def _map(rows: pd.DataFrame, column: str, upwards: list[str], across: list[str]) -> pd.DataFrame:
    named = rows.assign(**{field: rows[field].map(str) for field in (*upwards, *across)})
    if not across:
        return named.groupby(upwards[0], sort=False)[[column]].mean().rename(columns={column: ""})
    return named.pivot_table(column, upwards, across, sort=False)


def _limits(maps: list[pd.DataFrame]) -> tuple[float, float]:
    filled = [one for one in maps if one.size]
    return float(min(one.min().min() for one in filled)), float(max(one.max().max() for one in filled))


def _draw(axes: Any, values: pd.DataFrame, limits: tuple[float, float], colors: str, number: str) -> Any:
    image = axes.imshow(values.to_numpy(), origin="lower", aspect="auto", cmap=colors, vmin=limits[0], vmax=limits[1])
    axes.set_yticks(range(len(values)), [_text(name) for name in values.index])
    axes.set_xticks(range(values.shape[1]), [_text(name) for name in values.columns])
    middle = sum(limits) / 2
    for (up, aside), value in zip(
        ((up, aside) for up in range(values.shape[0]) for aside in range(values.shape[1])),
        values.to_numpy().ravel(),
        strict=True,
    ):
        bright = (value < middle) == (colors == "viridis")
        axes.text(
            aside, up, number.format(value), ha="center", va="center", color="white" if bright else "black", fontsize=9
        )
    return image


def _text(name: Any) -> str:
    return ", ".join(map(str, name)) if isinstance(name, tuple) else str(name)
