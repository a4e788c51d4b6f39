"""Multiply-accumulates: how often a forward pass uses each entry of each kernel, from the shapes in the graph."""

import math
import re
from collections.abc import Callable, Iterator
from typing import Any

import keras
from keras import layers

from kerasticket.layers.composite import plain_kind
from kerasticket.layers.masked import variable_of
from kerasticket.models.graph.calls import Shape, has_graph, shapes, through
from kerasticket.models.paths import named_variables

Uses = Iterator[tuple[keras.Variable, int | None]]


def uses(model: keras.Model) -> dict[str, int]:
    """How often one example uses each entry of a weight, by canonical path: so many multiply-accumulates each.

    A Dense kernel is used once, one of a convolution at every position of its output. Positions in the padding count,
    as they do in the usual tables. Kernels, recurrent kernels and projections of attention are counted, lookups in
    embeddings are 0; biases, norms and the products of attention among themselves are not. Paths are absent where the
    number is not known: of layers without an entry in `USES`, behind sides of unknown length, and all of them in a
    subclassed model.

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
    rule = USES.get(plain_kind(layer))
    return rule(layer, inputs, output) if rule else iter(())


def _times(*sides: int | None) -> int | None:
    return None if None in sides else math.prod(sides)  # type: ignore[arg-type]


def _positions(layer, shape: Shape) -> int | None:
    """Places in an image or sequence, whichever axis its channels are on."""
    return _times(*(shape[1:] if getattr(layer, "data_format", None) == "channels_first" else shape[:-1]))


def _at_outputs(layer, inputs: list[Shape], output: Shape) -> Uses:
    yield variable_of(layer, "kernel"), _positions(layer, output)


def _at_inputs(layer, inputs: list[Shape], output: Shape) -> Uses:
    yield variable_of(layer, "kernel"), _positions(layer, inputs[0])


def _separable(layer, inputs: list[Shape], output: Shape) -> Uses:
    yield variable_of(layer, "depthwise_kernel"), _positions(layer, output)
    yield variable_of(layer, "pointwise_kernel"), _positions(layer, output)


def _einsum(layer, inputs: list[Shape], output: Shape) -> Uses:
    operands, result = re.sub(r"[. ]", "", layer.equation).split("->")
    kernel = variable_of(layer, "kernel")
    made = [side for side, letter in zip(kernel.shape, operands.split(",")[1], strict=True) if letter in result]
    all_of_it = _times(*output)
    yield kernel, None if all_of_it is None else all_of_it // math.prod(made)


def _embedding(layer, inputs: list[Shape], output: Shape) -> Uses:
    yield variable_of(layer, "embeddings"), 0


def _recurrent(layer, inputs: list[Shape], output: Shape) -> Uses:
    cells = getattr(layer.cell, "cells", [layer.cell])
    for cell in cells if all(plain_kind(cell) in _CELLS for cell in cells) else ():
        yield variable_of(cell, "kernel"), inputs[0][0]
        yield variable_of(cell, "recurrent_kernel"), inputs[0][0]


def _bidirectional(layer, inputs: list[Shape], output: Shape) -> Uses:
    yield from _of_layer(layer.forward_layer, inputs, output)
    yield from _of_layer(layer.backward_layer, inputs, output)


def _time_distributed(layer, inputs: list[Shape], output: Shape) -> Uses:
    for variable, times in _of_layer(layer.layer, [shape[1:] for shape in inputs], output[1:]):
        yield variable, None if times is None else _times(times, output[0])


def _attention(layer, inputs: list[Shape], output: Shape) -> Uses:
    query, value = (_times(*shape[:-1]) for shape in inputs[:2])  # keys are as many as values
    for projection, times in (("query", query), ("value", value), ("key", value), ("output", query)):
        yield variable_of(getattr(layer, f"_{projection}_dense"), "kernel"), times


USES: dict[type, Callable[[Any, list[Shape], Shape], Uses]] = {
    layers.Dense: _at_outputs,
    layers.EinsumDense: _einsum,
    **{getattr(layers, f"Conv{n}D"): _at_outputs for n in (1, 2, 3)},
    **{getattr(layers, f"Conv{n}DTranspose"): _at_inputs for n in (1, 2, 3)},
    **{getattr(layers, f"DepthwiseConv{n}D"): _at_outputs for n in (1, 2)},
    **{getattr(layers, f"SeparableConv{n}D"): _separable for n in (1, 2)},
    layers.Embedding: _embedding,
    **dict.fromkeys((layers.SimpleRNN, layers.GRU, layers.LSTM, layers.RNN), _recurrent),
    layers.Bidirectional: _bidirectional,
    layers.TimeDistributed: _time_distributed,
    **dict.fromkeys((layers.MultiHeadAttention, layers.GroupQueryAttention), _attention),
}
_CELLS = (layers.SimpleRNNCell, layers.GRUCell, layers.LSTMCell)
