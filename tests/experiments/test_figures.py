"""What each figure draws: the numbers of its rows are those of its lines, bars and images."""

import dataclasses

import numpy as np
import pytest
from matplotlib.figure import Figure

from kerasticket.analysis.results import Surface
from kerasticket.experiments import figures
from kerasticket.experiments.figures import style
from kerasticket.pruning.round import Round

pytestmark = pytest.mark.same_on_every_backend
ROUND = Round(1, 0.2, 80, 100, 0.3, 0.9, 1.0)


def bars_of(axes) -> dict[str, tuple[list, list, list]]:
    """x, mean and length of the error bars of each errorbar, by its label."""
    found = {}
    for container in axes.containers:
        if not container.get_label().startswith("_") and hasattr(container, "has_yerr"):
            line, _, (stems,) = container.lines
            lengths = [(end - start) / 2 for (_, start), (_, end) in stems.get_segments()]
            found[container.get_label()] = (line.get_xdata().tolist(), line.get_ydata().tolist(), lengths)
    return found


def lines_of(axes) -> dict:
    return {line.get_label(): line for line in axes.get_lines()}


def trained(kind: str, round: int, accuracy: float, stored: int = 0, decoded: int = 0) -> dict:
    row = {"kind": kind, "round": round, "sparsity": 1 - 0.8**round, "accuracy": accuracy}
    return row | {"stored": stored, "decoded": decoded}


def test_performance_draws_means_deviations_and_images_used():
    rows = [trained("dense", 0, 0.90), trained("dense", 0, 0.92)]
    rows += [trained("imp", 2, 0.90, 9000, 9000), trained("imp", 1, 0.90, 5000, 5000)]  # in any order
    rows += [trained("imp", 1, 0.93, 5000, 5000), trained("synthetic", 1, 0.95, 10, 40), trained("random", 1, 0.5)]
    left, right = figures.performance(rows, "title").axes
    x, mean, length = bars_of(left)["IMP (real data)"]
    assert x == pytest.approx([20, 36])
    assert mean == pytest.approx([91.5, 90])
    assert length == pytest.approx([4.5**0.5, 0])  # sample deviation of 90 and 93
    assert lines_of(left)["dense"].get_ydata()[0] == pytest.approx(91)
    assert bars_of(left).keys() == {"IMP (real data)", "synthetic (distilled data)", "random mask"}
    assert list(lines_of(right)["IMP (real data)"].get_ydata()) == [5000, 9000]
    assert list(lines_of(right)["synthetic, decoded"].get_ydata()) == [40]
    assert right.get_yscale() == "log"


def test_criterion_curves_draw_a_line_per_kind_and_dense_as_a_band():
    rows = [
        {"kind": "dense", "sparsity": 0.0, "accuracy": 0.95},
        {"kind": "dense", "sparsity": 0.0, "accuracy": 0.93},
        {"kind": "imp", "sparsity": 0.8, "accuracy": 0.9},
        {"kind": "imp", "sparsity": 0.8, "accuracy": 0.8},
        {"kind": "snip", "sparsity": 0.9, "accuracy": 0.5},
    ]
    (axes,) = figures.criterion_curves(rows, "digits").axes
    assert lines_of(axes)["dense"].get_ydata()[0] == pytest.approx(94)
    (band,) = axes.patches
    assert (band.get_y(), band.get_height()) == pytest.approx((94 - 2**0.5, 2 * 2**0.5))
    assert bars_of(axes)["IMP (real data)"][1:] == (pytest.approx([85]), pytest.approx([50**0.5]))
    assert bars_of(axes)["snip"][0] == pytest.approx([0.1], rel=0.05)
    assert [text.get_text() for text in axes.get_xticklabels()] == ["80.0%", "90.0%"]
    assert axes.xaxis_inverted()
    assert axes.get_title() == "digits"


def test_diagonals_pool_networks_and_draw_the_share_of_entries_at_least_as_large():
    groups = [
        ("imp", 2, np.array([-4.0, 1.0])),
        ("dense", 0, np.array([1.0, 2.0])),
        ("imp", 2, np.array([2.0, -3.0])),
        ("imp", 5, np.array([5.0])),
    ]
    (axes,) = figures.diagonals(groups, "title").axes
    drawn = {line.get_label(): line.get_xydata().tolist() for line in axes.get_lines()}
    assert list(drawn) == ["dense", "imp, round 2", "imp, round 5"]
    assert drawn["imp, round 2"] == [[4, 0.25], [3, 0.5], [2, 0.75], [1, 1]]
    assert drawn["dense"] == [[2, 0.5], [1, 1]]
    assert [lines_of(axes)[f"imp, round {index}"].get_linestyle() for index in (2, 5)] == ["-", "--"]


@pytest.mark.filterwarnings("ignore:Data has no positive values")
def test_diagonals_that_are_all_zero_can_be_drawn():
    (axes,) = figures.diagonals([("dense", 0, np.zeros(3))]).axes
    assert lines_of(axes)["dense"].get_xdata().tolist() == [0, 0, 0]


@pytest.mark.parametrize("channels", [1, 3])
def test_image_grid_has_each_image_in_its_row_and_column(channels):
    images = np.random.default_rng(0).random((5, 4, 6, channels))
    figure = figures.image_grid(images, columns=2)
    corners = [axes.get_position(original=True).p0.tolist() for axes in figure.axes]
    np.testing.assert_allclose(corners, [(0, 2 / 3), (0.5, 2 / 3), (0, 1 / 3), (0.5, 1 / 3), (0, 0)], atol=1e-9)
    for axes, image in zip(figure.axes, images, strict=True):
        np.testing.assert_array_equal(axes.images[0].get_array(), image if channels == 3 else image[..., 0])
        assert axes.images[0].get_clim() == (0, 1)


def masked_layer(kind: str, layer: str, sparsity: float, seed: int = 0) -> dict:
    densities = {"erk_density": {"a/kernel": 0.9, "b/kernel": 0.3}[layer], "uniform_density": 0.5}
    return {"seed": seed, "round": 1, "kind": kind, "layer": layer, "sparsity": sparsity} | densities


def test_layer_sparsity_is_drawn_beside_erk_and_uniform():
    rows = [masked_layer("imp", "a/kernel", 0.2), masked_layer("imp", "b/kernel", 0.6)]
    rows += [masked_layer("imp", "a/kernel", 0.4, seed=1), masked_layer("imp", "b/kernel", 0.6, seed=1)]
    (axes,) = figures.layer_sparsity(rows).axes
    assert lines_of(axes)["ERK"].get_ydata() == pytest.approx([10, 70])
    assert lines_of(axes)["uniform"].get_ydata() == pytest.approx([50, 50])
    x, mean, length = bars_of(axes)["IMP (real data)"]
    assert (x, mean) == ([0, 1], pytest.approx([30, 60]))
    assert length == pytest.approx([100 * 0.02**0.5, 0])
    assert [text.get_text() for text in axes.get_xticklabels()] == ["a", "b"]
    assert axes.get_title() == "round 1"


def test_mask_independence_draws_chance_and_the_band_of_independent_masks():
    base = {"seed": 0, "round": 3, "a": "imp", "b": "random", "layer": "all"}
    rows = [base | {"iou": 0.5, "expected_iou": 0.4, "phi": 0.1, "phi_std": 0.05}]
    rows += [base | {"layer": "a", "iou": 0.6, "expected_iou": 0.3, "phi": -0.2, "phi_std": float("nan")}]
    upper, lower = figures.mask_independence(rows).axes
    assert bars_of(upper)["imp, random"][1] == [0.5, 0.6]
    assert bars_of(lower)["imp, random"][1] == [0.1, -0.2]
    chance = next(dots for dots in upper.collections if len(dots.get_offsets()) == 2)
    assert np.asarray(chance.get_offsets())[:, 1].tolist() == [0.4, 0.3]
    bands = [(bar.get_y(), bar.get_height()) for bar in lower.patches]
    assert bands[0] == pytest.approx((-1.96 * 0.05, 2 * 1.96 * 0.05))
    assert bands[1] == pytest.approx((0, 0))  # where the spread is not known


def test_pruned_magnitudes_are_densities_and_shares_of_enough_weights():
    base = {"seed": 0, "round": 1, "kind": "imp"}
    bins = [(0.0, 0.5, 30, 40), (0.5, 1.5, 10, 60), (1.5, 2.0, 0, 19)]
    rows = [base | dict(zip(("low", "high", "pruned", "total"), each, strict=True)) for each in bins]
    rows += [row | {"seed": 1, "pruned": 0} for row in rows]
    upper, lower = figures.pruned_magnitudes(rows).axes
    all_weights, first, second = (stairs.get_data() for stairs in upper.patches)
    assert all_weights.values == pytest.approx([40 / 119 / 0.5, 60 / 119, 19 / 119 / 0.5])
    assert first.values == pytest.approx([30 / 40 / 0.5, 10 / 40, 0])
    assert second.values.tolist() == [0, 0, 0]
    line = lines_of(lower)["IMP (real data)"]
    assert line.get_xdata().tolist() == [0.25, 1.0, 1.75]
    assert line.get_ydata() == pytest.approx([75, 100 / 6, np.nan], nan_ok=True)
    assert sum(text.get_text() == "IMP (real data)" for text in upper.figure.legends[0].get_texts()) == 1


def path_point(kind: str, round: int, alpha: float, loss: float) -> dict:
    return {"kind": kind, "round": round, "sparsity": 1 - 0.8**round, "alpha": alpha, "loss": loss}


def test_linear_paths_are_stacked_by_kind_and_averaged_in_one_panel():
    losses = {("dense", 0): (1, 1, 1), ("imp", 4): (1, 3, 2), ("imp", 9): (2, 2, 2), ("random", 4): (3, 4, 5)}
    rows = [
        path_point(*key, alpha, loss)
        for key, line in losses.items()
        for alpha, loss in zip((0, 0.5, 1), line, strict=True)
    ]
    rows.append(path_point("imp", 4, 0.5, 5))  # a second line of that kind and round
    figure = figures.linear_paths(rows, "title")
    assert [axes.name for axes in figure.axes] == ["3d", "3d", "rectilinear"]
    assert [len(axes.lines) for axes in figure.axes] == [3, 2, 4]  # dense is the first of each stack
    drawn = lines_of(figure.axes[2])
    assert list(drawn) == ["dense", "imp, 59%", "imp, 87%", "random, 59%"]
    assert drawn["imp, 59%"].get_xydata().tolist() == [[0, 1], [0.5, 4], [1, 2]]
    band = next(each for each in figure.axes[2].collections if np.ptp(each.get_paths()[0].vertices[:, 1]) > 3)
    assert band.get_paths()[0].vertices[:, 1].max() == pytest.approx(4 + 2**0.5)
    x, y, z = figure.axes[0].lines[1].get_data_3d()
    assert (list(x), list(y), list(z)) == ([0, 0.5, 1], [4, 4, 4], [1, 4, 2])


def test_stability_ratios_join_the_rounds_of_a_run_around_imp_at_one():
    base = {"round": 1, "sparsity": 0.2, "accuracy_ratio": 0.9, "barrier_ratio": 0.5, "compression": 4.0}
    rows = [base | {"run": "a"}, base | {"run": "a", "sparsity": 0.36, "barrier_ratio": 0.25}, base | {"run": "b"}]
    (axes,) = figures.stability_ratios(rows).axes
    imp, a, b = axes.collections
    assert np.asarray(imp.get_offsets()).tolist() == [[1, 1]]
    assert np.asarray(a.get_offsets()).tolist() == [[0.5, 0.9], [0.25, 0.9]]
    assert b.get_sizes().tolist() == [60]  # 30 sqrt(4)
    assert [text.get_text() for text in axes.texts] == ["20%", "36%", "20%"]
    assert axes.lines[0].get_xydata().tolist() == [[0.5, 0.9], [0.25, 0.9]]


def test_growth_is_drawn_with_its_slope():
    """One panel per axis; the title names the exponent."""
    rows = [{"axis": "width", "value": x, "seconds": x**2} for x in (1, 2, 4)]
    rows += [{"axis": "rounds", "value": x, "seconds": 3.0 * x} for x in (1, 2)]
    left, right = figures.growth(rows).axes
    assert "^2.00" in left.get_title()
    assert "^1.00" in right.get_title()


def bowl(height: float, kind: str = "paper") -> Surface:
    rng = np.random.default_rng(0)
    coordinates = rng.uniform(-2, 2, (60, 2))
    loss = 0.01 + height * (coordinates**2).sum(1)
    loss[5] = np.nan
    positions = np.array([[1.0, 0], [-1, 0], [0, 1.9], [5, 5]])
    distances = np.array([0, 0, 0.3, 0.3])
    return Surface(kind, "none", coordinates, loss, 1 - loss / 9, positions, distances, loss[:4], loss[:4], (1, 1), 0.1)


def test_panels_share_their_colors_and_mark_the_networks_that_are_in_view():
    figure = figures.landscapes({"dense": bowl(1), "imp": bowl(0.1), "synthetic": bowl(0.01)}, "loss", "title")
    *panels, bar = figure.axes
    assert [axes.get_title() for axes in panels] == ["dense", "imp", "synthetic"]
    filled = [axes.collections[0] for axes in panels]
    assert len({(each.norm.vmin, each.norm.vmax) for each in filled}) == 1
    assert all(type(each.norm).__name__ == "LogNorm" for each in filled)  # a factor of some hundred
    for axes in panels:
        names = [text.get_text() for text in axes.texts if text.get_text().startswith("$")]
        assert names == ["$w_0$", "$w_1$", "$w_2$"]
        assert [line.get_fillstyle() for line in axes.lines] == ["full", "full", "none"]
    assert bar.get_ylabel() == "loss"
    assert len(figure.legends[0].get_texts()) == 2
    linear = figures.landscapes({"one": bowl(0.001, "random")}, "accuracy")
    assert type(linear.axes[0].collections[0].norm).__name__ == "Normalize"
    assert len(linear.axes) == 2


def test_a_flat_surface_can_be_drawn():
    flat = dataclasses.replace(bowl(1), loss=np.full(60, 2.0))
    assert len(figures.landscapes({"flat": flat}).axes) == 2


@pytest.mark.parametrize(
    ("draw", "given", "message"),
    [
        (figures.performance, [ROUND], r"dicts with kind.*a Round among.*asdict\(record\) of each, with kind, round"),
        (figures.performance, ROUND, "a list of dicts with kind.*Received: a Round"),
        (figures.performance, [], "Received: none"),
        (figures.linear_paths, [{"kind": "imp"}], r"a row without round, .*of \['kind'\]"),
        (figures.mask_independence, [1], "Received: a int among them. Pass dicts"),
        (figures.diagonals, [ROUND], r"\(kind, round, entries\) of each network. Received: Round.*diagonal\.sampled"),
        (figures.landscapes, {"a": ROUND}, r"a dict of Surface.*Received: dict of Round\(index=1.*loss_plane"),
        (figures.landscapes, [ROUND], "a dict of Surface.*Received: list"),
    ],
)
def test_figures_say_what_they_draw(draw, given, message):
    with pytest.raises(ValueError, match=message):
        draw(given)


def test_names_without_a_style_share_the_rest_of_the_palette():
    names = ["imp", *"abcdef"]
    found = style.styles_of(names)
    assert list(found) == names
    assert found["imp"] is style.STYLES["imp"]
    looks = {(each["color"], each["marker"]) for each in found.values()}
    assert len(looks) == len(names)
    assert {name: each["label"] for name, each in found.items() if name != "imp"} == {name: name for name in "abcdef"}


def test_mean_and_sample_deviation():
    assert figures.mean_and_std(iter([1, 2, 6])) == (3, 7**0.5)
    mean, std = figures.mean_and_std([4])
    assert mean == 4
    assert np.isnan(std)


def test_rows_are_chosen_by_their_values_and_the_legend_lies_below():
    rows = [{"a": 2, "b": 1}, {"a": 1, "b": 1}, {"a": 2, "b": 3}]
    assert style.distinct(rows, "a") == [2, 1]
    assert style.where(rows, a=2, b=3) == [rows[2]]
    figure = Figure()
    axes = figure.subplots()
    axes.plot([0], [1], label="one")
    style.legend_below(figure, axes)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["one"]
