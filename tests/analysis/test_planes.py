"""Filters against what they feed, and random directions against the lengths of the filters."""

import itertools

import keras
import nets
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers
from perturbed_nets import perturbed

import kerasticket as kt
from kerasticket.analysis.planes import filter_axes, random_direction
from kerasticket.models.paths import owners
from kerasticket.params import Params

# layer, shape of its input, axes that its filters are numbered by
FILTERS = {
    "Dense": (lambda: layers.Dense(3, use_bias=False, name="layer"), (4,), (1,)),
    "Conv1D": (lambda: layers.Conv1D(3, 2, use_bias=False, name="layer"), (6, 2), (2,)),
    "Conv2D": (lambda: layers.Conv2D(3, 2, use_bias=False, name="layer"), (5, 5, 2), (3,)),
    "MaskedConv2D": (lambda: kt.layers.MaskedConv2D(3, 2, use_bias=False, name="layer"), (5, 5, 2), (3,)),
    "Conv3D": (lambda: layers.Conv3D(3, 2, use_bias=False, name="layer"), (3, 3, 3, 2), (4,)),
    "DepthwiseConv2D": (
        lambda: layers.DepthwiseConv2D(2, depth_multiplier=3, use_bias=False, name="layer"),
        (5, 5, 2),
        (2, 3),
    ),
    "Conv2DTranspose": (lambda: layers.Conv2DTranspose(3, 2, use_bias=False, name="layer"), (4, 4, 2), (2,)),
    "EinsumDense": (lambda: layers.EinsumDense("abc,cde->abde", (2, 3, 4), name="layer"), (2, 5), (1, 2)),
    "EinsumDense of each position": (
        lambda: layers.EinsumDense("abc,bcd->abd", (2, 3), name="layer"),
        (2, 5),
        (0, 2),
    ),
    "MaskedEinsumDense": (lambda: kt.layers.MaskedEinsumDense("abc,cd->abd", (2, 3), name="layer"), (2, 5), (1,)),
}


def one_kernel(name: str) -> tuple[keras.Model, Params, tuple[int, ...]]:
    """A model of one layer, random weights for its kernel, and the axes that number the filters."""
    make, shape, axes = FILTERS[name]
    model = keras.Sequential([keras.Input(shape), make()])
    rng = np.random.default_rng(1)
    return model, {path: rng.normal(size=a.shape) for path, a in kt.get_params(model).items()}, axes


@pytest.mark.parametrize("name", FILTERS)
def test_filters_are_what_feeds_one_output(name):
    """Without one filter, one output channel is zero, and the others are as before."""
    model, net, axes = one_kernel(name)
    ((path, kernel),) = net.items()
    found = filter_axes(owners(model)[path], path)
    assert sorted(axis % kernel.ndim for axis in found) == list(axes)
    x = np.random.default_rng(0).normal(size=(2, *model.input_shape[1:])).astype("float32")
    kt.set_params(model, net)
    channels = [kernel.shape[axis] for axis in axes]
    whole = np.array(model.predict_on_batch(x)).reshape(-1, np.prod(channels))
    for number, place in enumerate(itertools.product(*map(range, channels))):
        within = [slice(None)] * kernel.ndim
        for axis, index in zip(axes, place, strict=True):
            within[axis] = index
        without = kernel.copy()
        without[tuple(within)] = 0
        kt.set_params(model, {path: without})
        outputs = np.array(model.predict_on_batch(x)).reshape(whole.shape)
        assert not outputs[:, number].any()
        np.testing.assert_allclose(np.delete(outputs, number, 1), np.delete(whole, number, 1), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", FILTERS)
def test_filters_of_a_direction_are_as_long_as_the_nets(name):
    """Zeros stay zero before lengths are taken; a filter of zeros has no direction."""
    model, net, axes = one_kernel(name)
    ((path, kernel),) = net.items()
    filters = np.moveaxis(kernel, axes, range(len(axes)))
    filters[np.random.default_rng(2).random(filters.shape) < 0.4] = 0
    filters[(0,) * len(axes)] = 0
    direction = random_direction(model, net, np.random.default_rng(0))[path]
    assert ((direction == 0) == (kernel == 0)).all()
    drawn = np.moveaxis(direction, axes, range(len(axes)))
    for place in itertools.product(*(range(kernel.shape[axis]) for axis in axes)):
        assert np.linalg.norm(drawn[place]) == pytest.approx(np.linalg.norm(filters[place]))


def test_depthwise_kernels_and_numbers_of_embeddings_are_filters_too():
    separable = keras.Sequential([keras.Input((5, 5, 2)), layers.SeparableConv2D(3, 2, depth_multiplier=2, name="a")])
    embedding = keras.Sequential([keras.Input((3,)), layers.Embedding(7, 4, name="a")])
    for model, path, within in (
        (separable, "a/depthwise_kernel", (0, 1)),
        (separable, "a/pointwise_kernel", (0, 1, 2)),
        (embedding, "a/embeddings", (0,)),
    ):
        net = perturbed(kt.get_params(model))
        direction = random_direction(model, net, np.random.default_rng(0))
        lengths = [np.sqrt((array**2).sum(within)) for array in (direction[path], net[path])]
        np.testing.assert_allclose(*lengths, rtol=1e-6)


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0, 1), st.booleans())
def test_directions_have_the_length_of_the_weights_and_leave_the_rest(seed, density, filter_normalize):
    model, net = directed()
    rng = np.random.default_rng(seed)
    net = {path: a * (rng.random(a.shape) < density) if a.ndim > 1 else a for path, a in net.items()}
    direction = random_direction(model, net, rng, filter_normalize=filter_normalize)
    kernels = [path for path in net if net[path].ndim > 1]
    lengths = [np.sqrt(sum(np.sum(each[path].astype(float) ** 2) for path in kernels)) for each in (direction, net)]
    assert lengths[0] == pytest.approx(lengths[1], rel=1e-6)
    assert all((direction[path] == 0).all() for path in net if path not in kernels and "seed" not in path)
    assert all(((direction[path] == 0) == (net[path] == 0)).all() for path in kernels)


_directed: list = []


def directed():
    """A net with norms, biases and a seed state; made once."""
    if not _directed:
        model = nets.small_convnet()
        _directed.append((model, perturbed(kt.get_params(model))))
    return _directed[0]


def test_random_directions_leave_biases_of_two_axes():
    inputs = keras.Input((4, 6))
    x = keras.layers.MultiHeadAttention(2, 3, name="attention")(inputs, inputs)
    model = keras.Model(inputs, keras.layers.Dense(2, name="out")(x))
    net = {path: np.full_like(array, 0.5) for path, array in kt.get_params(model).items()}
    direction = random_direction(model, net, np.random.default_rng(0))
    assert net["attention/query/bias"].ndim == 2
    assert {path.endswith("bias") for path, array in direction.items() if not array.any()} == {True}
    assert all(direction[path].any() != path.endswith("bias") for path in net)
