"""Multiply-accumulates: how often a forward pass uses each entry of each kernel, from the shapes in the graph."""

from collections.abc import Callable, Iterator
from typing import Any

import keras
from keras import layers

from kerasticket.backend.keras_internals import projections, variable_of
from kerasticket.layers.composite import plain_kind
from kerasticket.layers.traits import TRAITS, product
from kerasticket.models.graph.calls import Shape, has_graph, shapes, through
from kerasticket.models.paths import named_variables

Uses = Iterator[tuple[keras.Variable, int | None]]


def uses(model: keras.Model) -> dict[str, int]:
    """How often one example uses each entry of a weight, by canonical path: so many multiply-accumulates each.

    A Dense kernel is used once, one of a convolution at every position of its output. Positions in the padding count,
    as they do in the usual tables. Kernels, recurrent kernels and projections of attention are counted, lookups in
    embeddings are 0; biases, norms and the products of attention among themselves are not. Paths are absent where the
    number is not known: of layers that are neither in `layers.traits` nor in `AROUND`, behind sides of unknown length,
    and all of them in a subclassed model.

    >>> image = keras.Input((8, 8, 3))
    >>> uses(keras.Sequential([image, keras.layers.Conv2D(2, 3, strides=2, padding="same", name="conv")]))
    {'conv/kernel': 16}
    """
    if not has_graph(model):
        return {}
    paths = {id(variable): path for path, variable in named_variables(model).items()}
    found: dict[str, int | None] = {}

    def visit(call, _):
        inputs, outputs = shapes(call.input_tensors), shapes(call.output_tensors)
        for variable, times in _of_layer(call.operation, inputs, outputs[0]):
            before = found.get(paths[id(variable)], 0)
            found[paths[id(variable)]] = None if times is None or before is None else before + times
        return [None] * len(outputs)

    through(model, [None] * len(model.inputs), visit)
    return {path: times for path, times in found.items() if times is not None}


def _of_layer(layer: Any, inputs: list[Shape], output: Shape) -> Uses:
    kind = plain_kind(layer)  # by exact type: a subclass may do anything
    if kind in TRAITS:
        for name, weight in TRAITS[kind].weights.items():
            yield variable_of(layer, name), weight.uses(layer, inputs[0], output)
    elif kind in AROUND:
        yield from AROUND[kind](layer, inputs, output)


def _recurrent(layer, inputs: list[Shape], output: Shape) -> Uses:
    steps, *features = inputs[0]
    cells = getattr(layer.cell, "cells", [layer.cell])
    for cell in cells if all(plain_kind(cell) in TRAITS for cell in cells) else ():
        for variable, times in _of_layer(cell, [tuple(features)], output):
            yield variable, product(times, steps)


def _bidirectional(layer, inputs: list[Shape], output: Shape) -> Uses:
    yield from _of_layer(layer.forward_layer, inputs, output)
    yield from _of_layer(layer.backward_layer, inputs, output)


def _time_distributed(layer, inputs: list[Shape], output: Shape) -> Uses:
    for variable, times in _of_layer(layer.layer, [shape[1:] for shape in inputs], output[1:]):
        yield variable, product(times, output[0])


def _attention(layer, inputs: list[Shape], output: Shape) -> Uses:
    query, value = (product(*shape[:-1]) for shape in inputs[:2])  # keys are as many as values
    found = projections(layer)
    for projection, times in (("query", query), ("value", value), ("key", value), ("output", query)):
        yield variable_of(found[projection], "kernel"), times


# Layers that hold others, and how often they call these.
AROUND: dict[type, Callable[[Any, list[Shape], Shape], Uses]] = {
    **dict.fromkeys((layers.SimpleRNN, layers.GRU, layers.LSTM, layers.RNN), _recurrent),
    layers.Bidirectional: _bidirectional,
    layers.TimeDistributed: _time_distributed,
    **dict.fromkeys((layers.MultiHeadAttention, layers.GroupQueryAttention), _attention),
}
