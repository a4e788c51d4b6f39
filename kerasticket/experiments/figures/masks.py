"""Which weights masks prune: layer sparsities, overlaps, initial magnitudes."""

import numpy as np
from matplotlib.figure import Figure

from kerasticket.experiments.figures.style import (
    distinct,
    draws_rows,
    legend_below,
    mean_and_std,
    plain_axes,
    styles_of,
    where,
)


@draws_rows("seed", "round", "kind", "layer", "sparsity", "erk_density", "uniform_density")
def layer_sparsity(rows: list[dict], title: str = "") -> Figure:
    """Sparsity of each layer under each kind of mask, beside ERK and uniform sparsity at the same total.

    Args:
        rows: one dict per seed, round, kind and layer: `sparsity`, `erk_density`, `uniform_density` in [0, 1].
        title: printed above.

    Returns:
        A figure with a panel per round; error bars are one sample standard deviation over seeds.
    """
    rounds, layers = distinct(rows, "round"), distinct(rows, "layer")
    styles = styles_of(distinct(rows, "kind"))
    with plain_axes():
        figure, panels = _panels(rounds, len(layers), rows=1, title=title, names=max(map(len, layers)))
        for axes, index in zip(panels[0], rounds, strict=True):
            of_round = where(rows, round=index)
            for name, line in (("ERK", "--"), ("uniform", ":")):
                densities, _ = _by_layer(of_round, layers, f"{name.lower()}_density")
                axes.plot(100 * (1 - densities), line, color="black", linewidth=1.5, label=name, zorder=3)
            for kind in distinct(of_round, "kind"):
                mean, std = _by_layer(where(of_round, kind=kind), layers, "sparsity")
                axes.errorbar(range(len(layers)), 100 * mean, 100 * std, capsize=3, markersize=5, **styles[kind])
            _name_layers(axes, layers)
        panels[0, 0].set_ylabel("pruned weights of the layer (%)")
        legend_below(figure, panels[0, 0])
    return figure


@draws_rows("seed", "round", "a", "b", "layer", "iou", "expected_iou", "phi", "phi_std")
def mask_independence(rows: list[dict], title: str = "") -> Figure:
    """Overlap of two masks in each layer beside that of independent ones, and their correlation phi.

    Args:
        rows: one dict per seed, round, pair (`a`, `b`) and layer: `iou`, `expected_iou`, `phi` and `phi_std`.
        title: printed above.

    Returns:
        A figure with two panels per round: IoU (markers) beside that of chance (dashes); phi, beside a gray band that
        holds 95% of independent masks of one seed. Error bars are one sample standard deviation over seeds.
    """
    rows = [row | {"pair": f"{row['a']}, {row['b']}"} for row in rows]
    rounds, layers = distinct(rows, "round"), distinct(rows, "layer")
    styles = styles_of(distinct(rows, "pair"))
    with plain_axes():
        figure, panels = _panels(rounds, len(layers), rows=2, title=title, names=max(map(len, layers)))
        for (upper, lower), index in zip(panels.T, rounds, strict=True):
            of_round = where(rows, round=index)
            _draw_overlap(upper, lower, of_round, layers, styles)
            with_phi = [row for row in of_round if np.isfinite(row["phi_std"])]
            band = 1.96 * np.nan_to_num(_by_layer(with_phi, layers, "phi_std")[0])
            lower.use_sticky_edges = False  # else the axis ends where a bar does
            lower.bar(range(len(layers)), 2 * band, 0.8, -band, color="black", alpha=0.15, linewidth=0)
            lower.axhline(0, color="black", linewidth=0.8)
            _name_layers(lower, layers)
        panels[0, 0].scatter([], [], s=90, marker="_", color="black", label="independent masks")
        panels[0, 0].set_ylabel("IoU of the kept weights")
        panels[1, 0].set_ylabel("phi (correlation of masks)")
        legend_below(figure, panels[0, 0])
    return figure


def _draw_overlap(upper, lower, rows: list[dict], layers: list[str], styles: dict[str, dict]) -> None:
    for offset, (pair, style) in zip(np.linspace(-0.4, 0.4, len(styles) + 2)[1:-1], styles.items(), strict=True):
        of_pair, x = where(rows, pair=pair), np.arange(len(layers)) + offset
        for axes, value in ((upper, "iou"), (lower, "phi")):
            mean, std = _by_layer(of_pair, layers, value)
            axes.errorbar(x, mean, std, capsize=2, markersize=4, linestyle="", **style)
        upper.scatter(x, _by_layer(of_pair, layers, "expected_iou")[0], s=90, marker="_", color=style["color"])


@draws_rows("seed", "round", "kind", "low", "high", "pruned", "total")
def pruned_magnitudes(rows: list[dict], title: str = "") -> Figure:
    """How large pruned weights were at initialization: their histogram, and the share pruned at each magnitude.

    Args:
        rows: one dict per seed, round, kind and bin: `low`, `high` and the counts `pruned`, `total`.
        title: printed above.

    Returns:
        A figure with two panels per round, one line per kind and seed; gray is the histogram of all weights, and
        shares of fewer than 20 weights are left out.
    """
    rounds, styles = distinct(rows, "round"), styles_of(distinct(rows, "kind"))
    with plain_axes():
        figure, panels = _panels(rounds, 7, rows=2, title=title)
        for (upper, lower), index in zip(panels.T, rounds, strict=True):
            of_round = where(rows, round=index)
            named: set[str] = set()
            for seed, kind in dict.fromkeys((row["seed"], row["kind"]) for row in of_round):
                style = styles[kind] | ({"label": "_again"} if kind in named else {})
                _draw_pruned(upper, lower, where(of_round, seed=seed, kind=kind), style, first=not named)
                named.add(kind)
            lower.set_xlabel("|w| at initialization / std of its layer")
        panels[0, 0].set_ylabel("density of pruned weights")
        panels[1, 0].set_ylabel("share that is pruned (%)")
        legend_below(figure, panels[0, 0])
    return figure


def _draw_pruned(upper, lower, rows: list[dict], style: dict, *, first: bool) -> None:
    edges = np.array([row["low"] for row in rows] + [rows[-1]["high"]])
    pruned, total = (np.array([row[key] for row in rows], float) for key in ("pruned", "total"))
    if first:
        all_weights = total / (total.sum() * np.diff(edges))
        upper.stairs(all_weights, edges, fill=True, color="black", alpha=0.1, label="all weights")
    histogram = pruned / (max(pruned.sum(), 1) * np.diff(edges))
    upper.stairs(histogram, edges, color=style["color"], label=style["label"], linewidth=1.5)
    share = np.divide(100 * pruned, total, out=np.full(len(total), np.nan), where=total >= 20)
    lower.plot((edges[1:] + edges[:-1]) / 2, share, markersize=3, linewidth=1, **style)


def _panels(rounds: list, places: int, *, rows: int, title: str, names: int = 0) -> tuple[Figure, np.ndarray]:
    """A figure of `rows` panels per round, with room for `places` along the x axis and upright names below it."""
    width, height = max(3.2, 0.45 * places), 0.9 + 2.5 * rows + 0.07 * names
    figure = Figure(figsize=(0.8 + width * len(rounds), height), layout="constrained")
    panels = figure.subplots(rows, len(rounds), squeeze=False, sharex="col", sharey="row")
    for axes, index in zip(panels[0], rounds, strict=True):
        axes.set_title(f"round {index}" if index != "" else "", fontsize=10)
    for axes in panels.ravel():
        axes.grid(axis="y", alpha=0.25)
    figure.suptitle(title, fontsize=11)
    return figure, panels


def _by_layer(rows: list[dict], layers: list[str], key: str) -> tuple[np.ndarray, np.ndarray]:
    """Mean over the seeds, layer by layer, and sample standard deviation, 0 for one seed; NaN where there is none."""
    groups = [[row[key] for row in where(rows, layer=layer)] or [np.nan] for layer in layers]
    means, stds = zip(*map(mean_and_std, groups), strict=True)
    return np.array(means), np.nan_to_num(stds)


def _name_layers(axes, layers: list[str]) -> None:
    axes.set_xticks(range(len(layers)), [layer.removesuffix("/kernel") for layer in layers], rotation=90, fontsize=8)
