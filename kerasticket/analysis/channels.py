"""Which channels of a network belong together: all axes of its variables that one permutation has to move.

The functional graph is walked once with labels in place of numbers. Each axis on which channels lie has labels of its
own, each layer ties those that are the same channel, and what hangs together is one channel of the network. Channels
that lie equally often on the same axes may change places with each other: they are a group.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from kerasticket.analysis.channel_rules import FIXED, RULES, Shape, Signal, Walk, refusal
from kerasticket.variables import SEED_STATE


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
        name: the layer that makes them first, such as "conv_1"; "conv_1#4" if they begin at its channel 4.
        size: number of channels.
        carriers: in the order in which the graph meets them.
    """

    name: str
    size: int
    carriers: tuple[Carrier, ...]


def channel_groups(model: keras.Model) -> dict[str, Group]:
    """The groups of hidden channels of a Sequential or functional model, by name, in the order of the graph.

    Channels of the inputs and outputs, and those that are added to them, are in no group. A residual connection ties
    the channels of its branches, a shared layer those of its calls; nested models are walked like any other.

    Raises:
        ValueError: the model is subclassed or not built; or a layer has no rule in `RULES` or is used in a way that
            its rule does not cover. Subclasses of Keras' layers have none, as they may do anything to channels.

    Example:

    >>> inputs = [keras.Input((4, 4, 3)), keras.layers.Conv2D(5, 3, name="conv"), keras.layers.Flatten(name="flatten")]
    >>> group = channel_groups(keras.Sequential([*inputs, keras.layers.Dense(2, name="out")]))["conv"]
    >>> group.size, [(carrier.path, carrier.axis, carrier.positions.shape) for carrier in group.carriers]
    (5, [('conv/kernel', 3, (1, 5)), ('conv/bias', 0, (1, 5)), ('out/kernel', 0, (4, 5))])
    """
    check_graph(model)
    walk = Walk(model)
    for labels in _through(walk, model, [np.full((1,) * (len(x.shape) - 1), FIXED) for x in model.inputs]):
        walk.fix(labels)
    seen = {path for path, _ in walk.axes}
    unseen = [path for path in walk.paths.values() if path not in seen and not path.endswith(SEED_STATE)]
    if unseen:
        raise ValueError(
            f"Expected layers with the weights that Keras builds them with. Received: '{model.name}' with {unseen} too."
        )
    return _groups(walk)


def check_graph(model: keras.Model) -> None:
    """Raises ValueError unless the model is built and has a graph."""
    if not isinstance(model, keras.Model) or not model.built or not getattr(model, "inputs", None):
        raise ValueError(
            "Expected a built Sequential or functional model, which has a graph of layers. "
            f"Received: {type(model).__name__} {getattr(model, 'name', model)!r}."
        )


def calls(model: keras.Model) -> Iterator[Any]:
    """Keras' record of each call of a layer (`.operation`, `.input_tensors`, `.output_tensors`), inputs first."""
    # Private, but the one order of calls that Keras has; a Function shows the graph of Sequential models too.
    depths = keras.Function(model.inputs, model.outputs)._nodes_by_depth
    return (node for depth in sorted(depths, reverse=True) for node in depths[depth] if not node.is_input)


def _through(walk: Walk, model: keras.Model, labels: list[np.ndarray]) -> list[np.ndarray]:
    """Labels of the model's outputs, given those of its inputs."""
    known = {id(tensor): label for tensor, label in zip(model.inputs, labels, strict=True)}
    for call in calls(model):
        inputs = [Signal(known[id(tensor)], tuple(tensor.shape[1:])) for tensor in call.input_tensors]
        outputs = _call(walk, call.operation, inputs, tuple(call.output_tensors[0].shape[1:]))
        known |= {id(tensor): output for tensor, output in zip(call.output_tensors, outputs, strict=True)}
    return [known[id(tensor)] for tensor in model.outputs]


def _call(walk: Walk, layer, inputs: list[Signal], shape: Shape) -> list[np.ndarray]:
    if isinstance(layer, keras.Model):
        check_graph(layer)
        return _through(walk, layer, [signal.labels for signal in inputs])
    if type(layer) not in RULES:
        hint = "" if isinstance(layer, keras.Layer) else " Write operations as layers: `a + b` as keras.layers.Add."
        known = ", ".join(sorted({cls.__name__ for cls in RULES}))
        raise refusal(layer, f"layers through which channels can be followed ({known})", hint)
    return [RULES[type(layer)](walk, layer, inputs, shape)]


def _groups(walk: Walk) -> dict[str, Group]:
    """Gathers the channels by the axes on which they lie, with repeats: (axes) -> channels in the order met."""
    channel_of = _components(walk)
    lying: dict[int, list[tuple[str, int]]] = {}
    for key, (labels, _) in walk.axes.items():
        for channel in channel_of[labels].tolist():
            lying.setdefault(channel, []).append(key)
    lying.pop(int(channel_of[FIXED]), None)
    members: dict[tuple[tuple[str, int], ...], list[int]] = {}
    for channel, keys in lying.items():
        members.setdefault(tuple(keys), []).append(channel)
    groups = [_group(walk, channel_of, keys, channels) for keys, channels in members.items()]
    return {group.name: group for group in groups}


def _components(walk: Walk) -> np.ndarray:
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
