"""Criteria made of the flow through the network, without data: SynFlow."""

import contextlib
import math
from collections.abc import Callable, Iterator

import keras
import numpy as np
from keras import layers, ops

from kerasticket.backend import autodiff
from kerasticket.backend.keras_internals import all_layers
from kerasticket.backend.precision import double_precision
from kerasticket.layers import InstanceNormalization
from kerasticket.layers.restoring import lent
from kerasticket.masks import Mask, Scores
from kerasticket.params import Params, is_float
from kerasticket.pruning.criteria.gates import GATED
from kerasticket.pruning.criteria.network import computing_in, doubles, identity, kernels_of, network

SHIFTS = ("bias", "beta", "moving_mean")
IDENTITIES: tuple[type, ...] = (layers.ReLU, layers.LeakyReLU, layers.PReLU, layers.ELU, layers.Softmax)
IDENTITIES += (layers.Rescaling, layers.Normalization, layers.UnitNormalization)
SCALES = (layers.LayerNormalization, layers.GroupNormalization, layers.RMSNormalization, InstanceNormalization)


# For an input of ones all positions are alike, so that attention is an average, and queries and keys would score 0.
ATTENTION = (layers.MultiHeadAttention, layers.GroupQueryAttention, layers.Attention, layers.AdditiveAttention)


def synflow(model, params: Params, mask: Mask, data, rng: np.random.Generator) -> Scores:
    """w dR/dw / R, with R the sum of the outputs of the network of absolute weights for an input of ones.

    Tanaka et al. 2020 (arXiv 2006.05467): each weight's share in the sum over all paths of the product
    of the weights along it. Their method asks for 100 rounds of scoring and pruning
    (`PruneAtInitialization("synflow", rounds=100)`); in one round it empties layers.

    Activations count as the identity, which on positive values ReLU is. Biases and other shifts are left out, so
    every layer that all paths pass has scores that sum to 1 (their code takes the absolute values of shifts, and
    paths then begin in mid-network). Norms that take the statistics of their input, for which R is no sum of paths,
    count as their scale `gamma`; batch norms are in inference mode. Paths run through all steps of recurrent layers,
    in which a gate and what it gates share their flow in halves (`criteria.gates`). Computed in float64, and divided
    by R, so that products over many layers neither overflow nor vanish; R itself must not leave its range, 1e-308 to
    1e308.

    Raises:
        ValueError: several inputs, an input of unknown shape, or layers that do not let R be a sum of paths, such as
            attention or products of activations.
    """
    _refuse_attention(model)
    absolute = {p: np.zeros_like(a) if p.endswith(SHIFTS) else np.abs(a) for p, a in params.items()}
    absolute |= {path: array for path, array in params.items() if not is_float(array)}
    kernels, ones = kernels_of(absolute, mask), np.ones(_input_shape(model))
    with _linear(model), computing_in(model, "float64"), double_precision():
        outputs = network(model, absolute, mask)

        def flow(weights, inputs):
            return ops.sum(ops.cast(outputs(weights, inputs), "float64"))

        total = _checked(model, float(flow(kernels, ones)), float(flow(kernels, 2 * ones)))
        slope = doubles(autodiff.gradient(lambda weights: flow(weights, ones) / total)(kernels))
    return {path: kernel * s for path, kernel, s in zip(mask, kernels, slope, strict=True)}


def _refuse_attention(model: keras.Model) -> None:
    found = [layer.name for layer in all_layers(model) if isinstance(layer, ATTENTION)]
    if found:
        raise ValueError(
            f"Criterion 'synflow' needs layers through which paths can be summed. Received: '{model.name}' with "
            f"attention in {found[:4]}, whose queries and keys lie on no path. Take another criterion."
        )


def _input_shape(model: keras.Model) -> tuple[int, ...]:
    shape = getattr(model, "input_shape", None)
    if not isinstance(shape, tuple) or any(not isinstance(side, int) for side in shape[1:]):
        raise ValueError(
            f"Criterion 'synflow' needs a model with one input of known shape. Received: '{model.name}' with {shape}."
        )
    return (1, *shape[1:])


def _checked(model: keras.Model, once: float, twice: float) -> float:
    """R, after a look that twice the input gives twice of it."""
    if once == 0:
        return 1.0  # no path is left from input to output: all scores are 0
    if not (math.isfinite(once) and math.isclose(twice, 2 * once, rel_tol=1e-5)):
        raise ValueError(
            f"Criterion 'synflow' needs a network that is linear once its activations are. Received: '{model.name}', "
            f"whose outputs sum to {once:g} for an input of ones, and to {twice:g} for twos. Products of "
            "activations and added constants are among what it cannot judge; take another criterion."
        )
    return once


@contextlib.contextmanager
def _linear(model: keras.Model) -> Iterator[None]:
    """The layers of the model have no activations, and norms of their input only scale."""
    members = [layer for layer in all_layers(model) if isinstance(layer, keras.Layer)]
    names = ("activation", "recurrent_activation")
    changes: list[tuple] = [(one, name, identity) for one in members for name in names if hasattr(one, name)]
    changes += [(layer, "use_cudnn", False) for layer in members if hasattr(layer, "use_cudnn")]  # which asks no cell
    changes += [(layer, "call", identity) for layer in members if isinstance(layer, IDENTITIES)]
    changes += [(layer, "call", _scale(layer)) for layer in members if isinstance(layer, SCALES)]
    for kind, flow_of in GATED.items():
        changes += [(layer, "call", flow_of(layer)) for layer in members if isinstance(layer, kind)]
    with lent(changes=changes):
        yield


def _scale(layer: keras.Layer) -> Callable:
    """What is left of a norm without its statistics: the scale, and the pooling of ours."""

    def call(inputs, *args, **kwargs):
        gamma = getattr(layer, "gamma", None)
        gamma = getattr(layer, "scale", None) if gamma is None else gamma  # RMSNormalization's
        if gamma is not None and not isinstance(gamma, bool):
            axes = np.atleast_1d(getattr(layer, "axis", -1)) % len(inputs.shape)
            shape = [side if axis in axes else 1 for axis, side in enumerate(inputs.shape)]
            inputs = inputs * ops.reshape(ops.cast(gamma, "float64"), shape)
        pool = getattr(layer, "pool_size", 1)
        return ops.average_pool(inputs, pool, strides=pool) if pool > 1 else inputs

    return call
