"""The dense Hessian of a small network, by automatic differentiation of its loss."""

import keras
import numpy as np

import kerasticket as kt
from kerasticket.analysis.curvature import Curvature


def examples(model: keras.Model, count: int = 3, seed: int = 0):
    rng = np.random.default_rng(seed)
    classes = model.output_shape[-1]
    return rng.normal(size=(count, *model.input_shape[1:])), np.eye(classes)[rng.integers(0, classes, count)]


def ready(model: keras.Model, loss=None) -> keras.Model:
    """Compiled, at weights that are no zeros or ones; pruned ones stay zero."""
    rng = np.random.default_rng(5)
    kt.set_params(model, {path: array + 0.1 * rng.random(array.shape) for path, array in kt.get_params(model).items()})
    model.compile(loss=loss or keras.losses.CategoricalCrossentropy(from_logits=True))
    return model


def dense_hessian(curvature: Curvature) -> np.ndarray:
    return np.stack([curvature.product(e) for e in np.eye(curvature.size)], axis=1)
