"""Channels of the network: what makes a channel and all that reads it, pruned together across layers."""

import dataclasses
from typing import ClassVar

import keras
import numpy as np

from kerasticket import masks
from kerasticket.graph.channels import Group, channel_groups
from kerasticket.masks import Mask, Scores, Select


@dataclasses.dataclass(frozen=True)
class CoupledChannels:
    """One channel at a time, with all kernels that make it and all that read it, through residual connections too.

    The groups are those of the functional graph, `channel_groups` (Fang et al. 2023, arXiv 2301.12900, call them
    dependency groups). A channel's score is the mean over its remaining weights in all of its kernels. A target counts
    channels: of all groups together or, under scope "layer" and in a dict, of each group, which bears the name of the
    layer that first makes its channels ("conv_1", not "conv_1/kernel"). Inputs and outputs of the network stay whole.

    Raises:
        ValueError: on pruning, a model without hidden channels, a subclassed one, or a layer through which channels
            cannot be followed.

    Example:

    >>> inputs, kernel = keras.Input((2,)), keras.layers.Dense(2, name="first")
    >>> model = keras.Sequential([inputs, kernel, keras.layers.Dense(1, name="second")])
    >>> mask = {"first/kernel": np.ones((2, 2), bool), "second/kernel": np.ones((2, 1), bool)}
    >>> scores = {"first/kernel": np.array([[1.0, 3], [1, 3]]), "second/kernel": np.array([[7.0], [1]])}
    >>> def first_only(scores, units):
    ...     print(scores, units)
    ...     return {"first": np.array([True, False])}
    >>> CoupledChannels().prune(model, scores, mask, first_only)["first/kernel"]
    {'first': array([3.        , 2.33333333])} {'first': array([ True,  True])}
    array([[ True, False],
           [ True, False]])
    """

    takes_all_scopes: ClassVar[bool] = False
    crosses_kernels: ClassVar[bool] = True

    def units(self, model: keras.Model, mask: Mask) -> Mask:
        """One flag for each channel of each group: does it have weights left?"""
        return {name: _sums(group, mask)[1] > 0 for name, group in _groups(model, mask).items()}

    def prune(self, model: keras.Model, scores: Scores, mask: Mask, select: Select) -> Mask:
        """The mask without the channels that `select` drops."""
        masks.check_scores(scores, mask)
        groups = _groups(model, mask)
        means, units = {}, {}
        for name, group in groups.items():
            sums, counts = _sums(group, mask, scores)
            means[name], units[name] = sums / np.maximum(counts, 1), counts > 0
        chosen = select(means, units)
        pruned = {path: kept.copy() for path, kept in mask.items()}
        for name, group in groups.items():
            for carrier in group.carriers:
                np.moveaxis(pruned[carrier.path], carrier.axis, 0)[carrier.positions[:, ~chosen[name]]] = False
        return pruned


def _groups(model: keras.Model, mask: Mask) -> dict[str, Group]:
    """The groups with masks, and of their carriers those that have one."""
    groups = {}
    for name, group in channel_groups(model).items():
        carriers = tuple(carrier for carrier in group.carriers if carrier.path in mask)
        if carriers:
            groups[name] = dataclasses.replace(group, carriers=carriers)
    if not groups:
        raise ValueError(
            f"Expected a model with hidden channels under masks. Received: '{model.name}', whose masks "
            f"{list(mask)[:4]} lie on channels of the inputs and outputs alone, which stay. Take another structure."
        )
    return groups


def _sums(group: Group, mask: Mask, scores: Scores | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Of each channel: the sum of the scores of its remaining weights, and their number."""
    sums, counts = np.zeros(group.size), np.zeros(group.size, int)
    for carrier in group.carriers:
        kept = _of_channels(mask[carrier.path], carrier)
        counts += np.count_nonzero(kept, axis=1)
        if scores is not None:
            sums += np.where(kept, _of_channels(scores[carrier.path], carrier), 0).sum(1)
    return sums, counts


def _of_channels(array: np.ndarray, carrier) -> np.ndarray:
    """(channels, weights): the entries that lie on each channel."""
    entries = np.moveaxis(array, carrier.axis, 0)[carrier.positions]
    return np.moveaxis(entries, 1, 0).reshape(entries.shape[1], -1)
