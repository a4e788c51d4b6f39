"""Which channels of a network have one value, whatever the input: one rule per Keras layer in `CONSTANTS`.

A channel into which every weight is zero sends out what its bias and the norms behind it make of that. The graph is
walked once with these values in place of tensors: NaN where the value depends on the input or on the position.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import layers, ops

from kerasticket.backend.variables import array_of
from kerasticket.layers.normalization import BatchNormalization, InstanceNormalization
from kerasticket.models.graph.calls import Shape, shapes, through
from kerasticket.models.graph.channel_rules import COMPARING, POINTWISE, SPATIAL, axes_of_kernel
from kerasticket.models.paths import named_variables

VARIES = np.nan
Sides = tuple[Shape, Shape]  # of the (first) input and the output


class Reading(NamedTuple):
    """What a kernel is given; both arrays are of shape (inputs,).

    Attributes:
        values: of the inputs that are constant; NaN elsewhere.
        folds: True where an input, times its weights, is the same number at every position of the output.
    """

    values: np.ndarray
    folds: np.ndarray


class Constants:
    """What a walk through a graph of plain layers finds: `readings`, by the id of the kernel."""

    def __init__(self, model: keras.Model, unknown: set[int]):
        """`unknown`: ids of calls through which channels are not followed."""
        self.readings: dict[int, Reading] = {}
        self._arrays = {id(v): array_of(v) for v in named_variables(model).values()}

        def visit(call, inputs: list[np.ndarray]) -> list[np.ndarray]:
            rule = None if id(call) in unknown else CONSTANTS.get(type(call.operation))
            if rule is None or _has_settings(call):
                return [_varying(tensor) for tensor in call.output_tensors]
            ins, outs = shapes(call.input_tensors), shapes(call.output_tensors)
            if any(not shape or shape[-1] is None for shape in (*ins, *outs)):
                return [_varying(tensor) for tensor in call.output_tensors]
            full = [np.broadcast_to(x, (*x.shape[:-1], shape[-1])) for x, shape in zip(inputs, ins, strict=True)]
            return [rule(self, call.operation, full, (ins[0], outs[0]))]

        through(model, [_varying(tensor) for tensor in model.inputs], visit)

    def array(self, variable: keras.Variable | None) -> np.ndarray:
        """The weights; None: 0."""
        return np.zeros(()) if variable is None else self._arrays[id(variable)]

    def read(self, kernel: keras.Variable, reading: Reading) -> None:
        """Notes what a kernel is given at one call; what differs between calls varies."""
        before = self.readings.get(id(kernel), reading)
        same = before.values == reading.values
        both = Reading(np.where(same, reading.values, VARIES), same & before.folds & reading.folds)
        self.readings[id(kernel)] = both


Rule = Callable[[Constants, Any, list[np.ndarray], Sides], np.ndarray]


def _varying(tensor) -> np.ndarray:
    return np.full((1,) * (len(tensor.shape) - 1), VARIES)


def _has_settings(call) -> bool:
    """True if a call has arguments beside tensors, such as training=True."""
    others = keras.tree.flatten((call.arguments.args, call.arguments.kwargs))
    return any(each is not None and each is not False and not isinstance(each, keras.KerasTensor) for each in others)


def _run(net: Constants, layer, inputs: list[np.ndarray], sides: Sides) -> np.ndarray:
    """The layer itself, on a batch of one example with one position."""
    known = ~np.any([np.isnan(x) for x in np.broadcast_arrays(*inputs)], axis=0)
    tensors = [ops.convert_to_tensor(np.nan_to_num(x)[None].astype("float32")) for x in inputs]
    made = ops.convert_to_numpy(layer(tensors if len(tensors) > 1 else tensors[0]))[0]
    return np.where(known, made.astype(np.float64), VARIES)


def _activated(layer, values: np.ndarray) -> np.ndarray:
    if layer.activation in COMPARING:
        return np.full_like(values, VARIES)
    made = ops.convert_to_numpy(layer.activation(ops.convert_to_tensor(np.nan_to_num(values).astype("float32"))))
    return np.where(np.isnan(values), VARIES, made.astype(np.float64))


def _activation(net: Constants, layer, inputs: list[np.ndarray], sides: Sides) -> np.ndarray:
    return _activated(layer, inputs[0])


def _pads(layer) -> bool:
    """True if zeros of the border may be among what an output is made of."""
    return getattr(layer, "padding", "valid") != "valid" and set(getattr(layer, "kernel_size", (2,))) != {1}


def _mixing(
    net: Constants, layer, inputs: list[np.ndarray], sides: Sides, transposed: bool = False, biased: bool = True
) -> np.ndarray:
    kernel = np.moveaxis(net.array(layer.kernel), axes_of_kernel(layer), (-2, -1))
    kernel = kernel.reshape(-1, *kernel.shape[-2:])
    values = inputs[0].ravel()
    folds = (values == 0) if transposed or _pads(layer) or not biased else ~np.isnan(values)
    net.read(layer.kernel, Reading(values, folds))
    known = (folds[:, None] | ~kernel.any(0)).all(0)
    adds = folds & (values != 0)
    made = values[adds] @ kernel[:, adds].sum(0, dtype=np.float64) + net.array(layer.bias)
    return _activated(layer, _spread(np.where(known, made, VARIES), sides[1]))


def _spread(values: np.ndarray, shape: Shape) -> np.ndarray:
    return values.reshape((1,) * (len(shape) - 1) + (-1,))


def _einsum(net: Constants, layer, inputs: list[np.ndarray], sides: Sides) -> np.ndarray:
    return _mixing(net, layer, inputs, sides, biased=layer.bias is not None)  # to give it one is another equation


def _depthwise(net: Constants, layer, inputs: list[np.ndarray], sides: Sides) -> np.ndarray:
    kernel = net.array(layer.kernel)
    kernel = kernel.reshape(-1, *kernel.shape[-2:])
    values = inputs[0].ravel()
    folds = (values == 0) if _pads(layer) else ~np.isnan(values)
    known = folds[:, None] | ~kernel.any(0)
    made = np.where(folds, values, 0)[:, None] * kernel.sum(0, dtype=np.float64)
    made = made.ravel() + net.array(layer.bias)
    return _activated(layer, _spread(np.where(known.ravel(), made, VARIES), sides[1]))


def _group_norm(net: Constants, layer, inputs: list[np.ndarray], sides: Sides) -> np.ndarray:
    """Only of 0 is Keras' mean exact: what it misses it divides by the root of epsilon."""
    return np.where(inputs[0] == 0, _own_norm(net, layer, inputs, sides), VARIES)


def _own_norm(net: Constants, layer, inputs: list[np.ndarray], sides: Sides) -> np.ndarray:
    """What is the same at all positions is its own mean, so that beta is left."""
    beta = np.broadcast_to(net.array(layer.beta), inputs[0].shape)
    made = np.maximum(beta, 0) if getattr(layer, "relu", False) else beta
    return np.where(np.isnan(inputs[0]), VARIES, made)


def _spatial(net: Constants, layer, inputs: list[np.ndarray], sides: Sides) -> np.ndarray:
    values = _spread(inputs[0], sides[1])
    return np.where(values == 0, 0, VARIES) if _pads(layer) else values


def _reshaped(net: Constants, layer, inputs: list[np.ndarray], sides: Sides) -> np.ndarray:
    full: np.ndarray = np.broadcast_to(inputs[0], sides[0]).reshape(sides[1])
    first = full.reshape(-1, full.shape[-1])[0]
    same = ((full == first) | (np.isnan(full) & np.isnan(first))).reshape(-1, full.shape[-1]).all(0)
    return _spread(np.where(same, first, VARIES), sides[1])


def _concatenated(net: Constants, layer, inputs: list[np.ndarray], sides: Sides) -> np.ndarray:
    return np.concatenate(inputs, -1)


CONSTANTS: dict[type, Rule] = {
    **dict.fromkeys((layers.Dense, layers.Conv1D, layers.Conv2D, layers.Conv3D), _mixing),
    layers.EinsumDense: _einsum,
    **{getattr(layers, f"Conv{n}DTranspose"): partial(_mixing, transposed=True) for n in (1, 2, 3)},
    **{getattr(layers, f"DepthwiseConv{n}D"): _depthwise for n in (1, 2)},
    **dict.fromkeys((layers.BatchNormalization, BatchNormalization), _run),
    layers.GroupNormalization: _group_norm,
    InstanceNormalization: _own_norm,
    **{getattr(layers, f"{name}{n}D"): _spatial for name in SPATIAL.split() for n in (1, 2, 3)},
    **{getattr(layers, name): _run for name in POINTWISE.split()},
    **dict.fromkeys((layers.Flatten, layers.Reshape), _reshaped),
    **dict.fromkeys((layers.Add, layers.Subtract, layers.Multiply, layers.Average, layers.Maximum), _run),
    layers.Activation: _activation,
    layers.Concatenate: _concatenated,
}
