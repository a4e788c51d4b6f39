"""What the package knows of each Keras layer that has weights to prune: one entry per layer, read wherever it counts.

A new layer is one entry here; `tests/layers/test_traits.py` checks each fact against the layer itself.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from keras import layers

Shape = tuple[Any, ...]  # sides without the batch; None where not known


class Axes(NamedTuple):
    """Which axes of a weight run over its inputs, and which over its output units; counted from the end, so negative.

    An axis may run over both: every channel of a depthwise kernel has output units of its own.
    """

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


class Equation(NamedTuple):
    """The letters of an einsum equation of inputs and a kernel; those of inputs and outputs may have "..." in them."""

    inputs: str
    kernel: str
    outputs: str


@dataclasses.dataclass(frozen=True)
class Weight:
    """A weight that can have a mask.

    Attributes:
        axes: of a layer: those of the weight.
        uses: of a layer, the shape of its input and that of its output: how often one example uses each entry, which
            is so many multiply-accumulates each; None where a side is not known.
    """

    axes: Callable[[layers.Layer], Axes]
    uses: Callable[[layers.Layer, Shape, Shape], int | None]


@dataclasses.dataclass(frozen=True)
class Traits:
    """What is known of one Keras layer.

    Attributes:
        weights: those that can have a mask, by the name of their attribute.
        size_argument: sets the length of the last output axis (times `gates` in recurrent cells).
        default_weights: what is masked where no weights are named; all, if not said.
        only_if_asked: `kerasticket.masked` leaves the layer dense unless it is asked for.
        is_linear: bias and activation apart, the outputs are floating inputs times one kernel.
        gates: how many columns of its kernels each unit of a recurrent cell has; 0 for other layers.
        from_torch: of a layer and the kernel that torch has for it: the kernel as Keras has it; None: torch has none,
            or one that is arranged in another way.
    """

    weights: Mapping[str, Weight]
    size_argument: str
    default_weights: tuple[str, ...] = ()
    only_if_asked: bool = False
    is_linear: bool = False
    gates: int = 0
    from_torch: Callable[[layers.Layer, np.ndarray], np.ndarray] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "default_weights", self.default_weights or self.maskable)

    @property
    def maskable(self) -> tuple[str, ...]:
        """The names of the weights that can have a mask."""
        return tuple(self.weights)

    def axes(self, layer: layers.Layer, weight: str = "kernel") -> Axes:
        """The axes of a weight of such a layer."""
        return self.weights[weight].axes(layer)

    def size(self, layer: layers.Layer, units: int) -> dict[str, Any]:
        """What the config of such a layer says where its last output axis has that many units."""
        before = layer.get_config()[self.size_argument]
        return {self.size_argument: (*before[:-1], units) if isinstance(before, (list, tuple)) else units}


def traits_of(layer: layers.Layer) -> Traits | None:
    """What is known of a layer, or of the Keras layer that its class is made of; None: nothing."""
    return next((TRAITS[kind] for kind in type(layer).__mro__ if kind in TRAITS), None)


def equation_of(layer: layers.EinsumDense) -> Equation:
    """The parts of the equation of an EinsumDense layer.

    >>> equation_of(layers.EinsumDense("...b,bc->...c", 2))
    Equation(inputs='...b', kernel='bc', outputs='...c')
    """
    inputs, kernel, outputs = layer.equation.replace(" ", "").replace("->", ",").split(",")
    return Equation(inputs, kernel, outputs)


def _inputs_first(layer) -> Axes:
    return Axes((-2,), (-1,))


def _outputs_first(layer) -> Axes:
    return Axes((-1,), (-2,))


def _depthwise(layer) -> Axes:
    return Axes((-2,), (-2, -1))


def _of_equation(layer) -> Axes:
    """Inputs are what is summed over; all other axes come out."""
    letters, made = equation_of(layer).kernel, equation_of(layer).outputs
    inputs = tuple(axis for axis in range(-len(letters), 0) if letters[axis] not in made)
    return Axes(inputs, tuple(axis for axis in range(-len(letters), 0) if axis not in inputs))


def product(*sides: int | None) -> int | None:
    """The product of sides; None if one of them is not known."""
    return None if None in sides else math.prod(sides)  # type: ignore[arg-type]


def _positions(layer, shape: Shape) -> int | None:
    """Places in an image or sequence, whichever axis its channels are on."""
    return product(*(shape[1:] if getattr(layer, "data_format", None) == "channels_first" else shape[:-1]))


def _at_outputs(layer, before: Shape, after: Shape) -> int | None:
    return _positions(layer, after)


def _at_inputs(layer, before: Shape, after: Shape) -> int | None:
    return _positions(layer, before)


def _all_outputs_over_units(layer, before: Shape, after: Shape) -> int | None:
    sides, every = layer.kernel.shape, product(*after)
    return None if every is None else every // math.prod(sides[axis] for axis in _of_equation(layer).outputs)


def _once(layer, before: Shape, after: Shape) -> int:
    return 1


def _looked_up(layer, before: Shape, after: Shape) -> int:
    return 0


def _units_first_in_torch(layer, array: np.ndarray) -> np.ndarray:
    # (out, in, window) there, (window, in, out) here; for transposed convolutions (in, out, window), (window, out, in)
    return np.moveaxis(array, (0, 1), (-1, -2))


def _depthwise_in_torch(layer, array: np.ndarray) -> np.ndarray:
    # (channels x multiplier, 1, window) there, (window, channels, multiplier) here
    if array.shape[1] != 1 or len(array) % layer.depth_multiplier:
        return array  # of another shape than expected, which is said where shapes are compared
    by_channel = array.reshape(-1, layer.depth_multiplier, *array.shape[2:])
    return np.moveaxis(by_channel, (0, 1), (-2, -1))


def _same_in_torch(layer, array: np.ndarray) -> np.ndarray:
    return array


_CONVOLUTION = Traits(
    {"kernel": Weight(_inputs_first, _at_outputs)}, "filters", is_linear=True, from_torch=_units_first_in_torch
)
_TRANSPOSED = Traits(
    {"kernel": Weight(_outputs_first, _at_inputs)}, "filters", is_linear=True, from_torch=_units_first_in_torch
)
_DEPTHWISE = Traits(
    {"kernel": Weight(_depthwise, _at_outputs)},
    "depth_multiplier",
    only_if_asked=True,
    is_linear=True,
    from_torch=_depthwise_in_torch,
)
_SEPARABLE = Traits(
    {"depthwise_kernel": Weight(_depthwise, _at_outputs), "pointwise_kernel": Weight(_inputs_first, _at_outputs)},
    "filters",
    default_weights=("pointwise_kernel",),
)
_CELL = Traits({"kernel": Weight(_inputs_first, _once), "recurrent_kernel": Weight(_inputs_first, _once)}, "units")

TRAITS: dict[type[layers.Layer], Traits] = {
    layers.Dense: dataclasses.replace(_CONVOLUTION, size_argument="units"),
    layers.EinsumDense: Traits(
        {"kernel": Weight(_of_equation, _all_outputs_over_units)}, "output_shape", is_linear=True
    ),
    **dict.fromkeys((layers.Conv1D, layers.Conv2D, layers.Conv3D), _CONVOLUTION),
    **dict.fromkeys((layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose), _TRANSPOSED),
    **dict.fromkeys((layers.DepthwiseConv1D, layers.DepthwiseConv2D), _DEPTHWISE),
    **dict.fromkeys((layers.SeparableConv1D, layers.SeparableConv2D), _SEPARABLE),
    layers.Embedding: Traits(
        {"embeddings": Weight(_inputs_first, _looked_up)}, "output_dim", only_if_asked=True, from_torch=_same_in_torch
    ),
    layers.SimpleRNNCell: dataclasses.replace(_CELL, gates=1),
    layers.GRUCell: dataclasses.replace(_CELL, gates=3),
    layers.LSTMCell: dataclasses.replace(_CELL, gates=4),
}
# Norms whose statistics run over the channels: they see it where one is gone, and not where two change places.
NORMS_OVER_CHANNELS = (layers.LayerNormalization, layers.RMSNormalization, layers.UnitNormalization)
