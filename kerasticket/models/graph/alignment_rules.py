"""Channels that may change places, but of which none can be taken out while the others stay as they are.

The units of a recurrent cell feed each other, heads of attention are reshaped by sizes that lie in the layer, and a
norm over channels counts those that are constant. So alignment asks for these rules, and compaction does not.
"""

import keras
import numpy as np
from keras import layers

from kerasticket.backend.keras_internals import attention_axes, projections, variable_of
from kerasticket.layers.composite import plain_kind
from kerasticket.layers.masked import MASKED
from kerasticket.layers.traits import NORMS_OVER_CHANNELS, TRAITS
from kerasticket.models.graph.calls import Shape
from kerasticket.models.graph.channel_rules import (
    IN,
    OUT,
    RULES,
    SCALE,
    Rule,
    Signal,
    Walk,
    channels_of_input,
    is_elementwise,
    kernel_of,
    only_input,
    refusal,
    spread,
)


def _recurrent(walk: Walk, layer, inputs: list[Signal], shape: Shape) -> np.ndarray:
    """Units lie once for each gate on the last axis of both kernels, and are read again by the recurrent one."""
    cell, gates = layer.cell, TRAITS[plain_kind(layer.cell)].gates
    if layer.return_state or len(inputs) != 1:
        raise refusal(layer, "a recurrent layer that is called on one tensor, without states")
    for name in ("activation", "recurrent_activation"):
        if not is_elementwise(getattr(cell, name, keras.activations.linear)):
            raise refusal(layer, f"an elementwise {name} of keras.activations")
    walk.tie(walk.axis(variable_of(cell, "kernel"), 0, IN), channels_of_input(layer, inputs))
    units = walk.axis(variable_of(cell, "kernel"), 1, OUT)[: cell.units]
    recurrent = variable_of(cell, "recurrent_kernel")
    walk.tie(walk.axis(recurrent, 0, IN), units)
    vectors = [(variable_of(cell, "kernel"), 1), (recurrent, 1)]
    vectors += [] if cell.bias is None else [(cell.bias, len(cell.bias.shape) - 1)]
    for variable, axis in vectors:
        walk.tie(walk.axis(variable, axis, OUT).reshape(gates, cell.units), units)
    return spread(units, shape)


def _attention(walk: Walk, layer, inputs: list[Signal], shape: Shape) -> np.ndarray:
    """Heads may change places, and so may the numbers of each head: of queries and keys, of values and outputs.

    The numbers within heads are permuted alike in all heads.
    """
    if attention_axes(layer) not in (None, (1,)) or len(shape) != 2:
        raise refusal(layer, "attention over one axis of sequences (batch, time, channels)")
    query, key, value, output = (projections(layer)[name] for name in ("query", "key", "value", "output"))
    signals = _by_argument(walk, layer, inputs)
    heads, inner = walk.axis(kernel_of(query), 1, OUT), walk.axis(kernel_of(query), 2, OUT)
    carried = walk.axis(kernel_of(value), 2, OUT)
    for name, dense, numbers in (("query", query, inner), ("key", key, inner), ("value", value, carried)):
        walk.tie(walk.axis(kernel_of(dense), 0, IN), channels_of_input(layer, [signals[name]]))
        _tie_heads(walk, dense, heads, numbers)
    walk.tie(walk.axis(kernel_of(output), 0, IN), heads)
    walk.tie(walk.axis(kernel_of(output), 1, IN), carried)
    made = walk.axis(kernel_of(output), 2, OUT)
    walk.tie_vectors([output.bias], made, OUT)
    return spread(made, shape)


def _layer_norm(walk: Walk, layer, inputs: list[Signal], shape: Shape) -> np.ndarray:
    """Statistics over all channels are the same in any order of these; gamma and beta move with them."""
    labels, sides = only_input(layer, inputs)
    last = [axis in (-1, len(sides)) for axis in np.atleast_1d(layer.axis).tolist()]
    if last != sorted(last) or sum(last) != 1 or any(side != 1 for side in labels.shape[:-1]):
        raise refusal(layer, "a norm over the channels, which are on the last axis", f" It has axis={layer.axis}.")
    channels = np.broadcast_to(labels.ravel(), sides[-1:])
    for vector in (getattr(layer, name, None) for name in ("gamma", "beta", "scale")):
        if isinstance(vector, keras.Variable):  # `scale` of RMSNormalization; that of others is a flag
            walk.tie(walk.axis(vector, -1, SCALE), channels)
    return labels


def _by_argument(walk: Walk, layer, inputs: list[Signal]) -> dict[str, Signal]:
    """The signals that are query, value and key; whatever else depends on channels, such as a mask, keeps its place."""
    signals = {id(tensor): signal for tensor, signal in zip(walk.call.input_tensors, inputs, strict=True)}
    given = walk.call.arguments
    named = dict(zip(("query", "value", "key"), given.args, strict=False)) | given.kwargs
    named["key"] = named["value"] if named.get("key") is None else named["key"]
    chosen = {name: signals[id(named[name])] for name in ("query", "value", "key")}
    for signal in signals.values():  # one for each tensor, though a tensor may be given twice
        if all(signal is not other for other in chosen.values()):
            walk.fix(signal.labels)
    return chosen


def _tie_heads(walk: Walk, dense, heads: np.ndarray, numbers: np.ndarray) -> None:
    for variable, axis in ((kernel_of(dense), 1), *([] if dense.bias is None else [(dense.bias, 0)])):
        walk.tie(walk.axis(variable, axis, OUT), heads)
        walk.tie(walk.axis(variable, axis + 1, OUT), numbers)


def _embedding(walk: Walk, layer, inputs: list[Signal], shape: Shape) -> np.ndarray:
    for signal in inputs:
        walk.fix(signal.labels)
    vectors = variable_of(layer, "embeddings")
    (rows,), (numbers,) = TRAITS[plain_kind(layer)].axes(layer, "embeddings")
    walk.fix(walk.axis(vectors, rows, IN))
    return spread(walk.axis(vectors, numbers, OUT), shape)


_PLAIN: dict[type, Rule] = {
    **dict.fromkeys((layers.SimpleRNN, layers.GRU, layers.LSTM), _recurrent),
    layers.MultiHeadAttention: _attention,
    layers.Embedding: _embedding,
}
# What alignment follows channels through; compaction and coupled channels keep to `RULES`.
ALIGNED: dict[type, Rule] = (
    RULES
    | dict.fromkeys(NORMS_OVER_CHANNELS, _layer_norm)
    | _PLAIN
    | {MASKED[cls]: rule for cls, rule in _PLAIN.items()}
)
