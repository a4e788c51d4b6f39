"""LeNet-300-100 against the formula of its layers."""

import math

import keras
import numpy as np
import pytest
from keras import ops

import kerasticket as kt
from kerasticket.models import MODELS, lenet_300_100


def test_it_is_two_hidden_layers_with_relu():
    model = lenet_300_100((3, 4), 5, seed=0)
    net = kt.get_params(model)
    rng = np.random.default_rng(0)
    net = {path: rng.normal(0, 0.1, array.shape).astype("float32") for path, array in net.items()}
    kt.set_params(model, net)
    x = rng.normal(size=(2, 3, 4)).astype("float32")
    hidden = x.reshape(2, 12)
    for name in ("hidden_1", "hidden_2"):
        hidden = np.maximum(hidden @ net[f"{name}/kernel"] + net[f"{name}/bias"], 0)
    expected = hidden @ net["logits/kernel"] + net["logits/bias"]
    np.testing.assert_allclose(ops.convert_to_numpy(model(x)), expected, rtol=1e-4, atol=1e-5)
    assert [layer.units for layer in model.layers if isinstance(layer, keras.layers.Dense)] == [300, 100, 5]


def test_lenet_initialization():
    """Kernels are N(0, 2 / (fan_in + fan_out)), biases 0."""
    layer = MODELS["lenet_300_100"](seed=0).get_layer("hidden_1")
    assert ops.convert_to_numpy(layer.kernel).std() == pytest.approx(math.sqrt(2 / (784 + 300)), rel=0.02)
    assert np.all(ops.convert_to_numpy(layer.bias) == 0)
