"""Arithmetic on `Mask`: which weights are kept, as a dict of boolean arrays keyed by kernel path.

True is kept, False is pruned; a kernel whose path is absent is not prunable. "Position" means the order of
the dict (the order of the layers in the model), then row-major order inside one array.
"""

import dataclasses
import math
import os
from collections.abc import Callable, Mapping, Sequence

import numpy as np

Mask = dict[str, np.ndarray]
Scores = dict[str, np.ndarray]
Select = Callable[[Scores, Mask], Mask]  # from scores to what stays of a mask


def check_is_mask(mask: Mapping[str, np.ndarray], name: str = "mask") -> None:
    """Raises ValueError unless this is a dict; what holds a mask is told how to give it.

    >>> check_is_mask({"dense/kernel": np.array([True, False])})
    """
    if isinstance(mask, Mapping):
        return
    advice = "Masks come from kt.get_mask(model), ticket.mask or kt.load_masks(path)."
    if hasattr(mask, "removed_in"):
        advice = "Pass ticket.mask."
    elif hasattr(mask, "get_layer"):
        advice = "Pass kt.get_mask(model)."
    elif isinstance(mask, (str, os.PathLike)):
        advice = "Pass kt.Ticket.load(path).mask, or kt.load_masks(path) of a file of masks alone."
    raise ValueError(f"Expected `{name}` as a dict of boolean arrays by path. Received: a {_kind(mask)}. {advice}")


def _kind(value: object) -> str:
    return f"path, {str(value)!r}" if isinstance(value, (str, os.PathLike)) else type(value).__name__


def total(mask: Mask) -> int:
    """Number of prunable weights."""
    check_is_mask(mask)
    return sum(array.size for array in mask.values())


def kept(mask: Mask) -> int:
    """Number of weights that the mask keeps."""
    check_is_mask(mask)
    return sum(int(np.count_nonzero(array)) for array in mask.values())


def sparsity(mask: Mask) -> float:
    """Share of the *prunable* weights that are pruned, in [0, 1].

    >>> sparsity({"dense/kernel": np.array([True, False, False, False])})
    0.75
    """
    return (total(mask) - kept(mask)) / total(mask)


def is_nested(inner: Mask, outer: Mask) -> bool:
    """True if everything that `inner` keeps is kept by `outer` too."""
    check_is_mask(inner, "inner")
    check_is_mask(outer, "outer")
    return inner.keys() == outer.keys() and all(not np.any(inner[path] & ~outer[path]) for path in inner)


def zeroed(params: dict[str, np.ndarray], mask: Mask) -> dict[str, np.ndarray]:
    """The weights with those that the mask prunes at exactly zero; arrays without a mask are handed on as they are.

    >>> zeroed({"k": np.array([1.0, 2.0]), "bias": np.ones(1)}, {"k": np.array([True, False])})
    {'k': array([1., 0.]), 'bias': array([1.])}
    """
    check_is_mask(mask)
    return {
        path: np.where(mask[path], array, array.dtype.type(0)) if path in mask else array
        for path, array in params.items()
    }


def pack(kept: np.ndarray) -> np.ndarray:
    """One mask as bytes of eight weights each: row-major order, the first weight in the highest bit.

    >>> pack(np.array([[True, False], [False, True]]))
    array([144], dtype=uint8)
    """
    return np.packbits(kept)


def unpack(bits: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """What `pack` has made of a mask of this shape, as booleans.

    Raises:
        ValueError: another number of bytes than the shape takes.

    >>> unpack(np.array([144], np.uint8), (2, 2))
    array([[ True, False],
           [False,  True]])
    """
    count, sides = math.prod(shape), tuple(shape)
    if min(sides, default=0) < 0 or bits.dtype != np.uint8 or bits.shape != (-(-count // 8),):
        raise ValueError(
            f"Expected {-(-count // 8)} bytes for a mask of shape {sides}. Received: {bits.size} of {bits.dtype}."
        )
    return np.unpackbits(bits, count=count).view(bool).reshape(sides)


def number_to_prune(remaining: int, fraction: float) -> int:
    """`fraction` of the remaining weights, rounded half to even.

    Reproduces the zero counts of the paper's networks, e.g. 63,770 of the 318,848 weights of ConvNet-3.

    >>> number_to_prune(318_848, 0.2)
    63770
    """
    return round(fraction * remaining)


def keep_top(scores: Scores, mask: Mask, keep: int) -> Mask:
    """The mask of the `keep` highest scores among the weights that `mask` keeps: exactly that many.

    Of equal scores the earlier position is kept, so the result is a pure function of the arguments.

    Args:
        scores: one array per path of `mask`, same shapes; values at pruned positions are ignored.
        keep: how many weights survive, counted over all arrays, between 0 and `kept(mask)`.

    Raises:
        ValueError: paths or shapes differ, a score of a kept weight is NaN, or `keep` is out of range.

    >>> keep_top({"k": np.array([3.0, 1.0, 2.0, 2.0])}, {"k": np.array([True, True, True, True])}, 2)
    {'k': array([ True, False,  True, False])}
    """
    check_scores(scores, mask)
    if not 0 <= keep <= kept(mask):
        raise ValueError(f"`keep` must be between 0 and the {kept(mask)} weights that are left. Received: keep={keep}")
    flat_mask = np.concatenate([array.ravel() for array in mask.values()])
    candidates = np.flatnonzero(flat_mask)
    values = np.concatenate([scores[path].ravel() for path in mask])[candidates]
    chosen = np.zeros(flat_mask.size, bool)
    chosen[candidates[_top_positions(values, keep)]] = True
    return _unflatten(chosen, mask)


def _top_positions(values: np.ndarray, keep: int) -> np.ndarray:
    """Indices of the `keep` largest values, the earlier of equal ones first; linear time."""
    if keep == 0:
        return np.zeros(0, int)
    threshold = np.partition(values, values.size - keep)[values.size - keep]
    above = np.flatnonzero(values > threshold)
    ties = np.flatnonzero(values == threshold)[: keep - above.size]
    return np.concatenate([above, ties])


def _unflatten(flat: np.ndarray, like: Mask) -> Mask:
    ends = np.cumsum([array.size for array in like.values()])
    parts = np.split(flat, ends[:-1])
    return {path: part.reshape(array.shape) for part, (path, array) in zip(parts, like.items(), strict=True)}


def check_scores(scores: Scores, mask: Mask) -> None:
    """Raises ValueError unless there is one non-NaN score for every kept weight."""
    check_is_mask(mask)
    if not isinstance(scores, Mapping):
        raise ValueError(
            f"Expected scores as a dict of arrays by the paths of the mask. Received: {type(scores).__name__}. "
            "A criterion returns a dict with the keys of the mask that it was given."
        )
    if scores.keys() != mask.keys():
        raise ValueError(
            f"Scores need one array per path of the mask: expected {list(mask)}, received {list(scores)}. "
            "A criterion returns a dict with the keys of the mask that it was given."
        )
    for path, array in mask.items():
        if scores[path].shape != array.shape:
            raise ValueError(f"Scores at '{path}' have shape {scores[path].shape}, the mask {array.shape}.")
        if np.isnan(scores[path][array]).any():
            raise ValueError(f"Scores at '{path}' contain NaN: weights that cannot be ranked cannot be pruned.")


def erdos_renyi_kernel(shapes: Mapping[str, tuple[int, ...]], density: float) -> dict[str, float]:
    """Density of each kernel by the Erdos-Renyi-Kernel rule: proportional to (sum of its sides) / (product of them).

    After Evci et al. 2020 (arXiv 1911.11134, section 3); all sides of a kernel count, those of its window too. A kernel
    that would exceed 1 is kept whole, and the others share what is left. Exact up to rounding: the densities, weighted
    by size, add up to `density` of all weights. The published code rounds the kept weights of each kernel down first.

    Args:
        shapes: shape of each kernel by path, e.g. `{path: array.shape for path, array in mask.items()}`.
        density: share of all weights that is kept, in [0, 1].

    Raises:
        ValueError: no kernel, a shape without weights, or a density outside [0, 1].

    >>> densities = erdos_renyi_kernel({"wide/kernel": (10, 10), "narrow/kernel": (10, 1)}, 0.2)
    >>> {path: round(value, 4) for path, value in densities.items()}  # 100 x .1419 + 10 x .7806 = 22 of 110
    {'wide/kernel': 0.1419, 'narrow/kernel': 0.7806}
    """
    without = [path for path, shape in shapes.items() if not shape or min(shape) < 1]
    if not shapes or without:
        raise ValueError(
            f"Expected shapes of at least one kernel, all sides 1 or more. Received: shapes={dict(shapes)}"
        )
    if not 0 <= density <= 1:
        raise ValueError(f"Expected a density in [0, 1]. Received: density={density}")
    sizes = {path: math.prod(shape) for path, shape in shapes.items()}
    budget = density * sum(sizes.values())
    whole: set[str] = set()
    while True:
        shared = [path for path in shapes if path not in whole]
        left = budget - sum(sizes[path] for path in whole)
        factor = left / sum(sum(shapes[path]) for path in shared) if shared else 0.0
        densities = {path: 1.0 if path in whole else factor * sum(shapes[path]) / sizes[path] for path in shapes}
        above = {path for path in shared if densities[path] > 1}
        if not above:
            return densities
        whole |= above


def check_masks(**named: Mask) -> None:
    """Raises ValueError unless all are boolean masks of one model; the keywords name them in the message."""
    for name, mask in named.items():
        check_is_mask(mask, name)
        odd = {path: str(array.dtype) for path, array in mask.items() if array.dtype != bool}
        if odd or not mask:
            raise ValueError(f"Expected `{name}` as boolean arrays by path, at least one. Received: {odd or 'none'}.")
    (first, reference), *others = named.items()
    for name, mask in others:
        check_alike(reference, mask, (first, name))


def check_alike(a: Mapping[str, np.ndarray], b: Mapping[str, np.ndarray], names: tuple[str, str]) -> None:
    """Raises ValueError at the first way in which the paths or shapes of two dicts of arrays differ."""
    for name, arrays in zip(names, (a, b), strict=True):
        check_is_mask(arrays, name)
    only = {name: sorted(x.keys() - y.keys()) for name, x, y in ((names[0], a, b), (names[1], b, a))}
    if any(only.values()):
        lacking = "; ".join(f"only in `{name}`: {paths}" for name, paths in only.items() if paths)
        raise ValueError(f"Expected `{names[0]}` and `{names[1]}` of one model. Received: {lacking}.")
    for path in a:
        if a[path].shape != b[path].shape:
            raise ValueError(
                f"Expected `{names[0]}` and `{names[1]}` of one model. "
                f"Received: shapes {a[path].shape} and {b[path].shape} at '{path}'."
            )


@dataclasses.dataclass(frozen=True)
class DeadUnits:
    """Units of one layer that a mask has cut off; boolean arrays.

    Attributes:
        outputs: True where every weight into an output (unit or filter) is pruned.
        inputs: True where every weight from an input (unit or channel) is pruned.
    """

    outputs: np.ndarray
    inputs: np.ndarray


def dead_units(mask: Mask) -> dict[str, DeadUnits]:
    """Outputs without an incoming weight and inputs without an outgoing one, in each layer of two axes or more.

    Outputs lie along the last axis of a kernel and inputs along the last but one, as in Dense and Conv layers. Not seen
    from masks alone, so not covered: units that are dead because all units before or after them are; what a bias or
    normalization still sends out from a dead output (a constant); units that never activate; and kernels of other
    order (transposed and depthwise convolutions, EinsumDense with several output axes).

    >>> units = dead_units({"dense/kernel": np.array([[True, False], [True, False], [False, False]])})
    >>> units["dense/kernel"].outputs.tolist(), units["dense/kernel"].inputs.tolist()
    ([False, True], [False, False, True])
    """
    check_masks(mask=mask)
    kernels = {path: array.reshape(-1, *array.shape[-2:]) for path, array in mask.items() if array.ndim > 1}
    return {
        path: DeadUnits(np.logical_not(array.any((0, 1))), np.logical_not(array.any((0, 2))))
        for path, array in kernels.items()
    }
