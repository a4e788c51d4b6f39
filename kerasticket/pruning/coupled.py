"""Channels of the network: what makes a channel and all that reads it, pruned together across layers."""

import dataclasses
import warnings
from typing import Any, ClassVar

import keras
import numpy as np

from kerasticket import masks
from kerasticket.layers.traits import NORMS_OVER_CHANNELS
from kerasticket.masks import Mask, Scores, Select
from kerasticket.models.graph.channel_rules import RULES, SCALE, Rule, Signal, Walk, refusal
from kerasticket.models.graph.channels import Group, channel_walk, groups_of


@dataclasses.dataclass(frozen=True)
class CoupledChannels:
    """One channel at a time, with all kernels that make it and all that read it, through residual connections too.

    The groups are those of the functional graph, `channel_groups` (Fang et al. 2023, arXiv 2301.12900, call them
    dependency groups). A channel's score is the mean over its remaining weights in all of its kernels, divided by the
    mean of its group's: theirs is relative to the largest ones of the group (section 3.3), here to all that are left,
    in absolute value for signed criteria. So layers whose weights are small for their width, or whose channels have
    many, are not the first to go. A target counts channels: of all groups together or, under scope "layer" and in a
    dict, of each group, which bears the name of the layer that first makes its channels ("conv_1", not
    "conv_1/kernel"). Inputs and outputs of the network stay whole, and so do channels that go through a norm over all
    channels (LayerNormalization), which would see that some are gone.

    Attributes:
        minimum: share of its channels that each group keeps, in [0, 1), where groups share a total: rounded up, or
            down where there are not so many for all. Where a target leaves a smaller share of all channels, that is
            what each keeps at least.
        normalized: False: scores are compared as they are, which in networks like MobileNetV2 empties wide layers.
        unknown: "keep": channels around layers through which they cannot be followed stay whole, and a warning names
            these layers; "refuse" them.

    Raises:
        ValueError: on pruning, a model without hidden channels, or a subclassed one; with "refuse", a layer through
            which channels cannot be followed.

    Warns:
        UserWarning: there are such layers.

    Example:

    >>> inputs, kernel = keras.Input((2,)), keras.layers.Dense(2, name="first")
    >>> model = keras.Sequential([inputs, kernel, keras.layers.Dense(1, name="second")])
    >>> mask = {"first/kernel": np.ones((2, 2), bool), "second/kernel": np.ones((2, 1), bool)}
    >>> scores = {"first/kernel": np.array([[1.0, 3], [1, 3]]), "second/kernel": np.array([[7.0], [1]])}
    >>> def first_only(scores, units):
    ...     print(scores, units)
    ...     return {"first": np.array([True, False])}
    >>> structure = CoupledChannels()  # means are 3 and 7/3, which is 9/8 and 7/8 of their own mean
    >>> structure.prune(model, scores, mask, first_only)["first/kernel"]
    {'first': array([1.125, 0.875])} {'first': array([ True,  True])}
    array([[ True, False],
           [ True, False]])
    """

    minimum: float = 0.1
    normalized: bool = True
    unknown: str = "keep"

    takes_all_scopes: ClassVar[bool] = False
    crosses_kernels: ClassVar[bool] = True
    counts_groups: ClassVar[bool] = True

    def __post_init__(self):
        if isinstance(self.minimum, bool) or not (isinstance(self.minimum, (int, float)) and 0 <= self.minimum < 1):
            raise ValueError(f"Expected minimum, a share of channels in [0, 1). Received: minimum={self.minimum!r}")
        if self.unknown not in ("keep", "refuse"):
            raise ValueError(f"Expected unknown to be 'keep' or 'refuse'. Received: unknown={self.unknown!r}")

    def units(self, model: keras.Model, mask: Mask) -> Mask:
        """One flag for each channel of each group: does it have weights left?"""
        return {name: _sums(group, mask)[1] > 0 for name, group in self._groups(model, mask).items()}

    def prune(self, model: keras.Model, scores: Scores, mask: Mask, select: Select) -> Mask:
        """The mask without the channels that `select` drops."""
        masks.check_scores(scores, mask)
        groups = self._groups(model, mask)
        means, units = {}, {}
        for name, group in groups.items():
            sums, counts = _sums(group, mask, scores)
            means[name], units[name] = sums / np.maximum(counts, 1), counts > 0
        if self.normalized:
            means = {name: _relative(scores, units[name]) for name, scores in means.items()}
        chosen = select(means, units)
        pruned = {path: kept.copy() for path, kept in mask.items()}
        for name, group in groups.items():
            for carrier in group.carriers:
                np.moveaxis(pruned[carrier.path], carrier.axis, 0)[carrier.positions[:, ~chosen[name]]] = False
        return pruned

    def _groups(self, model: keras.Model, mask: Mask) -> dict[str, Group]:
        """The groups with masks, and of their carriers those that have one."""
        walk = channel_walk(model, rules=RULES | WHOLE, keep_unknown=self.unknown == "keep")
        groups = {}
        for name, group in groups_of(walk).items():
            carriers = tuple(carrier for carrier in group.carriers if carrier.path in mask)
            if carriers:
                groups[name] = dataclasses.replace(group, carriers=carriers)
        unknown = list(dict.fromkeys(f"{one.name} ({type(one).__name__})" for one in walk.unknown.values()))
        if not groups:
            through = f", or go through {unknown[:6]}, through which they cannot be followed" if unknown else ""
            raise ValueError(
                f"Expected a model with hidden channels under masks. Received: '{model.name}', whose masks "
                f"{list(mask)[:4]} lie on channels of the inputs and outputs alone, which stay{through}. Take another "
                "structure."
            )
        if unknown:
            warnings.warn(
                f"Channels around these layers stay whole, as they cannot be followed through them: {unknown[:6]}"
                f"{f' and {len(unknown) - 6} more' if len(unknown) > 6 else ''}. "
                "To have them refused, pass structure=CoupledChannels(unknown='refuse').",
                UserWarning,
                stacklevel=2,
            )
        return groups


def _norm_over_channels(walk: Walk, layer, inputs: list[Signal], shape: tuple[Any, ...]) -> np.ndarray:
    """A norm whose statistics are over the channels: all of them stay."""
    if len(inputs) != 1:
        raise refusal(layer, "a layer called on one tensor")
    walk.fix(inputs[0].labels)
    for variable in layer.weights:
        for axis in range(len(variable.shape)):
            walk.fix(walk.axis(variable, axis, SCALE))
    return inputs[0].labels


WHOLE: dict[type, Rule] = dict.fromkeys(NORMS_OVER_CHANNELS, _norm_over_channels)


def _relative(scores: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """The scores over the mean of those that are left, of their sizes if some are negative."""
    mean = np.abs(scores[kept]).mean() if kept.any() else 0.0
    return scores / mean if mean > 0 and np.isfinite(mean) else scores


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
