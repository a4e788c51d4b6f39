"""Arithmetic on `Mask`: which weights are kept, as a dict of boolean arrays keyed by kernel path.

True is kept, False is pruned; a kernel whose path is absent is not prunable. "Position" means the order of
the dict (the order of the layers in the model), then row-major order inside one array.
"""

import numpy as np

Mask = dict[str, np.ndarray]
Scores = dict[str, np.ndarray]


def total(mask: Mask) -> int:
    """Number of prunable weights."""
    return sum(array.size for array in mask.values())


def kept(mask: Mask) -> int:
    """Number of weights that the mask keeps."""
    return sum(int(np.count_nonzero(array)) for array in mask.values())


def sparsity(mask: Mask) -> float:
    """Share of the *prunable* weights that are pruned, in [0, 1].

    >>> sparsity({"dense/kernel": np.array([True, False, False, False])})
    0.75
    """
    return (total(mask) - kept(mask)) / total(mask)


def is_nested(inner: Mask, outer: Mask) -> bool:
    """True if everything that `inner` keeps is kept by `outer` too."""
    return inner.keys() == outer.keys() and all(not np.any(inner[path] & ~outer[path]) for path in inner)


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
