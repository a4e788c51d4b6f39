"""Scopes say where a fraction of the remaining weights is taken from: one function each, exact counts.

What a scope is given need not be single weights: structures hand it one score for each group.
"""

from collections.abc import Callable

import numpy as np

from kerasticket import masks
from kerasticket.checks import choose
from kerasticket.masks import Mask, Scores
from kerasticket.pruning.criteria.weights import lamp_scores
from kerasticket.pruning.ranking import rank_in_groups

Scope = Callable[[Scores, Mask, float], Mask]


def over_all(scores: Scores, mask: Mask, fraction: float) -> Mask:
    """Removes the fraction of all remaining weights with the lowest scores, whichever layer they are in."""
    return masks.keep_top(scores, mask, _left(mask, fraction))


def in_each_layer(scores: Scores, mask: Mask, fraction: float) -> Mask:
    """Removes the fraction of each layer's remaining weights."""
    return _keep_counts(scores, mask, {path: _left({path: array}, fraction) for path, array in mask.items()})


def in_each_unit(scores: Scores, mask: Mask, fraction: float) -> Mask:
    """Removes the fraction of the remaining weights of each output unit, the last axis of a kernel; as Wanda does."""

    def left(kept: np.ndarray) -> np.ndarray:
        remaining = kept.reshape(-1, kept.shape[-1]).sum(0)
        return remaining - np.round(fraction * remaining).astype(int)

    return _keep_in_units(scores, mask, left)


def each_unit_to(scores: Scores, mask: Mask, target: float) -> Mask:
    """Removes weights of each output unit until a share `target` of all that it has is gone; rounded per unit.

    Units that have lost more already stay as they are, so that masks of rising targets are nested.
    """

    def left(kept: np.ndarray) -> np.ndarray:
        size = kept.size // kept.shape[-1]
        return np.full(kept.shape[-1], size - masks.number_to_prune(size, target))

    return _keep_in_units(scores, mask, left)


def uniform(scores: Scores, mask: Mask, fraction: float) -> Mask:
    """Leaves every layer with the same density, counted over all of its weights, whatever it has now."""
    density = _left(mask, fraction) / masks.total(mask)
    return _by_density(scores, mask, fraction, dict.fromkeys(mask, density), "uniform")


def erdos_renyi_kernel(scores: Scores, mask: Mask, fraction: float) -> Mask:
    """Leaves each layer with the density of the Erdos-Renyi-Kernel rule (`masks.erdos_renyi_kernel`)."""
    shapes = {path: array.shape for path, array in mask.items()}
    densities = masks.erdos_renyi_kernel(shapes, _left(mask, fraction) / masks.total(mask))
    return _by_density(scores, mask, fraction, densities, "erk")


def lamp(scores: Scores, mask: Mask, fraction: float) -> Mask:
    """Ranks all together, after each score was divided by those of its layer that are not lower (LAMP).

    Squares are divided by sums of squares, as in the criterion `lamp`, which is magnitude under this scope.

    Raises:
        ValueError: scores below 0, whose squares have another order.
    """
    masks.check_scores(scores, mask)
    signed = [path for path, kept in mask.items() if (scores[path][kept] < 0).any()]
    if signed:
        raise ValueError(
            f"Scope 'lamp' needs scores of at least 0. Received: negative ones at {signed[:4]}. "
            "Take scope 'global' or 'erk' for signed criteria such as 'grasp' and 'movement'."
        )
    return over_all({path: lamp_scores(scores[path], kept) for path, kept in mask.items()}, mask, fraction)


SCOPES: dict[str, Scope] = {
    "global": over_all,
    "layer": in_each_layer,
    "unit": in_each_unit,
    "uniform": uniform,
    "erk": erdos_renyi_kernel,
    "lamp": lamp,
}
EACH_ON_ITS_OWN = ("layer", "unit")  # these round per part, so that no total is promised
OF_KERNELS = ("unit", "erk")  # these ask for the shape of the kernel


def get(scope: str) -> Scope:
    """The scope of that name; raises ValueError with the known ones if there is none."""
    return choose(scope, SCOPES, "scope")


def apportion(quotas: dict[str, float], total: int, most: dict[str, int]) -> dict[str, int]:
    """Whole numbers that add up to `total`, near the quotas: largest remainders first, ties by position.

    Args:
        quotas: wanted numbers, adding up to `total` but for rounding.
        most: upper bounds, which may not allow less than `total` in sum.

    >>> apportion({"a": 1.5, "b": 2.5, "c": 1.0}, 5, {"a": 9, "b": 9, "c": 9})
    {'a': 2, 'b': 2, 'c': 1}
    """
    counts = {path: min(int(quota), most[path]) for path, quota in quotas.items()}
    while (short := total - sum(counts.values())) > 0:
        free = [path for path in quotas if counts[path] < most[path]]
        for path in sorted(free, key=lambda path: counts[path] - quotas[path])[:short]:
            counts[path] += 1
    return counts


def _by_density(scores: Scores, mask: Mask, fraction: float, densities: dict[str, float], scope: str) -> Mask:
    quotas = {path: densities[path] * array.size for path, array in mask.items()}
    most = {path: int(np.count_nonzero(array)) for path, array in mask.items()}
    for path, quota in quotas.items():
        if quota >= most[path] + 1:
            raise ValueError(
                f"Scope '{scope}' leaves {quota:.0f} weights at '{path}'. Received: a mask with {most[path]} there. "
                "Pruned weights do not come back: start from a denser mask, or take scope 'global' or 'layer'."
            )
    return _keep_counts(scores, mask, apportion(quotas, _left(mask, fraction), most))


def _left(mask: Mask, fraction: float) -> int:
    remaining = masks.kept(mask)
    return remaining - masks.number_to_prune(remaining, fraction)


def _keep_in_units(scores: Scores, mask: Mask, left: Callable[[np.ndarray], np.ndarray]) -> Mask:
    """Of each output unit the best weights, as many as `left` says, given the mask of a kernel."""
    masks.check_scores(scores, mask)
    pruned: Mask = {}
    for path, kept in mask.items():
        units = np.broadcast_to(np.arange(kept.shape[-1]), kept.shape)
        pruned[path] = kept & (rank_in_groups(scores[path], kept, units) < left(kept)[units])
    return pruned


def _keep_counts(scores: Scores, mask: Mask, counts: dict[str, int]) -> Mask:
    pruned: Mask = {}
    for path, array in mask.items():
        pruned |= masks.keep_top({path: scores[path]}, {path: array}, counts[path])
    return pruned
