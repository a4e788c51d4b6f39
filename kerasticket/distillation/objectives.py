"""What gradient matching compares of real and synthetic images, and how far two of these are apart."""

from collections.abc import Callable

import keras
from keras import ops

from kerasticket.backend import autodiff
from kerasticket.backend.precision import at_least_float32

LOSS = keras.losses.CategoricalCrossentropy(from_logits=True)


def squared(real, synthetic):
    """Sum of squared differences: IDC on CIFAR and SVHN."""
    return ops.sum(ops.square(real - synthetic))


def absolute(real, synthetic):
    """Sum of absolute differences: IDC on MNIST and ImageNet."""
    return ops.sum(ops.abs(real - synthetic))


def cosine(real, synthetic):
    """Sum over output units (the last axis) of 1 - cosine of the angle between their gradients: DC and DSA."""
    real, synthetic = (ops.reshape(each, (-1, each.shape[-1])) for each in (real, synthetic))
    lengths = _norm(real) * _norm(synthetic)
    return ops.sum(1 - ops.sum(real * synthetic, axis=0) / (lengths + 1e-6))


def _norm(columns):
    # The smallest number keeps the derivative finite where a unit has no gradient at all.
    return ops.sqrt(ops.sum(ops.square(columns), axis=0) + 1e-30)


def loss_gradients(network: keras.Model, classifier: bool) -> Callable:
    """What IDC, DC and DSA compare: the gradients of the loss in kernels, with or without the classifier's."""
    slope = autodiff.gradient(autodiff.functional_loss(network, LOSS, training=True))
    ranks = (2, 3, 4, 5) if classifier else (4, 5)
    matched = [i for i, variable in enumerate(network.trainable_variables) if len(variable.shape) in ranks]
    if not matched:
        raise ValueError("Expected a network with convolutions, such as 'convnet', or classifier=True.")

    def gradients(weights, images, targets):
        all_of_them = slope(weights, images, targets)
        return [all_of_them[i] for i in matched]

    return gradients


def mean_features(network: keras.Model, classifier: bool) -> Callable:
    """IDC's feature matching: the mean of what the last layer gets."""
    features = keras.Model(network.inputs, network.layers[-1].input)
    count = len(features.trainable_variables)

    def mean(weights, images, targets):
        values, _ = features.stateless_call(weights[:count], [], images, training=True)
        return [ops.mean(at_least_float32(values), axis=0)]

    return mean


DISTANCES: dict[str, Callable] = {"mse": squared, "l1": absolute, "cosine": cosine}
OBJECTIVES: dict[str, Callable] = {"gradients": loss_gradients, "features": mean_features}
