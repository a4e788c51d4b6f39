"""The table of rules: which layer, which activation function carries jets, and how."""

from collections.abc import Callable

import keras
from keras import activations, layers, ops

from kerasticket.analysis.taylor.jets import Jet, Rule, per_example
from kerasticket.analysis.taylor.kernels import CONVOLUTION, DENSE, EINSUM, plain
from kerasticket.analysis.taylor.norms import BATCH_NORM, INSTANCE_NORM
from kerasticket.backend import autodiff
from kerasticket.layers.masked import MASKED
from kerasticket.layers.normalization import BatchNormalization, InstanceNormalization


def _spatial(layer, x, jet: Jet) -> Jet:
    return jet.map(lambda each: per_example(layer.call, each, like=x))


def _linear(layer, x, jet: Jet) -> Jet:
    return _spatial(layer, x, jet.spread(x.shape[-1]))


def _call(layer, x):
    return layer.call(x)


LINEAR = Rule(_call, _linear, covers=plain)
SPATIAL = Rule(_call, _spatial, channelwise=True, covers=plain)
IDENTITY = Rule(lambda layer, x: x, lambda layer, x, jet: jet, channelwise=True)


def _slope(function: Callable, x):
    return autodiff.gradient(lambda z: ops.sum(function(z)))(x)


def _smooth(function, x, jet: Jet) -> Jet:
    x = jet.of(x)
    slope, curvature = _slope(function, x), _slope(lambda z: _slope(function, z), x)
    return Jet(slope * jet.first, slope * jet.second + curvature * ops.square(jet.first), jet.channels)


def _piecewise_linear(function, x, jet: Jet) -> Jet:
    slope = _slope(function, jet.of(x))
    return jet.map(lambda each: slope * each)


def _softmax(function, x, jet: Jet) -> Jet:
    y, jet = function(x), jet.spread(x.shape[-1])
    x1, x2 = jet.first, jet.second

    def total(z):
        return ops.sum(z, axis=-1, keepdims=True)

    shift = x1 - total(y * x1)
    first = y * shift
    return Jet(first, first * shift + y * (x2 - total(first * x1 + y * x2)))


def _apply(function, x):
    return function(x)


SMOOTH = Rule(_apply, _smooth, channelwise=True)
PIECEWISE_LINEAR = Rule(_apply, _piecewise_linear, channelwise=True)
SOFTMAX = Rule(_apply, _softmax)


def _max_pool(layer, x, jet: Jet) -> Jet:
    largest = _slope(layer.call, jet.of(x))  # 1 at the largest of each window, which no other window shares

    def pool(z):
        return ops.average_pool(z, layer.pool_size, layer.strides, layer.padding, "channels_last")

    count = 1 / pool(largest)  # windows at the border are smaller
    return jet.map(lambda each: per_example(pool, each * largest, like=x) * count)


def _apart(layer) -> bool:
    return plain(layer) and all(size <= step for size, step in zip(layer.pool_size, layer.strides, strict=True))


MAX_POOL = Rule(_call, _max_pool, channelwise=True, covers=_apart)

_SPATIAL = "AveragePooling GlobalAveragePooling ZeroPadding Cropping UpSampling"
_KERNELS: dict[type, Rule] = {
    layers.Dense: DENSE,
    layers.EinsumDense: EINSUM,
    **{getattr(layers, f"Conv{n}D"): CONVOLUTION for n in (1, 2, 3)},
}
# By exact type: a subclass may do anything.
RULES: dict[type, Rule] = {
    **_KERNELS,
    **{MASKED[cls]: rule for cls, rule in _KERNELS.items()},
    InstanceNormalization: INSTANCE_NORM,
    **dict.fromkeys((layers.BatchNormalization, BatchNormalization), BATCH_NORM),
    **{getattr(layers, f"{name}{n}D"): SPATIAL for name in _SPATIAL.split() for n in (1, 2, 3)},
    **{getattr(layers, f"MaxPooling{n}D"): MAX_POOL for n in (1, 2, 3)},
    **dict.fromkeys((layers.Add, layers.Subtract, layers.Average), SPATIAL),
    **dict.fromkeys((layers.Flatten, layers.Reshape, layers.Permute), LINEAR),
    **{getattr(layers, name): IDENTITY for name in ("Identity", "Dropout", "GaussianNoise", "GaussianDropout")},
    **{getattr(layers, f"SpatialDropout{n}D"): IDENTITY for n in (1, 2, 3)},
}
ACTIVATIONS: dict[Callable, Rule] = {
    **{getattr(activations, name): PIECEWISE_LINEAR for name in ("relu", "leaky_relu", "relu6", "hard_sigmoid")},
    **{
        getattr(activations, name): SMOOTH
        for name in (
            *("tanh", "sigmoid", "softplus", "exponential", "log_sigmoid", "elu", "selu", "celu", "gelu"),
            *("silu", "hard_silu", "mish", "squareplus"),
        )
    },
    activations.linear: IDENTITY,
    activations.softmax: SOFTMAX,
}
# Layers that are an activation function: their rule, with `layer.call` as the function.
FUNCTIONS: dict[type, Rule] = {
    layers.ReLU: PIECEWISE_LINEAR,
    layers.LeakyReLU: PIECEWISE_LINEAR,
    layers.ELU: SMOOTH,
}


def rules_of(layer: keras.Layer) -> list[tuple[Rule, object]] | None:
    """The rules that make up a layer, in order, each with the layer or the function that it is about; None: unknown."""
    kind = type(layer)
    if kind in FUNCTIONS:
        return [(FUNCTIONS[kind], layer.call)]
    if kind is layers.Activation:
        parts = []
    elif kind in RULES and RULES[kind].covers(layer):
        parts = [(RULES[kind], layer)]
    else:
        return None
    function = getattr(layer, "activation", activations.linear) or activations.linear
    if function not in ACTIVATIONS:
        return None
    return parts if function is activations.linear and parts else [*parts, (ACTIVATIONS[function], function)]
