"""Frozen records that results are made of: plain numbers, or arrays of them, and what follows from these alone."""

import dataclasses
import math
import typing
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from kerasticket.files import hdf5, typed

DIAGONAL_FORMAT = "kerasticket diagonal"
STABLE_BELOW = 0.02  # error barrier
SURFACE_FORMAT = "kerasticket surface"
_OLD_NAMES = {"filter_normalised": "filter_normalized"}  # as files of before December 2026 spell them
IN_PLANE = 1e-6  # distance of a net from a plane, in units of its axes, below which it lies in it


@dataclasses.dataclass(frozen=True)
class Curve:
    """Loss and accuracy on a path from one net to another; `error` below is 1 - accuracy.

    Attributes:
        alphas: increasing, with 0 (the first net), .5 and 1.
        loss, accuracy: one number per alpha.
        statistics: what was done with moving statistics on the way: "interpolate", "reestimate", or "none" if the
            network has none.
        mask_overlap: kernel weights that both ends keep, as a share of those that either keeps; 1: the same masks.

    >>> curve = Curve(np.array([0, 0.5, 1]), np.array([1.0, 4.0, 2.0]), np.array([0.9, 0.5, 0.8]), "none")
    >>> curve.barrier, curve.midpoint_barrier, curve.chord_barrier, round(curve.error_barrier, 6), curve.stable
    (2.5, 2.5, 2.5, 0.35, False)
    """

    alphas: np.ndarray
    loss: np.ndarray
    accuracy: np.ndarray
    statistics: str
    mask_overlap: float = 1.0

    @property
    def barrier(self) -> float:
        """Highest loss on the path minus the mean of the ends: the convention of Frankle et al. 2020, for the loss."""
        return _height(self.loss)

    @property
    def midpoint_barrier(self) -> float:
        """Loss at alpha = .5 minus the mean of the ends: the barrier of McDermott & Parhi (arXiv 2503.17905)."""
        return float(self.loss[self.alphas == 0.5][0] - (self.loss[0] + self.loss[-1]) / 2)

    @property
    def chord_barrier(self) -> float:
        """Largest height of the loss above the straight line between the ends (Entezari et al. 2021)."""
        return float(np.max(self.loss - (1 - self.alphas) * self.loss[0] - self.alphas * self.loss[-1]))

    @property
    def error_barrier(self) -> float:
        """Highest error on the path minus the mean of the ends: the instability of Frankle et al. 2020, section 2."""
        return _height(1 - self.accuracy)

    @property
    def stable(self) -> bool:
        """Frankle et al.'s verdict: an error barrier below 2%; False too where targets are no classes."""
        return self.error_barrier < STABLE_BELOW


def _height(values: np.ndarray) -> float:
    return float(np.max(values) - (values[0] + values[-1]) / 2)


@dataclasses.dataclass(frozen=True)
class Pair:
    """The line between two trainings of one ticket.

    Attributes:
        ticket: its position among the tickets that were analyzed.
        data_orders: seeds of the SGD noise of the two ends.
        train, test: the curves on training and on test images; test is None if there were none.
    """

    ticket: int
    data_orders: tuple[int, int]
    train: Curve
    test: Curve | None = None


@dataclasses.dataclass(frozen=True)
class Instability:
    """All pairs of an instability analysis; barriers are means over the pairs, on training images."""

    pairs: tuple[Pair, ...]

    @property
    def curve(self) -> Curve:
        """The training curve of the first pair."""
        return self.pairs[0].train

    @property
    def barrier(self) -> float:
        return self.mean_and_std("barrier")[0]

    @property
    def midpoint_barrier(self) -> float:
        return self.mean_and_std("midpoint_barrier")[0]

    @property
    def error_barrier(self) -> float:
        return self.mean_and_std("error_barrier")[0]

    @property
    def stable(self) -> bool:
        """Frankle et al.'s verdict: a mean error barrier below 2%."""
        return self.error_barrier < STABLE_BELOW

    def mean_and_std(self, name: str, split: str = "train") -> tuple[float, float]:
        """Mean and sample standard deviation (NaN for one pair) of a property of the curves.

        Args:
            name: of a property of `Curve`, such as "barrier".
            split: "train" or "test".
        """
        values = np.array([getattr(getattr(pair, split), name) for pair in self.pairs], float)
        return float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else float("nan")


@dataclasses.dataclass(frozen=True)
class Surface:
    """Loss and accuracy on a plane through weight space, in units of its two axes.

    The first rows of `coordinates` are the positions of the nets that lie in the plane, with the nets' own loss.

    Attributes:
        kind: "paper", "through_three" or "random", see `analysis.loss_plane`.
        statistics: what was done with moving statistics: "interpolate", "reestimate", or "none" if the network has
            none.
        coordinates: of the points, (n, 2).
        loss, accuracy: of the points, (n,); not finite where a net far out has no finite outputs.
        positions: of all nets, (k, 2): where the plane is nearest to them.
        distances: of the nets from the plane, (k,), in weight space as `lengths`.
        net_loss, net_accuracy: of the nets themselves, (k,); not those of their positions if they lie elsewhere.
        lengths: of the two axes.
        cosine: of the angle between the axes before they were made orthogonal (random ones stay as they are).
        filter_normalized: whether each filter of the axes is as long as the net's own; random ones only.
    """

    kind: str
    statistics: str
    coordinates: np.ndarray
    loss: np.ndarray
    accuracy: np.ndarray
    positions: np.ndarray
    distances: np.ndarray
    net_loss: np.ndarray
    net_accuracy: np.ndarray
    lengths: tuple[float, float]
    cosine: float
    filter_normalized: bool = False

    @property
    def in_plane(self) -> np.ndarray:
        """Which nets lie in the plane, (k,)."""
        return self.distances <= IN_PLANE * max(self.lengths)

    def save(self, path: str | Path) -> None:
        """Writes an HDF5 file; raises ValueError if the folder cannot be written to."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        arrays = {name: value for name, value in values.items() if isinstance(value, np.ndarray)}
        about = {name: value for name, value in values.items() if name not in arrays}
        hdf5.write(path, SURFACE_FORMAT, about, arrays)

    @classmethod
    def load(cls, path: str | Path) -> "Surface":
        """Reads what `save` wrote; raises ValueError if the file is absent, damaged, or something else."""
        about, arrays = hdf5.read(path, SURFACE_FORMAT)
        about = {_OLD_NAMES.get(name, name): value for name, value in about.items()}
        values = _fields(cls, about | arrays, path)
        surface = cls(**values | {"lengths": tuple(values["lengths"])})
        surface._check(path)
        return surface

    def _check(self, path: str | Path) -> None:
        """Raises ValueError unless the arrays fit each other."""
        points, nets = np.shape(self.loss)[:1], np.shape(self.net_loss)[:1]
        wanted = {"coordinates": (*points, 2), "positions": (*nets, 2), "loss": points, "accuracy": points}
        wanted |= {"net_loss": nets, "net_accuracy": nets, "distances": nets}
        for name, shape in wanted.items():
            array = getattr(self, name)
            if array.shape != shape or array.ndim < 1 or array.dtype.kind not in "fiu":
                raise ValueError(
                    f"Expected numbers of shape {shape} as {name} in '{path}'. Received: {array.dtype} of shape "
                    f"{array.shape}; the file is damaged."
                )


@dataclasses.dataclass(frozen=True)
class DiagonalStatistics:
    """The columns of the Hessian table of McDermott & Parhi (arXiv 2503.17905, section 4.2), for the diagonal h.

    Attributes:
        count: entries that the numbers are about.
        minimum, maximum, magnitude: of h, and the mean of |h|. None for an estimated diagonal: noise inflates them.
        mean, std: of h; of an estimated diagonal, the std has its noise subtracted.
        mean_error: standard error of the mean, from probes and from sampling the coordinates; 0 if it is exact.
        noise: root mean square of the standard errors of the entries; 0 if they are exact.
    """

    count: int
    minimum: float | None
    maximum: float | None
    mean: float
    std: float
    magnitude: float | None
    mean_error: float
    noise: float


class Trace(NamedTuple):
    """Trace of a Hessian and its standard error; 0 if it is exact."""

    value: float
    standard_error: float


@dataclasses.dataclass(frozen=True)
class Diagonal:
    """The diagonal of a Hessian, or a part of it.

    Attributes:
        values: by canonical path, arrays shaped like the trainable weights; 0 where pruned or not sampled.
        sampled: by path, where there is a value.
        methods: by path, how it was computed: "taylor" or "products" (both exact), or "hutchinson".
        surviving, pruned: trainable weights that the masks keep, and others, in the whole network.
        examples: number of examples that the loss is the mean of.
        probes: random vectors of an estimate; 0 if the values are exact.
        standard_error: by path, of an estimate, shaped like the values; None if they are exact.
        sum_error: standard error of the sum of the values, which share their probes; 0 if they are exact.

    >>> kernel, seen = np.array([[1.0, 3.0, 0.0]]), np.array([[True, True, False]])
    >>> diagonal = Diagonal({"kernel": kernel}, {"kernel": seen}, {"kernel": "taylor"}, 2, 2, examples=64)
    >>> diagonal.statistics().mean, diagonal.statistics(surviving_only=False).mean, diagonal.trace.value
    (2.0, 1.0, 4.0)
    """

    values: dict[str, np.ndarray]
    sampled: dict[str, np.ndarray]
    methods: dict[str, str]
    surviving: int
    pruned: int
    examples: int
    probes: int = 0
    standard_error: dict[str, np.ndarray] | None = None
    sum_error: float = 0.0

    @property
    def trace(self) -> Trace:
        """The sampled entries stand for all that survive."""
        row = self.statistics()
        return Trace(row.mean * self.surviving, row.mean_error * self.surviving)

    def statistics(self, *, surviving_only: bool = True) -> DiagonalStatistics:
        """A row of the table, over the surviving entries or over all.

        The sampled entries stand for all that survive, as if drawn at random. The paper counts pruned entries as
        zeros, which dilutes mean and magnitude: `surviving_only=False` adds them, in proportion to the sample.
        """
        h, noise = self._entries(self.values), self._entries(self.standard_error)
        share = 1.0 if surviving_only else self.surviving / (self.surviving + self.pruned)
        zeros = [0.0] if share < 1 else []
        square = max(float(np.mean(h**2) - np.mean(noise**2)), float(h.mean()) ** 2)
        spread = square - float(h.mean()) ** 2
        drawn = spread / max(1, h.size - 1) * (1 - h.size / self.surviving)
        exact = self.probes == 0
        return DiagonalStatistics(
            count=round(h.size / share),
            minimum=min([*zeros, float(h.min())]) if exact else None,
            maximum=max([*zeros, float(h.max())]) if exact else None,
            mean=share * float(h.mean()),
            std=float(np.sqrt(share * square - (share * h.mean()) ** 2)),
            magnitude=share * float(np.abs(h).mean()) if exact else None,
            mean_error=share * float(np.sqrt((self.sum_error / h.size) ** 2 + drawn)),
            noise=float(np.sqrt(np.mean(noise**2))),
        )

    def save(self, path: str | Path) -> None:
        """Writes an HDF5 file; raises ValueError if the folder cannot be written to."""
        arrays = {name: getattr(self, name) for name in ("values", "sampled", "standard_error")}
        about = {name: value for name, value in vars(self).items() if name not in arrays}
        about["shapes"] = {path: array.shape for path, array in self.values.items()}
        flat = {name: _flat(by_path) for name, by_path in arrays.items() if by_path is not None}
        hdf5.write(path, DIAGONAL_FORMAT, about, flat)

    @classmethod
    def load(cls, path: str | Path) -> "Diagonal":
        """Reads what `save` wrote; raises ValueError if the file is absent, damaged, or something else."""
        about, arrays = hdf5.read(path, DIAGONAL_FORMAT)
        shapes = about.pop("shapes", None)
        typed.check({"shapes": shapes}, {"shapes": dict[str, tuple[int, ...]]}, f"'{path}'")
        by_path = {name: _parted(flat, shapes, f"{name} in '{path}'") for name, flat in arrays.items()}
        diagonal = cls(**_fields(cls, about | by_path, path))
        if not diagonal.methods.keys() <= shapes.keys() or any(a.dtype != bool for a in diagonal.sampled.values()):
            raise ValueError(
                f"Expected methods of its weights, and which entries are sampled, in '{path}'; the file is damaged."
            )
        return diagonal

    def _entries(self, arrays: dict[str, np.ndarray] | None) -> np.ndarray:
        """The sampled ones as one vector, in double precision; zeros if there are no arrays."""
        chosen = _flat(self.sampled)
        return np.zeros(np.count_nonzero(chosen)) if arrays is None else _flat(arrays)[chosen].astype(float)


def _flat(arrays: dict[str, np.ndarray]) -> np.ndarray:
    return np.concatenate([array.ravel() for array in arrays.values()])


def _parted(flat: np.ndarray, shapes: dict[str, Any], where: str) -> dict[str, np.ndarray]:
    """A vector as the arrays that `_flat` made it of."""
    sizes = [math.prod(shape) for shape in shapes.values()]
    if flat.shape != (sum(sizes),) or min((side for shape in shapes.values() for side in shape), default=0) < 0:
        raise ValueError(
            f"Expected {sum(sizes):,} values as {where}. Received: shape {flat.shape}; the file is damaged."
        )
    parts = np.split(flat, np.cumsum(sizes)[:-1])
    return {path: part.reshape(shape) for part, (path, shape) in zip(parts, shapes.items(), strict=True)}


def _fields(cls: type, values: dict[str, Any], path: str | Path) -> dict[str, Any]:
    """Values of a file for a record; raises ValueError unless they are all that it needs, and of its types."""
    fields = dataclasses.fields(cls)
    absent = [f.name for f in fields if f.name not in values and f.default is f.default_factory is dataclasses.MISSING]
    other = [name for name in values if name not in {field.name for field in fields}]
    if absent or other:
        raise ValueError(
            f"Expected the fields of a {cls.__name__} in '{path}'. Received: {absent[:4]} are absent, {other[:4]} "
            "unknown; the file is damaged, or of a later version."
        )
    typed.check(values, typing.get_type_hints(cls), f"'{path}'")
    return values
