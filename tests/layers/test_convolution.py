"""Convolutions that train by `fused.convolution`: the same numbers, and Keras' to the bit elsewhere."""

import keras
import nets
import numpy as np
import pytest
from keras import layers, ops

from kerasticket.backend import fused
from kerasticket.layers import MaskedConv2D
from kerasticket.layers.class_swap import swap_class
from kerasticket.layers.convolution import TrainingConv2D, speed_up

X = np.random.default_rng(0).normal(size=(2, 6, 7, 4)).astype("float32")


@pytest.fixture
def calls(monkeypatch) -> list:
    """Shapes of what is given to `fused.convolution`."""
    seen, plain = [], fused.convolution
    monkeypatch.setattr(fused, "convolution", lambda x, kernel: seen.append(tuple(x.shape)) or plain(x, kernel))
    return seen


def both_ways(training, **options) -> tuple[np.ndarray, np.ndarray]:
    """Outputs of a convolution, and of it as the other class."""
    layer = layers.Conv2D(**({"filters": 4, "kernel_size": 3, "padding": "same"} | options))
    before = ops.convert_to_numpy(layer(X))
    swap_class(layer, TrainingConv2D)
    return before, ops.convert_to_numpy(layer(X, training=training))


@pytest.mark.parametrize("options", [{}, {"use_bias": False}, {"activation": "relu", "bias_initializer": "ones"}])
def test_it_trains_by_the_fused_operation(options, calls):
    before, after = both_ways(True, **options)
    np.testing.assert_allclose(after, before, atol=1e-5)
    assert calls == [X.shape]


ELSEWHERE = [
    {"kernel_size": 5},
    {"kernel_size": (3, 1)},
    {"strides": 2},
    {"padding": "valid"},
    {"dilation_rate": 2},
    {"groups": 2},
]


@pytest.mark.parametrize(("training", "options"), [(False, {}), (None, {}), *((True, each) for each in ELSEWHERE)])
def test_elsewhere_it_is_keras_own_to_the_bit(training, options, calls):
    before, after = both_ways(training, **options)
    np.testing.assert_array_equal(after, before)
    assert calls == []


class Own(layers.Conv2D):
    """A user's convolution."""


def test_only_keras_own_convolutions_are_exchanged():
    inner = keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(2, 3, name="inner")])
    stack = [layers.Conv2D(2, 3, name="plain"), Own(2, 3, name="own"), MaskedConv2D(2, 1, name="masked")]
    model = keras.Sequential([keras.Input((8, 8, 3)), inner, *stack])
    assert speed_up(model) is model
    assert [type(layer) for layer in model.layers[1:]] == [TrainingConv2D, Own, MaskedConv2D]
    assert type(inner.layers[0]) is TrainingConv2D
    assert issubclass(MaskedConv2D, TrainingConv2D)  # masked ones train so anyway


def test_a_model_that_was_speeded_up_gives_the_same_numbers_in_training(calls):
    model = nets.small_convnet()
    model.get_layer("drop").rate = 0.0
    x, _ = nets.batch(model, 4)
    before = ops.convert_to_numpy(model(x, training=True))
    after = ops.convert_to_numpy(speed_up(model)(x, training=True))
    np.testing.assert_allclose(after, before, atol=1e-5)
    assert calls == [x.shape]
