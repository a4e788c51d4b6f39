"""How each layer passes channels on: one rule per Keras layer in `RULES`, written with labels in place of numbers."""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import layers

from kerasticket.backend.keras_internals import variable_of
from kerasticket.layers.composite import plain_kind
from kerasticket.layers.masked import MASKED
from kerasticket.layers.normalization import BatchNormalization, InstanceNormalization
from kerasticket.layers.traits import TRAITS, equation_of
from kerasticket.models.graph.calls import Shape
from kerasticket.models.paths import SEED_STATE, named_variables

# What a variable does with its channels: it makes them, reads them, scales or shifts each, or only counts them.
OUT, IN, SCALE, STATISTIC = "out", "in", "scale", "statistic"
FIXED = 0  # the label of channels that keep their place, as those of the inputs and outputs do


class Signal(NamedTuple):
    """A tensor of the graph: its labels, of size 1 along axes where they do not vary, and its shape; no batch axis."""

    labels: np.ndarray
    shape: Shape


class Walk:
    """What a walk through a graph has met: labels of the axes of variables, and which labels are the same channel."""

    def __init__(self, model: keras.Model):
        self.paths = {id(variable): path for path, variable in named_variables(model).items()}
        self.axes: dict[tuple[str, int], tuple[np.ndarray, str]] = {}
        self.ties: list[np.ndarray] = []
        self.call: Any = None  # Keras' record of the call that a rule is asked about
        self.unknown: dict[int, Any] = {}  # id of a call -> its layer, through which channels were not followed
        self.count = 1  # FIXED is taken

    def axis(self, variable: keras.Variable, axis: int, role: str) -> np.ndarray:
        """The labels of an axis of a variable: new ones at first, the same ones at every later call."""
        key = (self.paths[id(variable)], axis % len(variable.shape))
        if key not in self.axes:
            size = variable.shape[axis]
            self.axes[key] = (np.arange(self.count, self.count + size), role)
            self.count += size
        return self.axes[key][0]

    def tie(self, a: np.ndarray, b: np.ndarray) -> None:
        """Says that two arrays of labels are the same channels."""
        self.ties.append(np.stack([np.ravel(labels) for labels in np.broadcast_arrays(a, b)]))

    def tie_vectors(self, vectors: list[keras.Variable | None], labels: np.ndarray, role: str) -> None:
        """Ties variables with one number per channel to the channels; None: the layer goes without."""
        for vector in vectors:
            if vector is not None:
                self.tie(self.axis(vector, 0, role), labels)

    def fix(self, labels: np.ndarray) -> None:
        """Says that channels keep their place."""
        self.tie(labels, np.array(FIXED))

    def fix_around(self, layer: Any, inputs: list[np.ndarray]) -> None:
        """Says that the channels of a call's inputs, and those that its layer has weights for, keep their place."""
        own = [self.paths.get(id(variable)) for variable in getattr(layer, "variables", ())]
        met = [labels for (path, _), (labels, _) in self.axes.items() if path in own]
        for labels in (*inputs, *met):
            self.fix(labels)

    def unseen(self, layer: Any) -> list[str]:
        """Paths of a layer's weights of which no axis has been met."""
        seen = {path for path, _ in self.axes}
        own = [self.paths.get(id(variable)) for variable in getattr(layer, "variables", ())]
        return [path for path in own if path and path not in seen and not path.endswith(SEED_STATE)]


def refusal(layer: Any, expected: str, hint: str = "") -> ValueError:
    return ValueError(f"Expected {expected}. Received: '{layer.name}' of type {type(layer).__name__}.{hint}")


def only_input(layer, inputs: list[Signal]) -> Signal:
    if len(inputs) != 1:
        raise refusal(layer, "a layer called on one tensor", f" It is called on {len(inputs)}.")
    return inputs[0]


def channels_of_input(layer, inputs: list[Signal]) -> np.ndarray:
    """One label per channel of the one input."""
    labels, shape = only_input(layer, inputs)
    last = getattr(layer, "data_format", None) != "channels_first" and getattr(layer, "axis", -1) in (-1, len(shape))
    if not last or shape[-1] is None or any(side != 1 for side in labels.shape[:-1]):
        raise refusal(layer, "a layer whose input has its channels on the last axis, the same at every position")
    return np.broadcast_to(labels.ravel(), shape[-1:])


def spread(channels: np.ndarray, shape: Shape) -> np.ndarray:
    return channels.reshape((1,) * (len(shape) - 1) + (-1,))


def kernel_of(layer) -> keras.Variable:
    return variable_of(layer, "kernel")  # an attribute `kernel` of masked layers is no variable


def _activated(walk: Walk, layer, labels: np.ndarray) -> np.ndarray:
    if layer.activation in COMPARING:
        walk.fix(labels)
    elif not is_elementwise(layer.activation):
        raise refusal(layer, "an elementwise activation of keras.activations", f" It has {layer.activation!r}.")
    return labels


def is_elementwise(activation: Any) -> bool:
    """True for functions of keras.activations that act on each number by itself."""
    return activation in _ELEMENTWISE


def axes_of_kernel(layer) -> tuple[int, int]:
    """Of a layer that mixes channels: the axis that reads them, and that which makes others."""
    ((read,), (made,)) = TRAITS[plain_kind(layer)].axes(layer)
    return read, made


def _mixing(walk: Walk, layer, inputs: list[Signal], shape: Shape) -> np.ndarray:
    channels, (read, made) = channels_of_input(layer, inputs), axes_of_kernel(layer)
    if getattr(layer, "groups", 1) != 1:
        raise refusal(layer, "convolutions without groups", f" It has groups={layer.groups}.")
    outgoing = walk.axis(kernel_of(layer), made, OUT)
    walk.tie(walk.axis(kernel_of(layer), read, IN), channels)
    walk.tie_vectors([layer.bias], outgoing, OUT)
    return _activated(walk, layer, spread(outgoing, shape))


def _einsum(walk: Walk, layer, inputs: list[Signal], shape: Shape) -> np.ndarray:
    taken, kernel, made = equation_of(layer)
    on_last_axis = len(kernel) == 2 and taken[-1:] + made[-1:] == kernel and taken[:-1] == made[:-1]
    if not on_last_axis or layer.bias_axes not in (None, made[-1]):
        raise refusal(layer, "an EinsumDense that acts on the last axis alone, like 'abc,cd->abd'")
    return _mixing(walk, layer, inputs, shape)


def _depthwise(walk: Walk, layer, inputs: list[Signal], shape: Shape) -> np.ndarray:
    channels = channels_of_input(layer, inputs)
    (read,) = TRAITS[plain_kind(layer)].axes(layer).inputs
    walk.tie(walk.axis(kernel_of(layer), read, SCALE), channels)
    outgoing = np.repeat(channels, layer.depth_multiplier)
    walk.tie_vectors([layer.bias], outgoing, SCALE)
    return _activated(walk, layer, spread(outgoing, shape))


def _batch_norm(walk: Walk, layer, inputs: list[Signal], shape: Shape) -> np.ndarray:
    walk.tie_vectors([layer.moving_mean, layer.moving_variance], channels_of_input(layer, inputs), STATISTIC)
    return _norm(walk, layer, inputs, shape)


def _norm(walk: Walk, layer, inputs: list[Signal], shape: Shape) -> np.ndarray:
    channels = channels_of_input(layer, inputs)
    if getattr(layer, "groups", len(channels)) != len(channels):
        raise refusal(layer, "a norm of each channel by itself", f" It has groups={layer.groups}.")
    walk.tie_vectors([layer.gamma, layer.beta], channels, SCALE)
    return inputs[0].labels


def _elementwise(walk: Walk, layer, inputs: list[Signal], shape: Shape) -> np.ndarray:
    return only_input(layer, inputs).labels


def _activation(walk: Walk, layer, inputs: list[Signal], shape: Shape) -> np.ndarray:
    return _activated(walk, layer, only_input(layer, inputs).labels)


def _spatial(walk: Walk, layer, inputs: list[Signal], shape: Shape) -> np.ndarray:
    return spread(channels_of_input(layer, inputs), shape)


def _comparing(walk: Walk, layer, inputs: list[Signal], shape: Shape) -> np.ndarray:
    walk.fix(only_input(layer, inputs).labels)
    return inputs[0].labels


def _reshaped(walk: Walk, layer, inputs: list[Signal], shape: Shape) -> np.ndarray:
    labels, before = only_input(layer, inputs)
    if None in (*before, *shape) or getattr(layer, "data_format", None) == "channels_first":
        raise refusal(layer, "known sides and channels on the last axis", f" Its input has shape {before}.")
    full = np.broadcast_to(labels, before).reshape(shape)
    for axis in range(full.ndim):
        if (full == full.take([0], axis)).all():
            full = full.take([0], axis)
    return full


def _merged(walk: Walk, layer, inputs: list[Signal], shape: Shape) -> np.ndarray:
    merged = []
    for labels, side in inputs:
        if side[-1] == 1 != shape[-1]:  # a gate: one number for all channels
            walk.fix(labels)
        else:
            merged.append(labels)
    first, *others = np.broadcast_arrays(*merged)
    for other in others:
        walk.tie(first, other)
    return first


def _concatenated(walk: Walk, layer, inputs: list[Signal], shape: Shape) -> np.ndarray:
    if layer.axis not in (-1, len(shape)) or None in (signal.shape[-1] for signal in inputs):
        raise refusal(layer, "a Concatenate along channels, the last axis", f" It has axis={layer.axis}.")
    positions = np.broadcast_shapes(*(signal.labels.shape[:-1] for signal in inputs))
    return np.concatenate([np.broadcast_to(labels, (*positions, full[-1])) for labels, full in inputs], -1)


# A rule takes (walk, layer, inputs, shape of the output), ties what is the same channel, and gives the output's labels.
Rule = Callable[[Walk, Any, list[Signal], Shape], np.ndarray]
SPATIAL = "MaxPooling AveragePooling GlobalMaxPooling GlobalAveragePooling ZeroPadding Cropping UpSampling"
POINTWISE = "Identity ReLU LeakyReLU ELU Dropout SpatialDropout1D SpatialDropout2D SpatialDropout3D GaussianNoise"

_PLAIN: dict[type, Rule] = {
    layers.Dense: _mixing,
    **{getattr(layers, f"Conv{n}D"): _mixing for n in (1, 2, 3)},
    **{getattr(layers, f"Conv{n}DTranspose"): _mixing for n in (1, 2, 3)},
    layers.EinsumDense: _einsum,
    **{getattr(layers, f"DepthwiseConv{n}D"): _depthwise for n in (1, 2)},
}
RULES: dict[type, Rule] = {
    **_PLAIN,
    **{MASKED[cls]: rule for cls, rule in _PLAIN.items()},
    **dict.fromkeys((layers.BatchNormalization, BatchNormalization), _batch_norm),
    **dict.fromkeys((layers.GroupNormalization, InstanceNormalization), _norm),
    **{getattr(layers, f"{name}{n}D"): _spatial for name in SPATIAL.split() for n in (1, 2, 3)},
    **{getattr(layers, name): _elementwise for name in POINTWISE.split()},
    **dict.fromkeys((layers.Flatten, layers.Reshape), _reshaped),
    **dict.fromkeys((layers.Add, layers.Subtract, layers.Multiply, layers.Average, layers.Maximum), _merged),
    layers.Activation: _activation,
    layers.Softmax: _comparing,
    layers.Rescaling: _comparing,  # its numbers may be one per channel
    layers.Concatenate: _concatenated,
}
COMPARING = {getattr(keras.activations, name) for name in ("softmax", "log_softmax", "sparsemax")}
_ELEMENTWISE = {
    getattr(keras.activations, name)
    for name in (
        *("linear", "relu", "relu6", "leaky_relu", "elu", "selu", "celu", "gelu", "silu", "mish", "tanh", "sigmoid"),
        *("softplus", "softsign", "exponential", "hard_sigmoid", "hard_silu", "hard_tanh", "log_sigmoid", "squareplus"),
    )
}
