"""A layer that becomes another class is called as that class is, in models that were made before."""

import keras
import numpy as np
import pytest
from keras import layers

from kerasticket.layers.class_swap import swap_class


class Shifted(layers.Dense):
    """Adds 1 while training."""

    def call(self, inputs, training=None):
        return super().call(inputs) + (1.0 if training else 0.0)


def functional(layer) -> keras.Model:
    inputs = keras.Input((3,))
    return keras.Model(inputs, layer(inputs))


@pytest.mark.parametrize("make", [functional, lambda layer: keras.Sequential([keras.Input((3,)), layer])])
def test_training_reaches_the_new_call_and_leaves_with_it(make):
    layer = layers.Dense(2, name="dense")
    model, x = make(layer), np.ones((1, 3), "float32")
    kernel, before = layer.kernel, model.predict_on_batch(x)
    swap_class(layer, Shifted)
    assert type(layer) is Shifted
    assert layer.kernel is kernel
    for training in (True, False, None):
        expected = before + (1 if training else 0)
        found = keras.ops.convert_to_numpy(model(x, training=training))
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    swap_class(layer, layers.Dense)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(model(x, training=True)), before)
