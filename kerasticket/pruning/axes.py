"""Groups of weights by their positions along axes: of inputs, of output units, of windows."""

import keras
import numpy as np

from kerasticket.layers.masked import MaskedWeight
from kerasticket.layers.traits import TRAITS, Axes, traits_of
from kerasticket.masks import Mask
from kerasticket.models.paths import masked_weights


def kernel_axes(model: keras.Model, mask: Mask) -> dict[str, Axes]:
    """Input and output axes of every kernel in the mask, counted from the front.

    Raises:
        ValueError: a kernel of a layer whose axes are not known.
    """
    found = masked_weights(model)
    return {path: _axes(path, found[path], kept.ndim) for path, kept in mask.items()}


def _axes(path: str, held: MaskedWeight, sides: int) -> Axes:
    traits = traits_of(held.layer)
    if traits is None or held.name not in traits.weights:
        raise ValueError(
            f"Expected weights of {[kind.__name__ for kind in TRAITS]} for structures. Received: '{path}' of type "
            f"{type(held.layer).__name__}. Prune single weights, or keep that layer without a mask."
        )
    inputs, outputs = traits.axes(held.layer, held.name)
    return Axes(tuple(axis % sides for axis in inputs), tuple(axis % sides for axis in outputs))


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
