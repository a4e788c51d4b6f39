"""The graph of a functional or Sequential model as a list of steps, each with its rule."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import keras

from kerasticket.analysis.taylor.jets import Jet, Rule, merged
from kerasticket.analysis.taylor.rules import rules_of
from kerasticket.backend import autodiff
from kerasticket.backend.keras_internals import calls, has_mask


class Step(NamedTuple):
    """One call in the graph.

    Attributes:
        rule: of the layer; its `carry` is None where none is known.
        layer: what the rule is about: a layer, or an activation function.
        inputs, outputs: numbers of the tensors that it reads and makes.
    """

    rule: Rule
    layer: Any
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    def value(self, points: list) -> list:
        """The outputs at the point, given the inputs."""
        return keras.tree.flatten(self.rule.value(self.layer, _single(points)))

    def carry(self, points: list, jets: list[Jet | None]) -> Jet:
        """The jet of the output, given the points and the jets of the inputs, of which one at least is there."""
        assert self.rule.carry is not None
        jet = jets[0] if len(jets) == 1 else merged(jets, points)
        return self.rule.carry(self.layer, _single(points), jet)


def _single(tensors: list):
    """Layers take one tensor as it is, several as a list."""
    return tensors[0] if len(tensors) == 1 else tensors


def steps_of(model: keras.Model) -> tuple[list[Step], int]:
    """The steps of a model in the order in which they can run, and the number of its output; the input is 0.

    Nested models are opened. A subclassed model is one step without a rule.
    """
    if not isinstance(model, keras.Sequential | keras.Function):
        return [_without_rule(model, lambda x: model(x, **autodiff.mode(model, False)), (0,), (1,))], 1
    steps: list[Step] = []
    (output,) = _open(model, [0], steps, itertools.count(1))
    return steps, output


def _open(model, inputs: list[int], steps: list[Step], fresh: Iterator[int]) -> list[int]:
    numbers = {id(tensor): number for tensor, number in zip(model.inputs, inputs, strict=True)}
    for node in calls(model):
        incoming = [numbers[id(tensor)] for tensor in node.input_tensors]
        if isinstance(node.operation, keras.Sequential | keras.Function):
            outgoing = _open(node.operation, incoming, steps, fresh)
        else:
            outgoing = _append(node, tuple(incoming), steps, fresh)
        numbers |= {id(tensor): number for tensor, number in zip(node.output_tensors, outgoing, strict=True)}
    return [numbers[id(tensor)] for tensor in model.outputs]


def _append(node, inputs: tuple[int, ...], steps: list[Step], fresh: Iterator[int]) -> list[int]:
    rules = rules_of(node.operation) if _is_plain(node) else None
    if rules is None:
        outputs = tuple(next(fresh) for _ in node.output_tensors)
        steps.append(_without_rule(node.operation, lambda x: _call(node, x), inputs, outputs))
        return list(outputs)
    for rule, layer in rules:
        steps.append(Step(rule, layer, inputs, (next(fresh),)))
        inputs = steps[-1].outputs
    return list(inputs)


def _is_plain(node) -> bool:
    """Whether the call has tensors as its only arguments, and no mask of steps in time comes with them."""
    arguments = keras.tree.flatten(node.arguments.args)
    options = all(value in (None, False) for value in node.arguments.kwargs.values())
    masked = any(map(has_mask, node.input_tensors))
    return len(arguments) == len(node.input_tensors) and options and not masked


def _call(node, x):
    tensors = x if len(node.input_tensors) > 1 else [x]
    known = {id(tensor): value for tensor, value in zip(node.input_tensors, tensors, strict=True)}
    args, kwargs = node.arguments.fill_in(known)
    if isinstance(node.operation, keras.Layer):
        kwargs["training"] = False
    return node.operation(*args, **kwargs)


def _without_rule(layer, call: Callable, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> Step:
    return Step(Rule(lambda _, x: call(x), None), layer, inputs, outputs)
