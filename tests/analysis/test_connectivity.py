"""Linear paths against closed forms, and moving statistics against NumPy."""

import keras
import nets
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import layers
from norm_nets import norm_net
from perturbed_nets import compiled, perturbed

import kerasticket as kt
from kerasticket.analysis import Objective, linear_path
from kerasticket.analysis.connectivity import grid
from kerasticket.analysis.statistics import reestimated
from kerasticket.params import combine, dot, interpolate, norm


def linear_regression():
    """A linear net under squared error: the loss on a line is a parabola."""
    model = compiled(keras.Sequential([keras.Input((3,)), layers.Dense(1, name="out")]), "mean_squared_error")
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, 3)).astype("float32"), rng.normal(size=(20, 1)).astype("float32")
    a, b = ({"out/kernel": rng.normal(size=(3, 1)).astype("float32"), "out/bias": np.ones(1, "float32")} for _ in "ab")
    return model, a, b, x, y


def test_the_loss_of_a_linear_net_is_the_parabola_that_it_must_be():
    model, a, b, x, y = linear_regression()
    curve = linear_path(model, a, b, (x, y), alphas=7)
    kernels = [(1 - alpha) * a["out/kernel"] + alpha * b["out/kernel"] for alpha in curve.alphas]
    expected = [float(np.mean((x @ kernel + 1 - y) ** 2)) for kernel in kernels]
    np.testing.assert_allclose(curve.loss, expected, rtol=1e-5)
    assert curve.statistics == "none"
    assert curve.mask_overlap == 1


def test_the_ends_are_the_nets_themselves_and_the_middle_is_always_there():
    model = compiled(nets.small_convnet())
    a = kt.get_params(model)
    b = perturbed(a)
    data = nets.batch(model)
    objective = Objective(model, data)
    curve = linear_path(model, a, b, objective, alphas=[0, 0.3, 1])
    assert curve.alphas.tolist() == [0, 0.3, 0.5, 1]
    assert (curve.loss[0], curve.loss[-1]) == (objective(a).loss, objective(b).loss)
    assert (curve.accuracy[0], curve.accuracy[-1]) == (objective(a).accuracy, objective(b).accuracy)
    forwards, backwards = linear_path(model, a, b, data, alphas=5), linear_path(model, b, a, data, alphas=5)
    np.testing.assert_allclose(backwards.loss, forwards.loss[::-1], rtol=1e-5)


def test_ends_under_different_masks_are_walked_between_and_said():
    model = compiled(nets.mlp())
    a = kt.get_params(model)
    b = a | {"hidden/kernel": np.where(np.arange(8) < 4, a["hidden/kernel"], 0).astype("float32")}
    with pytest.warns(UserWarning, match="different masks"):
        curve = linear_path(model, a, b, nets.batch(model), alphas=2)
    assert curve.mask_overlap == pytest.approx((24 + 40) / (48 + 40))


@pytest.mark.parametrize("alphas", [1, [0, 0.5], [0.5, 1], [-0.1, 0, 1], [0, 1, 1.2], [], [0, np.nan]])
def test_alphas_without_both_ends_or_outside_are_refused(alphas):
    with pytest.raises(ValueError, match="alphas"):
        grid(alphas)


@given(st.integers(2, 60))
def test_a_number_of_alphas_is_evenly_spaced_with_the_middle(count):
    points = grid(count)
    assert len(points) == count + (count % 2 == 0)
    assert points == sorted(points)
    assert {0.0, 0.5, 1.0} <= set(points)


def test_unknown_statistics_are_refused():
    model, a, b, x, y = linear_regression()
    with pytest.raises(ValueError, match="Received: statistics='none'"):
        linear_path(model, a, b, (x, y), statistics="none")


def test_combinations_keep_dtype_and_seeds():
    a = {"w": np.ones(2, "float32"), "seed": np.array([1, 2])}
    b = {"w": np.full(2, 3, "float32"), "seed": np.array([9, 9])}
    mixed = combine([a, b], [0.5, 2])
    assert mixed["w"].dtype == np.float32
    assert mixed["w"].tolist() == [6.5, 6.5]
    assert mixed["seed"].tolist() == [1, 2]
    assert interpolate(a, b, 1)["seed"].tolist() == [9, 9]
    assert dot(a, b) == 6
    assert norm(b) == pytest.approx(18**0.5)


def test_a_number_of_alphas_gives_so_many_points_and_the_middle():
    assert [len(grid(count)) for count in (3, 99, np.int64(11), 30)] == [3, 99, 11, 31]


def test_labels_are_labels_whatever_their_type_and_the_size_of_the_batch():
    model = nets.mlp()
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    x, _ = nets.batch(model, 20)
    outputs = model.predict(x, verbose=0)
    labels = np.where(np.arange(20) % 4, outputs.argmax(1), (outputs.argmax(1) + 1) % outputs.shape[1])
    for batch_size in (20, outputs.shape[1], 7):
        for targets in (labels, labels.astype("float32"), labels[:, None]):
            assert Objective(model, (x, targets), batch_size=batch_size)(kt.get_params(model)).accuracy == 0.75


def test_data_that_cannot_be_read_are_refused():
    model = compiled(nets.mlp())
    x, y = nets.batch(model)
    for data, message in (
        (iter([(x, y)]), "read twice"),
        (({"a": x}, y), "one input"),
        (((x, x), y), "one input"),
    ):
        with pytest.raises(ValueError, match=message):
            Objective(model, data)
    with pytest.raises(ValueError, match="batch_size from 1"):
        Objective(model, (x, y), batch_size=0)


def test_a_path_says_what_it_did_with_statistics():
    model = compiled(norm_net())
    a, data = kt.get_params(model), nets.batch(model)
    b = perturbed(a)
    kept, anew = (linear_path(model, a, b, data, alphas=2, statistics=way) for way in ("interpolate", "reestimate"))
    assert (kept.statistics, anew.statistics) == ("interpolate", "reestimate")
    objective = Objective(model, data)
    middle = interpolate(a, b, 0.5)
    assert kept.loss[1] == objective(middle).loss
    assert anew.loss[1] == objective(reestimated(objective, middle)).loss != kept.loss[1]
