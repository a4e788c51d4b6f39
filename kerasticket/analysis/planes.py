"""Planes in weight space: through trained nets, or spanned by random directions around one."""

import dataclasses
from collections.abc import Callable, Sequence

import keras
import numpy as np

from kerasticket.analysis.distances import STATISTICS
from kerasticket.layers.traits import traits_of
from kerasticket.models.paths import owners
from kerasticket.params import Params, combine, dot, is_kernel, norm

COLLINEAR = 1e-4  # sine of the angle between axes; float32 nets that lie on one line reach 1e-5
Bounds = tuple[tuple[float, float], tuple[float, float]]
Axes = tuple[Params, Params]


@dataclasses.dataclass(frozen=True)
class Plane:
    """The nets `center + x * axes[0] + y * axes[1]`, in double precision.

    Lengths, angles and distances are those of the weights: moving statistics are carried along, but do not count.

    Attributes:
        center, axes: of the plane.
        like: the net whose dtypes, whole numbers and seed states all points take.
        bounds: (lowest, highest) x and y of the part to look at.
        cosine: of the angle between the axes before they were made orthogonal.
    """

    center: Params
    axes: Axes
    like: Params
    bounds: Bounds
    cosine: float

    def point(self, x: float, y: float) -> Params:
        """The net at these coordinates."""
        mixed = combine([self.center, *self.axes], [1, x, y])
        return {path: mixed[path].astype(array.dtype) for path, array in self.like.items()}

    @property
    def lengths(self) -> tuple[float, float]:
        """Of the axes."""
        return _length(self.axes[0]), _length(self.axes[1])

    def project(self, net: Params) -> tuple[np.ndarray, float]:
        """Coordinates of the point of the plane that is nearest to a net, and the distance between the two."""
        offset = combine([_double(net), self.center], [1, -1])
        gram = [[_inner(first, second) for second in self.axes] for first in self.axes]
        coordinates = np.linalg.solve(gram, [_inner(axis, offset) for axis in self.axes])
        return coordinates, _length(combine([offset, *self.axes], [1, *-coordinates]))


def paper_plane(nets: Sequence[Params], _: Callable[[], Params]) -> Plane:
    """Center (w0 + w1) / 2, axes (w0 - w1) / 2 and (w3 - w2) / 2, of nets of the data orders 0 to 3.

    As Figure 5 of McDermott & Parhi (arXiv 2503.17905), whose code does not make the second axis orthogonal to the
    first, as the text says; here it is, and as long as the first.
    """
    w0, w1, w2, w3 = map(_double, nets[:4])
    center, first, second = (
        combine([w0, w1], [0.5, 0.5]),
        combine([w0, w1], [0.5, -0.5]),
        combine([w3, w2], [0.5, -0.5]),
    )
    axes, cosine = _orthogonal(first, second)
    return Plane(center, axes, nets[0], ((-2.0, 2.0), (-2.0, 2.0)), cosine)


def plane_through_three(nets: Sequence[Params], _: Callable[[], Params]) -> Plane:
    """Origin w0, axes w1 - w0, and w2 - w0 made orthogonal and as long (Garipov et al. 2018, arXiv 1802.10026).

    The bounds leave a fifth of the nets' extent free on each side.
    """
    w0, w1, w2 = map(_double, nets[:3])
    axes, cosine = _orthogonal(combine([w1, w0], [1, -1]), combine([w2, w0], [1, -1]))
    plane = Plane(w0, axes, nets[0], ((0.0, 1.0), (0.0, 1.0)), cosine)
    positions = np.array([plane.project(net)[0] for net in nets[:3]])
    low, high = positions.min(0), positions.max(0)
    low, high = low - 0.2 * (high - low), high + 0.2 * (high - low)
    return dataclasses.replace(plane, bounds=((low[0], high[0]), (low[1], high[1])))


def random_plane(nets: Sequence[Params], direction: Callable[[], Params]) -> Plane:
    """Two random directions around w0, as they were drawn: Li et al. do not make them orthogonal."""
    axes = direction(), direction()
    if not all(map(_length, axes)):
        raise ValueError("Expected a net with kernels that are not zero, for random directions. Received: none.")
    return Plane(_double(nets[0]), axes, nets[0], ((-1.0, 1.0), (-1.0, 1.0)), _cosine(*axes))


# kind -> how many nets it takes, and how the plane follows from them (and from a function that draws directions)
PLANES: dict[str, tuple[int, Callable[[Sequence[Params], Callable[[], Params]], Plane]]] = {
    "paper": (4, paper_plane),
    "through_three": (3, plane_through_three),
    "random": (1, random_plane),
}


def random_direction(
    model: keras.Model, net: Params, rng: np.random.Generator, *, filter_normalize: bool = True
) -> Params:
    """A Gaussian direction in which each filter is as long as the net's own (Li et al. 2018, arXiv 1712.09913, sec. 4).

    Biases, norms, moving statistics and all else of one axis or none stay where they are, and so do weights that are
    zero: the direction is masked before it is scaled. A filter is all that feeds one output, see `filter_axes`.

    Args:
        model: tells what is a filter.
        net: its weights.
        rng: draws.
        filter_normalize: False scales the direction as a whole, to the length of all these weights.

    Returns:
        Params of float64; whole numbers are the net's.

    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, name="out")])
    >>> net = {"out/kernel": np.array([[3.0, 0.0], [4.0, 2.0]]), "out/bias": np.ones(2)}
    >>> direction = random_direction(model, net, np.random.default_rng(0))
    >>> np.linalg.norm(direction["out/kernel"], axis=0).round(6).tolist(), direction["out/bias"].tolist()
    ([5.0, 2.0], [0.0, 0.0])
    """
    of, weights = (
        owners(model),
        {path: array for path, array in _weights(_double(net)).items() if is_kernel(path, array)},
    )
    drawn = {path: rng.normal(size=array.shape) * (array != 0) for path, array in weights.items()}
    if filter_normalize:
        scaled = {path: _as_long(drawn[path], array, filter_axes(of[path], path)) for path, array in weights.items()}
    else:
        scaled = combine([drawn], [norm(weights) / (norm(drawn) + 1e-10)])
    return combine([_double(net)], [0.0]) | scaled


def filter_axes(layer: keras.Layer, path: str) -> tuple[int, ...]:
    """Axes of a kernel that number its filters, from the end; the others lie within a filter.

    Those of its output units in `layers.traits`, the last axis where nothing is known of the layer. (Li et al. speak of
    convolutions; a filter of an Embedding is what makes one number of the vectors, as it would be in a Dense layer that
    reads tokens one-hot.)

    >>> filter_axes(keras.layers.Dense(2), "out/kernel"), filter_axes(keras.layers.DepthwiseConv2D(3), "conv/kernel")
    ((-1,), (-2, -1))
    """
    traits, weight = traits_of(layer), path.rpartition("/")[2]
    return (-1,) if traits is None or weight not in traits.weights else traits.axes(layer, weight).outputs


def _as_long(drawn: np.ndarray, weights: np.ndarray, filters: tuple[int, ...]) -> np.ndarray:
    """The draw with each filter scaled to the length of the weights'."""
    kept = {axis % weights.ndim for axis in filters}
    within = tuple(axis for axis in range(weights.ndim) if axis not in kept)
    wanted, given = (np.sqrt(np.sum(array**2, axis=within, keepdims=True)) for array in (weights, drawn))
    return drawn * wanted / (given + 1e-10)


def _orthogonal(first: Params, second: Params) -> tuple[Axes, float]:
    """The first axis, the second made orthogonal to it and as long, and the cosine between the two given."""
    if not (_length(first) and _length(second)):
        raise ValueError("Expected nets that span a plane. Received: two nets that are the same. Take others.")
    cosine = _cosine(first, second)
    across = combine([second, first], [1, -cosine * _length(second) / _length(first)])
    if _length(across) < COLLINEAR * _length(second):
        raise ValueError("Expected nets that span a plane. Received: nets that lie on one line. Take others.")
    return (first, combine([across], [_length(first) / _length(across)])), cosine


def _cosine(first: Params, second: Params) -> float:
    return _inner(first, second) / (_length(first) * _length(second))


def _inner(first: Params, second: Params) -> float:
    return dot(_weights(first), second)


def _length(axis: Params) -> float:
    return norm(_weights(axis))


def _weights(net: Params) -> Params:
    return {path: array for path, array in net.items() if path.rpartition("/")[2] not in STATISTICS}


def _double(net: Params) -> Params:
    return {path: array if array.dtype.kind in "biu" else array.astype(float) for path, array in net.items()}
