"""Which axes of a weight run over inputs and which over output units, for every layer that has a mask."""

from collections.abc import Callable
from typing import NamedTuple

import keras
import numpy as np
from keras import layers

from kerasticket.layers.masked import MaskedWeight
from kerasticket.masks import Mask
from kerasticket.models.paths import masked_weights


class Axes(NamedTuple):
    """Which axes of a kernel run over its inputs, and which over its output units."""

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def kernel_axes(model: keras.Model, mask: Mask) -> dict[str, Axes]:
    """Input and output axes of every kernel in the mask.

    Raises:
        ValueError: a kernel of a layer whose axes are not known.
    """
    found = masked_weights(model)
    return {path: _axes(path, found[path], kept.ndim) for path, kept in mask.items()}


def _axes(path: str, held: MaskedWeight, sides: int) -> Axes:
    layer = held.layer
    for kind, axes in AXES.items():
        if isinstance(layer, kind):
            return _depthwise(layer, sides) if held.name == "depthwise_kernel" else axes(layer, sides)
    raise ValueError(
        f"Expected layers of {[kind.__name__ for kind in AXES]} for structures. Received: '{path}' of type "
        f"{type(layer).__name__}. Prune single weights, or keep that layer without a mask."
    )


def _last_two(layer: keras.Layer, sides: int) -> Axes:
    return Axes((sides - 2,), (sides - 1,))


def _last_two_swapped(layer: keras.Layer, sides: int) -> Axes:
    return Axes((sides - 1,), (sides - 2,))


def _depthwise(layer: keras.Layer, sides: int) -> Axes:
    """Every channel has output units of its own, so that its axis runs over both."""
    return Axes((sides - 2,), (sides - 2, sides - 1))


def _of_equation(layer: keras.layers.EinsumDense, sides: int) -> Axes:
    """Axes of the kernel that the equation sums over, and those that come out."""
    operands, result = layer.equation.replace("...", "").split("->")
    letters = operands.split(",")[1].strip()
    inputs = tuple(axis for axis, letter in enumerate(letters) if letter not in result)
    return Axes(inputs, tuple(axis for axis in range(sides) if axis not in inputs))


AXES: dict[type, Callable[[keras.Layer, int], Axes]] = {
    layers.Dense: _last_two,
    layers.Conv1D: _last_two,
    layers.Conv2D: _last_two,
    layers.Conv3D: _last_two,
    layers.Conv1DTranspose: _last_two_swapped,
    layers.Conv2DTranspose: _last_two_swapped,
    layers.Conv3DTranspose: _last_two_swapped,
    layers.DepthwiseConv1D: _depthwise,
    layers.DepthwiseConv2D: _depthwise,
    layers.SeparableConv1D: _last_two,
    layers.SeparableConv2D: _last_two,
    layers.Embedding: _last_two,
    layers.SimpleRNNCell: _last_two,
    layers.GRUCell: _last_two,
    layers.LSTMCell: _last_two,
    layers.EinsumDense: _of_equation,
}


def others(shape: tuple[int, ...], axes: Axes) -> tuple[int, ...]:
    """The axes that run over neither: the window of a convolution."""
    return tuple(axis for axis in range(len(shape)) if axis not in (*axes.inputs, *axes.outputs))


def index_along(shape: tuple[int, ...], axes: tuple[int, ...]) -> np.ndarray:
    """The position of each weight along some axes, taken together row-major."""
    index = np.zeros(shape, int)
    for axis in axes:
        along = [shape[axis] if other == axis else 1 for other in range(len(shape))]
        index = index * shape[axis] + np.arange(shape[axis]).reshape(along)
    return index


def length(shape: tuple[int, ...], axes: tuple[int, ...]) -> int:
    """How many positions there are along some axes, taken together."""
    return int(np.prod([shape[axis] for axis in axes]))


def numbered(*indices: np.ndarray) -> np.ndarray:
    """One number for each combination of positions."""
    number = indices[0]
    for index in indices[1:]:
        number = number * count(index) + index
    return number


def count(groups: np.ndarray) -> int:
    """How many groups are numbered."""
    return int(groups.max()) + 1
