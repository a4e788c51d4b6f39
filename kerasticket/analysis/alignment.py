"""Alignment: hidden channels of one net put in the order in which they are most like those of another."""

from collections.abc import Iterator, Mapping

import keras
import numpy as np
from scipy.optimize import linear_sum_assignment

from kerasticket.models.graph.alignment_rules import ALIGNED
from kerasticket.models.graph.channel_rules import STATISTIC
from kerasticket.models.graph.channels import Carrier, Group, channel_groups
from kerasticket.models.paths import named_variables
from kerasticket.params import Params, mismatch

Permutations = dict[str, np.ndarray]
ROUNDING = 1e-12  # a gain below this share of |a| |b| is none: two orders of equal channels differ by rounding alone


def align(model: keras.Model, a: Params, b: Params, *, seed: int = 0) -> Params:
    """The params of `b` with hidden channels permuted so that they lie as near to `a` as weight matching finds.

    The net computes the same function as before, up to rounding (sums run in another order), and can be passed to
    `linear_path` in place of `b`. Pruned weights move with their channels, so the mask of the result is permuted as
    well: `permute(model, mask_of_b, weight_matching(model, a, b))`. `kerasticket.set_params` on a model that holds
    another mask would cut it; the analyses of this package take pruned weights from the params and do not.

    Units of recurrent layers and heads of attention are permuted too, and the numbers within heads, alike in all heads.

    Between nets with batch normalization, pass `statistics="reestimate"` to `linear_path`: interpolated moving
    statistics hide most of what alignment gains (Jordan et al. 2023, arXiv 2211.08403).

    Args:
        model, a, b, seed: as in `weight_matching`.

    Raises:
        ValueError: as `weight_matching`.

    Example:

    >>> stack = [keras.Input((2,)), keras.layers.Dense(3, name="hidden"), keras.layers.Dense(1, name="out")]
    >>> model = keras.Sequential(stack)
    >>> rng = np.random.default_rng(0)
    >>> a = {path: rng.normal(size=variable.shape) for path, variable in named_variables(model).items()}
    >>> b = permute(model, a, {"hidden": np.array([2, 0, 1])})
    >>> [bool((net["hidden/bias"] == a["hidden/bias"]).all()) for net in (b, align(model, a, b))]
    [False, True]
    """
    return permute(model, b, weight_matching(model, a, b, seed=seed))


def weight_matching(model: keras.Model, a: Params, b: Params, *, seed: int = 0) -> Permutations:
    """Permutations of b's hidden channels that make the inner product of the weights of `a` and `b` large.

    Git Re-Basin's weight matching (Ainsworth et al. 2022, arXiv 2209.04836, section 3.2): one group of channels after
    the other, in random order, gets the best permutation while the others stay, until none improves. The inner product
    never falls; it ends in a local maximum. Kernels, biases, gamma and beta count, moving statistics do not. Unlike
    there, the groups come from the model's graph, and a permutation that gains nothing but rounding is not taken.

    Args:
        model: Sequential or functional, of layers that `alignment_rules.ALIGNED` knows; its own weights play no part.
        a, b: `kerasticket.get_params` of two nets.
        seed: of the orders in which groups are visited.

    Returns:
        For each group of `channel_groups(model, rules=ALIGNED)` an array of whole numbers: new channel i is channel
        `p[i]` of `b`.

    Raises:
        ValueError: as `channel_groups`; or params of another model, or not finite.
    """
    permutations: Permutations = {}
    for permutations, _ in ascent(model, a, b, seed):  # noqa: B007
        pass
    return permutations


def ascent(model: keras.Model, a: Params, b: Params, seed: int) -> Iterator[tuple[Permutations, float]]:
    """The steps of `weight_matching`: permutations so far, and the inner product of a and the permuted b."""
    for name, params in (("a", a), ("b", b)):
        _check(model, params, name)
    groups = channel_groups(model, rules=ALIGNED)
    counted = {c.path for group in groups.values() for c in group.carriers if c.role != STATISTIC}
    ours, theirs = ({path: params[path].astype(np.float64) for path in sorted(counted)} for params in (a, b))
    permutations = {name: np.arange(group.size) for name, group in groups.items()}
    total = _inner(ours, theirs, ours)
    tolerance = ROUNDING * np.sqrt(_inner(ours, ours, ours) * _inner(theirs, theirs, ours))
    yield dict(permutations), total
    rng, gained = np.random.default_rng(seed), True
    while gained:
        gained = False
        for name in rng.permutation(list(groups)).tolist():
            carriers = [carrier for carrier in groups[name].carriers if carrier.role != STATISTIC]
            order = linear_sum_assignment(_similarity(carriers, ours, theirs), maximize=True)[1]
            moved = _permuted(theirs, carriers, order)
            gain = _inner(ours, moved, moved) - _inner(ours, theirs, moved)
            if gain > tolerance:
                theirs |= moved
                permutations[name], total, gained = permutations[name][order], total + gain, True
                yield dict(permutations), total


def permute(model: keras.Model, arrays: Mapping[str, np.ndarray], permutations: Permutations) -> dict[str, np.ndarray]:
    """Params, or a mask, with hidden channels in another order; the net computes the same function.

    Args:
        model: as in `weight_matching`.
        arrays: params or masks by path; of a path that is absent nothing is returned.
        permutations: by group; new channel i is the old channel `p[i]`. Groups that are absent keep their order.

    Raises:
        ValueError: as `channel_groups`; an unknown path or group, a wrong shape, or what is no permutation.
    """
    groups = channel_groups(model, rules=ALIGNED)
    variables = named_variables(model)
    wrong = mismatch(dict(arrays), {path: variables[path] for path in arrays if path in variables}, "the dict")
    if wrong:
        raise ValueError(f"Expected arrays that belong to '{model.name}'. {wrong}")
    for name, order in permutations.items():
        _check_permutation(groups, name, order)
    result = dict(arrays)
    for name, order in permutations.items():
        present = [carrier for carrier in groups[name].carriers if carrier.path in result]
        result |= _permuted(result, present, np.asarray(order))
    return result


def _similarity(carriers: list[Carrier], a: Params, b: Params) -> np.ndarray:
    """(i, j): the inner product that channel i of a and channel j of b add if j takes the place of i."""
    return sum(_rows(a[c.path], c) @ _rows(b[c.path], c).T for c in carriers)


def _rows(array: np.ndarray, carrier: Carrier) -> np.ndarray:
    """(channels, everything else)."""
    rows = np.moveaxis(array, carrier.axis, 0)[carrier.positions]  # (repeats, channels, others)
    return np.swapaxes(rows, 0, 1).reshape(carrier.positions.shape[1], -1)


def _permuted(arrays: Params, carriers: list[Carrier], order: np.ndarray) -> Params:
    """The carriers' arrays with channel `order[i]` in the place of channel i."""
    moved: Params = {}
    for carrier in carriers:
        array = moved.get(carrier.path, arrays[carrier.path])
        source = np.arange(array.shape[carrier.axis])
        source[carrier.positions] = carrier.positions[:, order]
        moved[carrier.path] = np.take(array, source, carrier.axis)
    return moved


def _inner(a: Params, b: Params, paths) -> float:
    return float(sum(np.vdot(a[path], b[path]) for path in paths))


def _check(model: keras.Model, params: Params, name: str) -> None:
    wrong = mismatch(params, named_variables(model), name)
    if wrong:
        raise ValueError(f"Expected params of '{model.name}', as kerasticket.get_params gives them. {wrong}")
    broken = [path for path, array in params.items() if not np.isfinite(array).all()]
    if broken:
        raise ValueError(f"Expected finite weights. Received: NaN or infinity in {name} at {broken}.")


def _check_permutation(groups: dict[str, Group], name: str, order: np.ndarray) -> None:
    if name not in groups:
        raise ValueError(f"Expected groups of channels among {list(groups)}. Received: {name!r}.")
    if not np.array_equal(np.sort(order), np.arange(groups[name].size)):
        raise ValueError(f"Expected a permutation of {groups[name].size} channels of '{name}'. Received: {order}.")
