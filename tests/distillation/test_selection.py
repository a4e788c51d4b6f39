"""GraNd against what is known of it in closed form and against Keras' own training step."""

import keras
import numpy as np
import pytest
from keras import ops

import kerasticket as kt
from kerasticket.distillation.selection import errors, gradient_norms


@pytest.fixture(scope="module")
def few():
    return kt.data.load("digits", "train", images_per_class=2)


def test_grand_of_a_linear_network_in_closed_form(few):
    """The gradient in kernel and bias is (x, 1) (softmax - label)', whose norm is |(x, 1)| times EL2N."""
    inputs = keras.Input((16, 16, 1))
    logits = keras.layers.Dense(10, name="logits")(keras.layers.Flatten(name="flatten")(inputs))
    network = keras.Model(inputs, logits)
    x = ((few.images / 255 - few.mean[0]) / few.std[0]).reshape(len(few), -1)
    lengths = np.sqrt((x**2).sum(axis=1, keepdims=True) + 1)
    np.testing.assert_allclose(gradient_norms(network, few), lengths * errors(network, few), rtol=1e-4)


@pytest.mark.parametrize("model", ["convnet", "resnet10"])
def test_grand_is_the_step_that_training_on_one_image_takes(model, few):
    """At rate 1 without momentum: all weights count, those of norms and biases too; batch norm by its statistics."""
    # Of width 4, TensorFlow and torch crash in oneDNN's gradients on some CPUs with AVX2 alone.
    network = kt.models.MODELS[model]((16, 16, 1), 10, width=8, seed=0)
    for layer in network.layers:  # as in inference mode, in which GraNd is measured
        layer.trainable = not isinstance(layer, keras.layers.BatchNormalization)
    found = gradient_norms(network, few)
    before = [ops.convert_to_numpy(v).copy() for v in network.trainable_variables]
    network.compile(keras.optimizers.SGD(1.0), keras.losses.CategoricalCrossentropy(from_logits=True))
    twice = [3, 3]  # of one image alone, TensorFlow crashes: see gradient_norms
    x = ((few.images[twice] / 255 - few.mean[0]) / few.std[0]).astype("float32")
    network.train_on_batch(x, np.eye(10, dtype="float32")[few.labels[twice]])
    steps = [old - ops.convert_to_numpy(new) for old, new in zip(before, network.trainable_variables, strict=True)]
    assert found[3, 0] == pytest.approx(np.sqrt(sum((step**2).sum() for step in steps)), rel=1e-3)
