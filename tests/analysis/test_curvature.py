"""The Hessian as an operator: closed forms of a linear net, flat vectors, and what it refuses."""

import keras
import nets
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import kerasticket as kt
from kerasticket.analysis.curvature import BATCH, Curvature, signs

RNG = np.random.default_rng(0)
X = RNG.normal(size=(2 * BATCH + 5, 3)).astype("float32")
Y = RNG.normal(size=(len(X), 2)).astype("float32")


def linear(mask=None) -> keras.Model:
    """Two outputs of three features under squared error, masked."""
    model = kt.masked(keras.Sequential([keras.Input((3,)), layers.Dense(2, use_bias=False, name="out")]))
    if mask is not None:
        kt.set_mask(model, {"out/kernel": mask})
    model.compile(loss="mse")
    return model


def closed_form(x: np.ndarray) -> np.ndarray:
    """Of the mean over examples and both outputs: 2 X'X / 2n for each output, for a kernel (inputs, outputs)."""
    return np.kron(x.T.astype(float) @ x / len(x), np.eye(2))


def dense(curvature: Curvature) -> np.ndarray:
    return np.stack([curvature.product(row) for row in np.eye(curvature.size)], 1)


def test_the_hessian_of_a_linear_net_is_the_covariance_of_its_inputs():
    """In three batches of unequal size, which count by their examples."""
    curvature = Curvature(linear(), (X, Y))
    assert sorted(len(x) for x, _, _ in curvature.batches) == [5, BATCH, BATCH]
    assert curvature.examples == len(X)
    np.testing.assert_allclose(dense(curvature), closed_form(X), atol=1e-5)


def test_pruned_weights_are_no_coordinates():
    mask = np.array([[True, False], [True, True], [False, True]])
    curvature = Curvature(linear(mask), (X, Y))
    assert (curvature.size, curvature.pruned) == (4, 2)
    kept = mask.ravel()
    np.testing.assert_allclose(dense(curvature), closed_form(X)[kept][:, kept], atol=1e-5)
    vector = np.arange(1.0, 5)
    parts = curvature.split(vector)
    assert parts["out/kernel"].tolist() == [[1, 0], [2, 3], [0, 4]]
    assert curvature.join(parts).tolist() == vector.tolist()


def test_of_a_pipeline_the_first_batches_are_used():
    data = tf.data.Dataset.from_tensor_slices((X, Y)).batch(10)
    curvature = Curvature(linear(), data, batches=2)
    assert curvature.examples == 20
    np.testing.assert_allclose(curvature.product(np.eye(6)[0]), closed_form(X[:20])[0], atol=1e-5)


@pytest.mark.same_on_every_backend
def test_signs_are_plus_and_minus_one_in_equal_shares():
    drawn = signs(np.random.default_rng(0), 10_000)
    assert set(drawn) == {-1, 1}
    assert abs(drawn.mean()) < 0.04


def broken() -> keras.Model:
    model = linear()
    kt.set_params(model, {"out/kernel": np.full((3, 2), np.nan, "float32")})
    return model


def half() -> keras.Model:
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2, name="out", dtype="mixed_bfloat16")], name="half")
    model.compile(loss="mse")
    return model


def frozen() -> keras.Model:
    model = linear()
    model.trainable = False
    return model


@pytest.mark.same_on_every_backend
@pytest.mark.parametrize(
    ("make", "data", "batches", "message"),
    [
        (broken, (X, Y), 1, r"finite weights. Received: NaN or infinity at \['out/kernel'\]"),
        (half, (X, Y), 1, r"'half', which computes in \['bfloat16'\]"),
        (frozen, (X, Y), 1, "trainable weights. Received: 'sequential.*', without any"),
        (linear, (X, Y), 2, "at least 2 batches; arrays and image sets are one. Received: batches=2, and data of 1"),
        (linear, (X, Y), 0, "number of batches from 1 on. Received: batches=0"),
        (linear, (X, Y), 1.5, "number of batches from 1 on. Received: batches=1.5"),
        (nets.mlp, (X, Y), 1, "ompile"),
    ],
)
def test_what_has_no_usable_curvature_is_refused(make, data, batches, message):
    with pytest.raises(ValueError, match=message):
        Curvature(make(), data, batches)
