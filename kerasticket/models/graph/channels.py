"""Which channels of a network belong together: all axes of its variables that one permutation has to move.

The functional graph is walked once with labels in place of numbers. Each axis on which channels lie has labels of its
own, each layer ties those that are the same channel, and what hangs together is one channel of the network. Channels
that lie equally often on the same axes may change places with each other: they are a group.
"""

import dataclasses
from collections.abc import Mapping

import keras
import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from kerasticket.models.graph.calls import check_graph, shapes, through
from kerasticket.models.graph.channel_rules import FIXED, RULES, Rule, Signal, Walk, refusal
from kerasticket.models.graph.operation_rules import OPERATIONS, keeps_its_sides, operation_rule


@dataclasses.dataclass(frozen=True)
class Carrier:
    """An axis of a variable on which the channels of a group lie.

    Attributes:
        path: canonical path of the variable.
        axis: counted from the front.
        positions: (repeats, channels) indices along the axis; a Dense behind Flatten has each channel at many.
        role: "out" (the channels are made here: kernels and their biases), "in" (they are read here), "scale" (one
            number for each: gamma, beta, depthwise kernels), or "statistic" (moving mean and variance).
    """

    path: str
    axis: int
    positions: np.ndarray
    role: str


@dataclasses.dataclass(frozen=True)
class Group:
    """Channels that may change places with each other, and every axis on which they lie.

    Attributes:
        name: the layer that makes them first, such as "conv_1"; "conv_1#4" if they begin at its channel 4, and
            "attention/query[2]" for the second group of one kernel, which lies on its axis 2.
        size: number of channels.
        carriers: in the order in which the graph meets them.
    """

    name: str
    size: int
    carriers: tuple[Carrier, ...]


def channel_groups(
    model: keras.Model, *, rules: Mapping[type, Rule] = RULES, keep_unknown: bool = False
) -> dict[str, Group]:
    """The groups of hidden channels of a Sequential or functional model, by name, in the order of the graph.

    Channels of the inputs and outputs, and those that are added to them, are in no group. A residual connection ties
    the channels of its branches, a shared layer those of its calls; nested models are walked like any other.

    Args:
        model: a built model.
        rules: how each layer passes channels on.
        keep_unknown: channels around what has no rule keep their place, as those of the inputs do, and are in no group.

    Raises:
        ValueError: the model is subclassed or not built; or a layer has no rule in `rules` or is used in a way that
            its rule does not cover. Subclasses of Keras' layers have none, as they may do anything to channels. Of
            operations such as `a + b` those in `operation_rules.OPERATIONS` have one.

    Example:

    >>> inputs = [keras.Input((4, 4, 3)), keras.layers.Conv2D(5, 3, name="conv"), keras.layers.Flatten(name="flatten")]
    >>> group = channel_groups(keras.Sequential([*inputs, keras.layers.Dense(2, name="out")]))["conv"]
    >>> group.size, [(carrier.path, carrier.axis, carrier.positions.shape) for carrier in group.carriers]
    (5, [('conv/kernel', 3, (1, 5)), ('conv/bias', 0, (1, 5)), ('out/kernel', 0, (4, 5))])
    """
    return groups_of(channel_walk(model, rules=rules, keep_unknown=keep_unknown))


def channel_walk(
    model: keras.Model,
    *,
    rules: Mapping[type, Rule] = RULES,
    keep_unknown: bool = False,
    keep_sides: bool = False,
) -> Walk:
    """What a walk through the graph of a model meets.

    Args:
        rules: how each layer passes channels on.
        keep_unknown: channels that go into or come out of layers without a rule keep their place; False: such layers
            are refused.
        keep_sides: so do those that go into nested models, and into operations that are told their number.
    """
    check_graph(model)
    walk = Walk(model)

    def visit(call, inputs: list[np.ndarray]) -> list[np.ndarray]:
        try:
            return [_passed_on(walk, call, inputs, rules, keep_sides)]
        except ValueError:
            if not keep_unknown:
                raise
            walk.fix_around(call.operation, inputs)
            walk.unknown[id(call)] = call.operation
            return [_fixed(tensor) for tensor in call.output_tensors]

    def enter(inputs: list[np.ndarray]) -> None:
        for labels in inputs if keep_sides else ():
            walk.fix(labels)

    for labels in through(model, [_fixed(tensor) for tensor in model.inputs], visit, enter):
        walk.fix(labels)
    return walk


def _fixed(tensor) -> np.ndarray:
    return np.full((1,) * (len(tensor.shape) - 1), FIXED)


def _passed_on(walk: Walk, call, inputs: list[np.ndarray], rules: Mapping[type, Rule], keep_sides: bool) -> np.ndarray:
    layer = call.operation
    if isinstance(layer, keras.Model):
        check_graph(layer)
    rule = rules.get(type(layer)) or operation_rule(call)
    if rule is None or (keep_sides and not keeps_its_sides(call)):
        raise refusal(layer, *_known(layer, rules))
    walk.call = call
    signals = [Signal(labels, shape) for labels, shape in zip(inputs, shapes(call.input_tensors), strict=True)]
    labels = rule(walk, layer, signals, shapes(call.output_tensors)[0])
    unseen = walk.unseen(layer)
    if unseen:
        raise ValueError(
            f"Expected layers with the weights that Keras builds them with. Received: '{layer.name}' with {unseen} too."
        )
    return labels


def _known(layer, rules: Mapping[type, Rule]) -> tuple[str, str]:
    if isinstance(layer, keras.Layer):
        known = ", ".join(sorted({cls.__name__ for cls in rules}))
        return f"layers through which channels can be followed ({known})", ""
    known = ", ".join(sorted(OPERATIONS))
    hint = " Beside tensors, it may have numbers as arguments, not arrays. Or write it as a layer of Keras."
    return f"operations through which channels can be followed ({known})", hint


def groups_of(walk: Walk) -> dict[str, Group]:
    """Gathers the channels by the axes on which they lie, with repeats: (axes) -> channels in the order met."""
    channel_of = components(walk)
    lying: dict[int, list[tuple[str, int]]] = {}
    for key, (labels, _) in walk.axes.items():
        for channel in channel_of[labels].tolist():
            lying.setdefault(channel, []).append(key)
    lying.pop(int(channel_of[FIXED]), None)
    members: dict[tuple[tuple[str, int], ...], list[int]] = {}
    for channel, keys in lying.items():
        members.setdefault(tuple(keys), []).append(channel)
    groups: dict[str, Group] = {}
    for axes, channels in members.items():
        group = _group(walk, channel_of, axes, channels)
        if group.name in groups:  # heads of attention and the numbers within them are made by one kernel
            group = dataclasses.replace(group, name=f"{group.name}[{group.carriers[0].axis}]")
        groups[group.name] = group
    return groups


def components(walk: Walk) -> np.ndarray:
    """The channel that each label belongs to."""
    first, second = np.concatenate(walk.ties, axis=1)
    graph = coo_array((np.ones(len(first), bool), (first, second)), shape=(walk.count, walk.count))
    return connected_components(graph, directed=False)[1]


def _group(walk: Walk, channel_of: np.ndarray, keys: tuple[tuple[str, int], ...], channels: list[int]) -> Group:
    carriers = []
    for path, axis in dict.fromkeys(keys):
        labels, role = walk.axes[path, axis]
        carriers.append(Carrier(path, axis, _positions(channel_of[labels], channels), role))
    layer, start = carriers[0].path.rpartition("/")[0], carriers[0].positions[0, 0]
    return Group(f"{layer}#{start}" if start else layer, len(channels), tuple(carriers))


def _positions(lying: np.ndarray, channels: list[int]) -> np.ndarray:
    """(repeats, channels): where each channel lies, in ascending order.

    >>> _positions(np.array([7, 8, 9, 7, 8, 9]), [8, 7])
    array([[1, 0],
           [4, 3]])
    """
    return np.stack([np.flatnonzero(lying == channel) for channel in channels], axis=1)
