"""One function per figure: results in, matplotlib Figure out; draws from plain rows, trains nothing."""

from collections.abc import Iterable

import matplotlib
import numpy as np
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from kerasticket.records import Surface

# Okabe & Ito's palette, which colour-blind readers can tell apart; markers differ as well.
STYLES = {
    "dense": {"color": "#000000", "marker": "", "label": "dense"},
    "imp": {"color": "#D55E00", "marker": "o", "label": "IMP (real data)"},
    "synthetic": {"color": "#0072B2", "marker": "s", "label": "synthetic (distilled data)"},
    "random": {"color": "#7F7F7F", "marker": "^", "label": "random mask"},
}

KINDS = ("dense", "start", "synthetic", "imp", "random")  # in the order of legends and tables
RATIOS = ("barrier_ratio", "accuracy_ratio", "compression")
DASHES = ("-", "--", ":", "-.")  # of the rounds of one kind


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


# For what has no style of its own: the rest of Okabe & Ito's palette.
OTHERS = ("#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "v")


def layer_sparsity(rows: list[dict], title: str = "") -> Figure:
    """Sparsity of each layer under each kind of mask, beside ERK and uniform sparsity at the same total.

    Args:
        rows: one dict per seed, round, kind and layer: `sparsity`, `erk_density`, `uniform_density` in [0, 1].
        title: printed above.

    Returns:
        A figure with a panel per round; error bars are one sample standard deviation over seeds.
    """
    rounds, layers = _distinct(rows, "round"), _distinct(rows, "layer")
    styles = _styles(_distinct(rows, "kind"))
    with _plain_axes():
        figure, panels = _panels(rounds, len(layers), rows=1, title=title, names=max(map(len, layers)))
        for axes, index in zip(panels[0], rounds, strict=True):
            of_round = _where(rows, round=index)
            for name, line in (("ERK", "--"), ("uniform", ":")):
                densities, _ = _by_layer(of_round, layers, f"{name.lower()}_density")
                axes.plot(100 * (1 - densities), line, color="black", linewidth=1.5, label=name, zorder=3)
            for kind in _distinct(of_round, "kind"):
                mean, std = _by_layer(_where(of_round, kind=kind), layers, "sparsity")
                axes.errorbar(range(len(layers)), 100 * mean, 100 * std, capsize=3, markersize=5, **styles[kind])
            _name_layers(axes, layers)
        panels[0, 0].set_ylabel("pruned weights of the layer (%)")
        _legend_below(figure, panels[0, 0])
    return figure


def mask_independence(rows: list[dict], title: str = "") -> Figure:
    """Overlap of two masks in each layer beside that of independent ones, and their correlation phi.

    Args:
        rows: one dict per seed, round, pair (`a`, `b`) and layer: `iou`, `expected_iou`, `phi` and `phi_std`.
        title: printed above.

    Returns:
        A figure with two panels per round: IoU (markers) beside that of chance (dashes); phi, beside a grey band that
        holds 95% of independent masks of one seed. Error bars are one sample standard deviation over seeds.
    """
    rows = [row | {"pair": f"{row['a']}, {row['b']}"} for row in rows]
    rounds, layers = _distinct(rows, "round"), _distinct(rows, "layer")
    styles = _styles(_distinct(rows, "pair"))
    with _plain_axes():
        figure, panels = _panels(rounds, len(layers), rows=2, title=title, names=max(map(len, layers)))
        for (upper, lower), index in zip(panels.T, rounds, strict=True):
            of_round = _where(rows, round=index)
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
        _legend_below(figure, panels[0, 0])
    return figure


def _draw_overlap(upper, lower, rows: list[dict], layers: list[str], styles: dict[str, dict]) -> None:
    for offset, (pair, style) in zip(np.linspace(-0.4, 0.4, len(styles) + 2)[1:-1], styles.items(), strict=True):
        of_pair, x = _where(rows, pair=pair), np.arange(len(layers)) + offset
        for axes, value in ((upper, "iou"), (lower, "phi")):
            mean, std = _by_layer(of_pair, layers, value)
            axes.errorbar(x, mean, std, capsize=2, markersize=4, linestyle="", **style)
        upper.scatter(x, _by_layer(of_pair, layers, "expected_iou")[0], s=90, marker="_", color=style["color"])


def pruned_magnitudes(rows: list[dict], title: str = "") -> Figure:
    """How large pruned weights were at initialisation: their histogram, and the share pruned at each magnitude.

    Args:
        rows: one dict per seed, round, kind and bin: `low`, `high` and the counts `pruned`, `total`.
        title: printed above.

    Returns:
        A figure with two panels per round, one line per kind and seed; grey is the histogram of all weights, and
        shares of fewer than 20 weights are left out.
    """
    rounds, styles = _distinct(rows, "round"), _styles(_distinct(rows, "kind"))
    with _plain_axes():
        figure, panels = _panels(rounds, 7, rows=2, title=title)
        for (upper, lower), index in zip(panels.T, rounds, strict=True):
            of_round = _where(rows, round=index)
            named: set[str] = set()
            for seed, kind in dict.fromkeys((row["seed"], row["kind"]) for row in of_round):
                style = styles[kind] | ({"label": "_again"} if kind in named else {})
                _draw_pruned(upper, lower, _where(of_round, seed=seed, kind=kind), style, first=not named)
                named.add(kind)
            lower.set_xlabel("|w| at initialisation / std of its layer")
        panels[0, 0].set_ylabel("density of pruned weights")
        panels[1, 0].set_ylabel("share that is pruned (%)")
        _legend_below(figure, panels[0, 0])
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


def _plain_axes():
    return matplotlib.rc_context({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False})


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


def _distinct(rows: list[dict], key: str) -> list:
    return list(dict.fromkeys(row[key] for row in rows))


def _where(rows: list[dict], **values) -> list[dict]:
    return [row for row in rows if all(row[key] == value for key, value in values.items())]


def _by_layer(rows: list[dict], layers: list[str], key: str) -> tuple[np.ndarray, np.ndarray]:
    """Mean over the seeds, layer by layer, and sample standard deviation, 0 for one seed; NaN where there is none."""
    groups = [[row[key] for row in _where(rows, layer=layer)] or [np.nan] for layer in layers]
    means, stds = zip(*map(mean_and_std, groups), strict=True)
    return np.array(means), np.nan_to_num(stds)


def _name_layers(axes, layers: list[str]) -> None:
    axes.set_xticks(range(len(layers)), [layer.removesuffix("/kernel") for layer in layers], rotation=90, fontsize=8)


def _styles(names: list[str]) -> dict[str, dict]:
    """The style of each name; those without one share the rest of the palette."""
    unknown = [name for name in names if name not in STYLES]
    given = {
        name: {"color": OTHERS[i % len(OTHERS)], "marker": MARKERS[i % len(MARKERS)], "label": name}
        for i, name in enumerate(unknown)
    }
    return {name: STYLES.get(name) or given[name] for name in names}


def _legend_below(figure: Figure, axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=9)


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
    with _plain_axes():
        figure = Figure(figsize=(3.2 * len(kinds) + 5, 3.7))
        grid = figure.add_gridspec(
            1, len(kinds) + 1, width_ratios=[1] * len(kinds) + [1.2], left=0.01, right=0.86, bottom=0.14, top=0.84
        )
        losses = [row["loss"] for row in rows]
        for position, kind in enumerate(kinds):
            axes = figure.add_subplot(grid[position], projection="3d")
            _draw_stack(axes, origin + _where(rows, kind=kind), kind)
            axes.set_zlim(min(losses) * 0.98, max(losses) * 1.02 + 1e-6)
        axes = figure.add_subplot(grid[len(kinds)])
        for kind in ("dense", "start", *kinds):
            _draw_lines(axes, _where(rows, kind=kind), kind)
        axes.set_title("mean over inits and pairs, band of one std", fontsize=10)
        axes.set_xlabel("alpha")
        axes.grid(axis="y", alpha=0.25)
        axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1.02))
        figure.suptitle(title, fontsize=11)
    return figure


def _draw_stack(axes, rows: list[dict], kind: str) -> None:
    """Lines of one kind, one behind the other in the order of pruning; the first is the network at the start."""
    for index in sorted(_distinct(rows, "round")):
        alphas, means, _ = _line(_where(rows, round=index))
        color = STYLES["dense" if index == min(_distinct(rows, "round")) else kind]["color"]
        axes.plot(alphas, np.full(len(alphas), index), means, color=color, linewidth=1.8)
    axes.set_xlabel("alpha", labelpad=-4)
    axes.set_ylabel("round", labelpad=-4)
    axes.tick_params(labelsize=8, pad=-2)
    axes.set_yticks(sorted(_distinct(rows, "round")))
    axes.set_title(STYLES[kind]["label"], fontsize=10)
    axes.view_init(elev=22, azim=-60)


def _draw_lines(axes, rows: list[dict], kind: str) -> None:
    for index, dashes in zip(sorted(_distinct(rows, "round")), DASHES * len(rows), strict=False):
        alphas, means, stds = _line(_where(rows, round=index))
        style = STYLES.get(kind, STYLES["dense"])
        sparsity = _where(rows, round=index)[0]["sparsity"]
        label = kind if kind in ("dense", "start") else f"{kind}, {sparsity:.0%}"
        axes.plot(alphas, means, color=style["color"], linestyle=dashes, linewidth=1.6, label=label)
        axes.fill_between(alphas, means - stds, means + stds, color=style["color"], alpha=0.12, linewidth=0)


def _line(rows: list[dict]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Alphas, mean loss and its sample standard deviation, 0 for one line."""
    alphas = sorted(_distinct(rows, "alpha"))
    means, stds = zip(
        *(mean_and_std(row["loss"] for row in _where(rows, alpha=alpha)) for alpha in alphas), strict=True
    )
    return np.array(alphas), np.array(means), np.nan_to_num(stds)


def diagonals(groups: list[tuple[str, int, np.ndarray]], title: str = "") -> Figure:
    """How many entries of Hessian diagonals exceed a size: one line per kind and round, both axes logarithmic.

    Args:
        groups: (kind, round, entries) of each network; those of one kind and round are pooled.
        title: what was measured, printed above.
    """
    keys = sorted({(kind, index) for kind, index, _ in groups}, key=lambda key: (KINDS.index(key[0]), key[1]))
    with _plain_axes():
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
        axes.set_xlabel("|h|")
        axes.set_ylabel("share of surviving entries at least as large")
        axes.grid(alpha=0.25)
        axes.legend(frameon=False, fontsize=8)
        axes.set_title(title, fontsize=11)
    return figure


def stability_ratios(rows: list[dict]) -> Figure:
    """Synthetic over IMP tickets, in accuracy against barrier, as Figure 6 of McDermott & Parhi (arXiv 2503.17905).

    Args:
        rows: one dict per run and round: `run`, `round`, `sparsity`, `accuracy_ratio`, `barrier_ratio` and
            `compression` (real over distilled images), which is the size of the marker. Rounds of a run are joined.
    """
    with _plain_axes():
        figure = Figure(figsize=(5.6, 4.2), layout="constrained")
        axes = figure.subplots()
        axes.scatter([1], [1], marker="*", s=160, color=STYLES["imp"]["color"], label="IMP", zorder=3)
        for position, run in enumerate(_distinct(rows, "run")):
            points = _where(rows, run=run)
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


COLORS = {"loss": "cividis", "accuracy": "cividis_r"}  # even steps for colour-blind readers too; good is dark
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
        A figure. All panels share the scale of the colours, which for losses that differ by more than a factor of 10
        is logarithmic; the contour lines, of the loss alone, have levels of each panel's own. Discs are nets that lie
        in the plane, circles the projections of others, which have another loss.
    """
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
        bar.set_ticks(_levels(norm, 9).tolist(), labels=[f"{level:.2g}" for level in _levels(norm, 9)])
        bar.minorticks_off()
        figure.legend(handles=_net_handles(panels.values()), loc="outside lower center", ncols=2, frameon=False)
        figure.suptitle(title, fontsize=11)
    return figure


def _scale(values: np.ndarray, quantity: str) -> Normalize:
    """The scale of the colours; values that are not finite have no part in it."""
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
