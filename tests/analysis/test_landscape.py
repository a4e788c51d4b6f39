"""Landscapes against closed forms, filters against what they feed, and going on after a kill to the same bits."""

import dataclasses

import keras
import nets
import numpy as np
import pytest
from keras import layers
from norm_nets import norm_net
from perturbed_nets import compiled, perturbed

import kerasticket as kt
from kerasticket.analysis import Objective, loss_plane
from kerasticket.analysis.landscape import LAYOUTS
from kerasticket.analysis.planes import PLANES, random_direction
from kerasticket.analysis.results import Surface
from kerasticket.files import checkpoint, hdf5
from kerasticket.params import Params

KERNEL, BIAS = "out/kernel", "out/bias"


def linear_regression():
    """A linear net under squared error, and five weights for it."""
    model = compiled(keras.Sequential([keras.Input((6,)), layers.Dense(2, name="out")]), "mean_squared_error")
    rng = np.random.default_rng(0)
    x, y = (rng.normal(size=(20, size)).astype("float32") for size in (6, 2))
    shapes = {KERNEL: (6, 2), BIAS: (2,)}
    weights = [{p: rng.normal(size=s).astype("float32") for p, s in shapes.items()} for _ in range(5)]
    return model, weights, x, y


def flat(params: Params) -> np.ndarray:
    return np.concatenate([params[path].ravel().astype(float) for path in (KERNEL, BIAS)])


def near(params: Params, seed: int) -> Params:
    """Weights not far from others: variances stay positive in a plane through such nets."""
    rng = np.random.default_rng(seed)
    return {p: a + (0.1 * a * rng.normal(size=a.shape)).astype(a.dtype) for p, a in params.items()}


def axes_of(surface: Surface, weights: list[Params]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Center and axes by another way: QR in NumPy, on flat vectors."""
    w = [flat(net) for net in weights]
    if surface.kind == "paper":
        center, first, second = (w[0] + w[1]) / 2, (w[0] - w[1]) / 2, (w[3] - w[2]) / 2
    else:
        center, first, second = w[0], w[1] - w[0], w[2] - w[0]
    q, r = np.linalg.qr(np.stack([first, second], 1))
    return center, first, np.sign(r[1, 1]) * np.linalg.norm(first) * q[:, 1]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kind", ["paper", "through_three"])
def test_the_surface_of_a_linear_net_is_the_paraboloid_that_it_must_be(kind, layout):
    model, weights, x, y = linear_regression()
    surface = loss_plane(model, weights, (x, y), kind=kind, points=25, layout=layout)
    center, first, second = axes_of(surface, weights)
    inputs = np.kron(np.eye(2)[None], np.ones((len(x), 1, 1)))  # (n, 2, 2): the bias of each output
    design = np.concatenate([np.einsum("ni,ok->noik", x, np.eye(2)).reshape(len(x), 2, 12), inputs], 2)
    points = center + surface.coordinates @ np.stack([first, second])
    expected = [np.mean((design @ point - y) ** 2) for point in points]
    np.testing.assert_allclose(surface.loss, expected, rtol=1e-5)
    assert (surface.statistics, surface.kind) == ("none", kind)


@pytest.mark.parametrize("kind", PLANES)
def test_the_loss_is_quadratic_in_the_coordinates_of_every_plane(kind):
    """Six coefficients explain all points."""
    model, weights, x, y = linear_regression()
    surface = loss_plane(model, weights, (x, y), kind=kind, points=40)
    a, b = surface.coordinates.T
    terms = np.stack([np.ones_like(a), a, b, a * a, a * b, b * b], 1)
    _, residual, rank, _ = np.linalg.lstsq(terms, surface.loss, rcond=None)
    assert rank == 6
    assert residual[0] < 1e-9 * np.sum(surface.loss**2)


@pytest.mark.parametrize("kind", PLANES)
def test_axes_and_positions(kind):
    """Positions of all nets are the least-squares ones, exact for those that span the plane."""
    model, weights, *_ = linear_regression()
    needed, build = PLANES[kind]
    rng = np.random.default_rng(0)
    plane = build(weights, lambda: random_direction(model, weights[0], rng))
    center, *axes = (flat(each) for each in (plane.center, *plane.axes))
    cosine = axes[0] @ axes[1] / np.linalg.norm(axes[0]) / np.linalg.norm(axes[1])
    if kind == "random":
        assert cosine == pytest.approx(plane.cosine)
    else:
        assert cosine == pytest.approx(0, abs=1e-12)
        assert plane.lengths[0] == pytest.approx(plane.lengths[1])
        raw = {"paper": (0, 1, 3, 2), "through_three": (1, 0, 2, 0)}[kind]
        first, second = (flat(weights[raw[i]]) - flat(weights[raw[i + 1]]) for i in (0, 2))
        assert plane.cosine == pytest.approx(first @ second / np.linalg.norm(first) / np.linalg.norm(second))
    assert plane.lengths == pytest.approx([np.linalg.norm(axis) for axis in axes])
    found = [plane.project(net) for net in weights]
    for net, (position, distance) in zip(weights, found, strict=True):
        expected, rest, *_ = np.linalg.lstsq(np.stack(axes, 1), flat(net) - center, rcond=None)
        np.testing.assert_allclose(position, expected, atol=1e-12)
        assert distance == pytest.approx(float(np.sqrt(rest[0])), abs=1e-7)
    spanning = {"paper": [(1, 0), (-1, 0)], "through_three": [(0, 0), (1, 0)], "random": [(0, 0)]}[kind]
    np.testing.assert_allclose([position for position, _ in found[: len(spanning)]], spanning, atol=1e-12)
    if kind == "through_three":
        assert found[2][1] == pytest.approx(0, abs=1e-12)
        assert found[2][0][1] > 0
    assert all(low < value < high for position, _ in found[: needed if kind != "paper" else 2]
               for value, (low, high) in zip(position, plane.bounds, strict=True))  # fmt: skip


@pytest.mark.parametrize(("kind", "in_plane"), [("paper", [0, 1]), ("through_three", [0, 1, 2]), ("random", [0])])
def test_a_point_at_a_nets_position_has_that_nets_loss(kind, in_plane):
    model = compiled(kt.masked(nets.small_convnet()))
    start = kt.get_params(model)
    weights = [near(start, seed) for seed in range(5)]
    objective = Objective(model, nets.batch(model))
    surface = loss_plane(model, weights, objective, kind=kind, points=5)
    assert np.flatnonzero(surface.in_plane).tolist() == in_plane
    own = [objective(weights[index]) for index in in_plane]
    assert surface.loss[: len(own)].tolist() == [each.loss for each in own]
    assert surface.accuracy[: len(own)].tolist() == [each.accuracy for each in own]
    assert surface.net_loss.tolist() == [objective(net).loss for net in weights]
    assert (surface.coordinates[: len(own)] == surface.positions[in_plane]).all()
    assert len(surface.coordinates) == 5 + len(own)
    rng = np.random.default_rng(0)
    plane = PLANES[kind][1](weights, lambda: random_direction(model, weights[0], rng))
    for index in in_plane:
        there = plane.point(*plane.project(weights[index])[0])
        assert objective(there).loss == pytest.approx(surface.net_loss[index], rel=1e-6)


@pytest.mark.parametrize("kind", PLANES)
def test_pruned_weights_stay_zero_and_whole_numbers_are_the_first_nets(kind):
    model = kt.masked(nets.small_convnet())
    kt.set_mask(model, nets.half_mask(model))
    weights = [perturbed(kt.get_params(model), seed) for seed in range(4)]
    seed_path = next(path for path in weights[0] if path.endswith("seed_generator_state"))
    weights = [net | {seed_path: np.full_like(net[seed_path], index)} for index, net in enumerate(weights)]
    rng = np.random.default_rng(0)
    plane = PLANES[kind][1](weights, lambda: random_direction(model, weights[0], rng))
    point = plane.point(1.3, -0.7)
    for path, mask in kt.get_mask(model).items():
        assert not point[path][~mask].any()
        assert point[path][mask].all()
        assert not np.array_equal(point[path], weights[0][path])
    assert (point[seed_path] == 0).all()
    assert all(point[path].dtype == array.dtype for path, array in weights[0].items())


def test_random_planes_say_how_they_are_scaled_and_depend_on_the_seed():
    model, weights, x, y = linear_regression()
    by_filter, whole, again, other = (
        loss_plane(model, weights[:1], (x, y), kind="random", points=4, layout="grid", **options)
        for options in ({}, {"filter_normalize": False}, {}, {"seed": 1})
    )
    assert (by_filter.filter_normalized, whole.filter_normalized) == (True, False)
    assert by_filter.lengths == pytest.approx([np.linalg.norm(weights[0][KERNEL])] * 2)
    assert by_filter.loss.tolist() == again.loss.tolist()
    assert len({tuple(each.loss[1:]) for each in (by_filter, whole, other)}) == 3
    assert by_filter.cosine != 0


def test_points_fill_the_square_or_lie_on_a_grid():
    bounds = ((-2.0, 2.0), (0.0, 1.0))
    drawn = LAYOUTS["uniform"](2000, bounds, np.random.default_rng(0))
    assert drawn.shape == (2000, 2)
    np.testing.assert_allclose(drawn.min(0), [-2, 0], atol=0.02)
    np.testing.assert_allclose(drawn.max(0), [2, 1], atol=0.02)
    np.testing.assert_allclose(drawn.mean(0), [0, 0.5], atol=0.08)
    grid = LAYOUTS["grid"](9, bounds, np.random.default_rng(0))
    assert grid.tolist() == [[x, y] for y in (0, 0.5, 1) for x in (-2, 0, 2)]


class Killed(BaseException):
    """What no `except Exception` catches."""


def kill_at(count: int):
    def progress(done: int) -> None:
        if done == count:
            raise Killed

    return progress


def test_a_killed_landscape_goes_on_to_the_same_bits(tmp_path, monkeypatch):
    model = compiled(nets.mlp())
    weights, data = [perturbed(kt.get_params(model), seed) for seed in range(4)], nets.batch(model)
    whole = loss_plane(model, weights, data, points=12)
    path, done = tmp_path / "new" / "unfinished.npz", []
    with pytest.raises(Killed):
        loss_plane(model, weights, data, points=12, checkpoint=path, progress=kill_at(7))
    resumed = loss_plane(model, weights, data, points=12, checkpoint=path, progress=done.append)
    assert done == [8, 9, 10, 11, 12]
    for field in dataclasses.fields(Surface):
        assert np.array_equal(getattr(whole, field.name), getattr(resumed, field.name)), field.name
    loss_plane(model, weights, data, points=12, checkpoint=path, progress=lambda done: pytest.fail("evaluated again"))
    assert [each.name for each in path.parent.iterdir()] == ["unfinished.npz"]


def test_what_is_done_is_kept_on_the_way(tmp_path, monkeypatch):
    """As a kill that no `finally` sees leaves it."""
    monkeypatch.setattr(checkpoint, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    model, weights, x, y = linear_regression()
    path, kept = tmp_path / "unfinished.npz", []

    def progress(done: int) -> None:
        with np.load(path) as file:
            kept.append(len(file["values"]))

    loss_plane(model, weights, (x, y), points=6, checkpoint=path, progress=progress)
    assert kept == [1, 2, 3, 4, 5, 6]


def test_a_checkpoint_of_another_landscape_is_refused_and_says_what_differs(tmp_path):
    model, weights, x, y = linear_regression()
    path = tmp_path / "unfinished.npz"
    options = {"nets": weights, "data": (x, y), "points": 4, "layout": "grid", "checkpoint": path}
    loss_plane(model, **options)
    other_loss = compiled(keras.models.clone_model(model), "mean_absolute_error")
    for net, changed, match in (
        (model, {"points": 9}, "points was 4, is now 9"),
        (model, {"seed": 3}, "seed was 0, is now 3"),
        (model, {"layout": "uniform"}, "layout was 'grid'"),
        (model, {"kind": "through_three"}, "kind was 'paper'"),
        (model, {"statistics": "reestimate"}, "statistics was"),
        (model, {"filter_normalize": False}, "filter_normalize was"),
        (model, {"nets": weights[1:]}, "net_loss was .*nets was"),
        (model, {"data": (x[:9], y[:9])}, "batch_sizes was \\[20\\], is now \\[9\\]; data was"),
        (model, {"data": Objective(model, (x, y), batch_size=7)}, "batch_sizes was \\[20\\], is now \\[6, 7\\]"),
        (other_loss, {}, "net_loss was"),
    ):
        with pytest.raises(ValueError, match=match):
            loss_plane(net, **options | changed)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match="state of this landscape .* a damaged file"):
        loss_plane(model, **options)


def test_one_trace_serves_the_plane(monkeypatch):
    model, weights, x, y = linear_regression()
    calls = []
    monkeypatch.setattr(
        Objective, "_batch_sums", lambda self, *a, f=Objective._batch_sums: (calls.append(1), f(self, *a))[1]
    )
    loss_plane(model, weights[:4], Objective(model, (x, y), batch_size=10), points=9)
    assert len(calls) == (2 * (9 + 4) if keras.config.backend() == "torch" else 1)


def test_moving_statistics_follow_the_plane_or_are_taken_anew():
    model = compiled(norm_net())
    weights = [perturbed(kt.get_params(model), seed) for seed in range(3)]
    data = nets.batch(model)
    far = {path: 20 * array if path.endswith("moving_variance") else 1.1 * array for path, array in weights[0].items()}
    with pytest.raises(ValueError, match="moving_variance.*Pass statistics='reestimate'"):
        loss_plane(model, [weights[0], far, *weights[1:]], data, kind="paper", points=4)
    close = [near(weights[0], seed) for seed in range(3)]
    kept, anew = (
        loss_plane(model, close, data, kind="through_three", points=4, statistics=way)
        for way in ("interpolate", "reestimate")
    )
    assert (kept.statistics, anew.statistics) == ("interpolate", "reestimate")
    assert kept.lengths == anew.lengths
    assert not np.isclose(kept.loss, anew.loss, rtol=1e-6, atol=0).any()
    weighed = sum(np.sum((close[1][p] - close[0][p]) ** 2) for p in close[0] if "moving" not in p)
    assert kept.lengths[0] == pytest.approx(np.sqrt(weighed), rel=1e-5)


def test_surfaces_are_read_back_as_they_were(tmp_path):
    model, weights, x, y = linear_regression()
    surface = loss_plane(model, weights, (x, y), points=5)
    surface.save(tmp_path / "surface.h5")
    read = Surface.load(tmp_path / "surface.h5")
    for field in dataclasses.fields(Surface):
        before, after = getattr(surface, field.name), getattr(read, field.name)
        assert type(before) is type(after)
        assert np.array_equal(before, after, equal_nan=isinstance(before, np.ndarray)), field.name
    with pytest.raises(ValueError, match="Expected a kerasticket surface.*absent"):
        Surface.load(tmp_path / "other.h5")
    hdf5.write(tmp_path / "other.h5", "kerasticket something", {}, {})
    with pytest.raises(ValueError, match="of format 'kerasticket something'"):
        Surface.load(tmp_path / "other.h5")


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"kind": "cube"}, "kind to be one of.*Received: kind='cube'"),
        ({"layout": "hexagons"}, "layout to be one of.*Received: layout='hexagons'"),
        ({"points": 3}, "at least 4 points. Received: points=3"),
        ({"points": 10, "layout": "grid"}, "square number of points.*as 9. Received: points=10"),
        ({"seed": -1}, "seed of at least 0"),
        ({"statistics": "none"}, "statistics"),
        ({"nets": 3}, "at least 4 nets for kind='paper'. Received: 3"),
        ({"nets": 2, "kind": "through_three"}, "at least 3 nets"),
        ({"nets": 0, "kind": "random"}, "at least 1 nets"),
    ],
)
def test_unknown_options_too_few_nets_and_points_are_refused(options, match):
    model, weights, x, y = linear_regression()
    count = options.get("nets", 4)
    with pytest.raises(ValueError, match=match):
        loss_plane(model, data=(x, y), **options | {"nets": weights[:count]})


def test_nets_that_span_no_plane_are_broken_or_of_another_model_are_refused():
    model, weights, x, y = linear_regression()
    w0, w1, w2, _, _ = weights
    between = {path: w0[path] + np.float32(0.3) * (w1[path] - w0[path]) for path in w0}
    broken = w1 | {KERNEL: np.full_like(w1[KERNEL], np.inf)}
    for net, kind, match in (
        ([w0, w1, between], "through_three", "nets that lie on one line"),
        ([w0, w0, w2], "through_three", "two nets that are the same"),
        ([w0, w1, w2, w2], "paper", "two nets that are the same"),
        ([w0, w1, between, w1], "paper", "nets that lie on one line"),
        ([w0, broken, w2], "through_three", "NaN or infinity in net 1"),
        ([w0, w1, {KERNEL: w0[KERNEL]}], "through_three", "the model has paths that net 2 lacks"),
        ([w0 | {KERNEL: 0 * w0[KERNEL]}], "random", "kernels that are not zero"),
    ):
        with pytest.raises(ValueError, match=match):
            loss_plane(model, net, (x, y), kind=kind, points=4)
