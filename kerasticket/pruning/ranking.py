"""Ranks within groups of weights."""

import numpy as np


def rank_in_groups(scores: np.ndarray, kept: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Place of each weight among the kept ones of its group, 0 for the highest score, ties by position.

    Args:
        scores, kept, groups: of one shape: scores, a mask, and numbers of groups from 0 on.

    Returns:
        An array of that shape; pruned weights rank behind all kept ones of their group.

    >>> rank_in_groups(np.array([1, 3, 2, 2]), np.array([True, True, True, False]), np.array([0, 0, 0, 0]))
    array([2, 0, 1, 3])
    """
    flat = groups.ravel()
    order = np.lexsort((-scores.ravel(), ~kept.ravel(), flat))  # stable: equal ones stay in their order
    sizes = np.bincount(flat)
    starts = np.cumsum(sizes) - sizes
    ranks = np.empty(flat.size, int)
    ranks[order] = np.arange(flat.size) - starts[flat[order]]
    return ranks.reshape(scores.shape)
