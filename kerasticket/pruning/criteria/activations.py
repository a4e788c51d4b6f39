"""Criteria made of what flows into the layers: Wanda."""

import functools
from collections.abc import Callable

import keras
import numpy as np
from keras import ops

from kerasticket.backend import autodiff
from kerasticket.layers.restoring import lent
from kerasticket.layers.traits import TRAITS
from kerasticket.masks import Mask, Scores
from kerasticket.models.paths import masked_weights
from kerasticket.params import Params
from kerasticket.pruning.criteria.network import batches, doubles, float32_at_least, identity, kernels_of, network

LINEAR = tuple(kind for kind, traits in TRAITS.items() if traits.is_linear)


def wanda(model, params: Params, mask: Mask, data, rng: np.random.Generator) -> Scores:
    """|w| times the length of the inputs that the weight is multiplied with (Sun et al. 2024, equation 1).

    The length is taken over all examples and, in convolutions, over all positions. The authors (arXiv 2306.11695)
    compare the weights of each output unit among themselves: scope "unit".

    Args:
        data: calibration examples; targets are not used.

    Raises:
        ValueError: no data, or a masked layer whose inputs are whole numbers, or that is not linear in its kernel.
    """
    squares = [np.zeros(kept.shape) for kept in mask.values()]
    kernels = kernels_of(params, mask)
    for inputs, _ in batches("wanda", data):
        with float32_at_least(model):
            found = doubles(autodiff.gradient(_squared_inputs(model, params, mask))(kernels, inputs))
        squares = [total + part for total, part in zip(squares, found, strict=True)]
    return {path: np.abs(w) * np.sqrt(s) for path, w, s in zip(mask, kernels, squares, strict=True)}


def _squared_inputs(model: keras.Model, params: Params, mask: Mask) -> autodiff.Function:
    """A function of (kernels, inputs) whose gradient is, per weight, the sum of its squared inputs.

    In any layer that is linear in its kernel, the sum of the outputs for inputs x^2 has that gradient.
    """
    outputs = network(model, params, mask)
    layers = {path: _linear_layer(held.layer) for path, held in masked_weights(model).items()}

    def total(kernels, inputs):
        terms: list = []
        watched = [(layers[path], "call", _watched(layers[path], terms)) for path in mask]
        with lent(changes=watched):
            outputs(kernels, inputs)
        return functools.reduce(ops.add, terms)

    return total


def _linear_layer(layer: keras.Layer) -> keras.Layer:
    if not isinstance(layer, LINEAR):
        raise ValueError(
            f"Criterion 'wanda' needs layers that multiply their inputs with one kernel: "
            f"{[kind.__name__ for kind in LINEAR]}. Received: '{layer.name}' of type {type(layer).__name__}. Leave it "
            "without a mask, or take another criterion."
        )
    return layer


def _watched(layer: keras.Layer, terms: list) -> Callable:
    call = layer.call

    def watched(inputs, *args, **kwargs):
        if not keras.backend.is_float_dtype(keras.backend.standardize_dtype(inputs.dtype)):
            raise ValueError(
                f"Criterion 'wanda' needs layers with floating inputs. Received: '{layer.name}' with {inputs.dtype}."
            )
        linear = [(layer, "activation", identity)] if hasattr(layer, "activation") else []
        with lent(changes=linear):
            terms.append(ops.sum(call(ops.square(ops.stop_gradient(inputs)), *args, **kwargs)))
        return ops.stop_gradient(call(inputs, *args, **kwargs))

    return watched
