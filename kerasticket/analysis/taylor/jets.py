"""Derivatives of a tensor along many lines of weights at once, and what a layer has to say about them.

Along line k the weights are w + t e_k, for one coordinate k, and a tensor x of the network becomes
x + t x1 + t^2/2 x2 + ... . x, the point, is the same on all lines; (x1, x2) of all lines are a `Jet`.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import keras
from keras import ops


class Jet(NamedTuple):
    """First and second derivatives of a tensor, or of a list of tensors, along lines.

    Attributes:
        first, second: (lines, batch, ..., channels); if each line moves one channel alone, (batch, ..., lines).
        channels: (lines,) which one each line moves; None if any may move.
    """

    first: Any
    second: Any
    channels: Any = None

    def of(self, tensor):
        """Of a tensor (..., channels), the part that meets `first`: on each line the channel that it moves."""
        return tensor if self.channels is None else ops.take(tensor, self.channels, axis=-1)

    def map(self, function: Callable) -> "Jet":
        """The jet of a linear function of the tensor."""
        return Jet(function(self.first), function(self.second), self.channels)

    def spread(self, channels: int) -> "Jet":
        """The same jet with all channels, zero where nothing moves.

        >>> jet = Jet(ops.ones((1, 2)), ops.zeros((1, 2)), ops.convert_to_tensor([2, 0]))
        >>> ops.convert_to_numpy(jet.spread(3).first).astype(int).tolist()
        [[[0, 0, 1]], [[1, 0, 0]]]
        """
        if self.channels is None:
            return self
        moving = ops.one_hot(self.channels, channels, dtype=self.first.dtype)
        moving = ops.reshape(moving, (moving.shape[0], *[1] * (len(self.first.shape) - 1), channels))
        return Jet(*(ops.expand_dims(ops.moveaxis(x, -1, 0), -1) * moving for x in (self.first, self.second)))


class Lines(NamedTuple):
    """One coordinate of a weight for each line: its position on all axes but the last, and on the last; (lines,)."""

    rows: Any
    channels: Any


@dataclasses.dataclass(frozen=True)
class Rule:
    """What a layer does to a jet. x is its input at the point, y = f(x); a list where a layer takes several tensors.

    y1 = f'(x) x1 and y2 = f'(x) x2 + f''(x)[x1, x1]. At a kink, f' is that of the side that x lies on.

    Attributes:
        value: (layer, x) -> y, in inference mode.
        carry: (layer, x, jet) -> jet; None: unknown.
        channelwise: channel c of y depends on channel c of x alone, c on the last axis, so that a jet of single
            channels stays one.
        starts: by name of a weight, (layer, x, y, lines) -> jet of y if x stands still and the weight moves.
        starts_with_one_channel: whether those are jets of single channels.
        covers: (layer) -> whether the rule holds for the layer's configuration.
    """

    value: Callable
    carry: Callable | None
    channelwise: bool = False
    starts: Mapping[str, Callable] = dataclasses.field(default_factory=dict)
    starts_with_one_channel: bool = True
    covers: Callable[[Any], bool] = lambda layer: True


def merged(jets: list[Jet | None], points: list) -> Jet:
    """The jets of several tensors as one jet of lists; None is a tensor that stands still."""
    if any(jet is not None and jet.channels is None for jet in jets):
        jets = [jet and jet.spread(point.shape[-1]) for jet, point in zip(jets, points, strict=True)]
    lead = next(jet for jet in jets if jet is not None)
    count = () if lead.channels is not None else lead.first.shape[:1]
    still = [ops.zeros((*count, *lead.of(point).shape), point.dtype) for point in points]
    pairs = zip(jets, still, strict=True)
    first, second = zip(*((jet.first, jet.second) if jet else (zero, zero) for jet, zero in pairs), strict=True)
    return Jet(list(first), list(second), lead.channels)


def per_example(function: Callable, x, like):
    """Applies a function of (batch, ...) to a part of a jet, which may be (lines, batch, ...).

    Args:
        function: of tensors that have as many axes as `like`.
        x: a tensor, or a list of them.
        like: the point that x belongs to.
    """
    shape = keras.tree.flatten(x)[0].shape
    if len(shape) == len(keras.tree.flatten(like)[0].shape):
        return function(x)
    y = function(keras.tree.map_structure(lambda each: ops.reshape(each, (-1, *each.shape[2:])), x))
    return ops.reshape(y, (*shape[:2], *y.shape[1:]))
