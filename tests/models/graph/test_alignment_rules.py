"""Channels of recurrent layers, attention, embeddings and layer norms: permuted nets compute the same."""

import keras
import numpy as np
import pytest
from keras import layers
from permutations import TOLERANCE, check_outputs_are_kept, draw, outputs, zeros_at_first  # noqa: F401

import kerasticket as kt
from kerasticket.analysis.alignment import align, permute
from kerasticket.models.graph.alignment_rules import ALIGNED
from kerasticket.models.graph.channels import channel_groups
from kerasticket.models.graph.dead import dead_channels


def between(layer, *, flat: bool = False) -> keras.Model:
    """Dense, the layer, Dense: over 5 steps, or without steps."""
    inputs = keras.Input((3,) if flat else (5, 3), name="inputs")
    return keras.Model(inputs, layers.Dense(2, name="out")(layer(layers.Dense(6, name="before")(inputs))), name="net")


def cross_attention() -> keras.Model:
    """Queries, keys and values from three layers of different width, given by keywords."""
    inputs = keras.Input((5, 3), name="inputs")
    parts = {name: layers.Dense(n, name=name)(inputs) for n, name in ((4, "query"), (6, "key"), (8, "value"))}
    x = layers.MultiHeadAttention(2, 3, output_shape=7, name="cross")(**dict(reversed(parts.items())))
    return keras.Model(inputs, layers.Dense(2, name="out")(x), name="cross_attention")


def transformer() -> keras.Model:
    """A block before its norm, with a residual connection, on embedded tokens."""
    tokens = keras.Input((5,), dtype="int32", name="tokens")
    x = layers.Embedding(11, 8, name="embed")(tokens)
    y = layers.LayerNormalization(name="norm")(x)
    x = layers.Add(name="add")([x, layers.MultiHeadAttention(4, 2, name="attention")(y, y)])
    x = layers.RMSNormalization(name="rms")(layers.UnitNormalization(name="unit")(x))
    return keras.Model(tokens, layers.Dense(2, name="out")(x), name="transformer")


# model -> size of each group: counted by hand
GROUPS = {
    "simple": (lambda: between(layers.SimpleRNN(4, name="rnn")), {"before": 6, "rnn/simple_rnn_cell": 4}),
    "gru": (lambda: between(layers.GRU(4, return_sequences=True, name="gru_")), {"before": 6, "gru_/gru_cell": 4}),
    "gru before": (lambda: between(layers.GRU(4, reset_after=False, name="g")), {"before": 6, "g/gru_cell": 4}),
    "lstm": (lambda: between(layers.LSTM(4, use_bias=False, name="memory")), {"before": 6, "memory/lstm_cell": 4}),
    "layer norm": (lambda: between(layers.LayerNormalization(name="norm")), {"before": 6}),
    "norm of steps": (lambda: between(layers.LayerNormalization(axis=[1, 2], name="norm")), {"before": 6}),
    "flat norm": (lambda: between(layers.LayerNormalization(axis=1, name="norm"), flat=True), {"before": 6}),
    "rms norm": (lambda: between(layers.RMSNormalization(name="norm")), {"before": 6}),
    "cross attention": (
        cross_attention,
        {
            "query": 4,
            "key": 6,
            "value": 8,
            "cross/query": 2,
            "cross/query[2]": 3,
            "cross/value": 3,
            "cross/attention_output": 7,
        },
    ),
    "transformer": (
        transformer,
        {"embed": 8, "attention/query": 4, "attention/query[2]": 2, "attention/value": 2},
    ),
}


@pytest.mark.parametrize("name", GROUPS)
def test_groups_and_outputs(name):
    make, sizes = GROUPS[name]
    model = make()
    assert {name: group.size for name, group in channel_groups(model, rules=ALIGNED).items()} == sizes
    check_outputs_are_kept(model)


@pytest.mark.parametrize("name", ["lstm", "transformer"])
def test_alignment_comes_nearer_and_keeps_outputs(name):
    """All the way back with one hidden group per kernel; heads and the numbers in them hold each other in place."""
    model = kt.masked(GROUPS[name][0]())
    a, rng = draw(model, 0), np.random.default_rng(1)
    groups = channel_groups(model, rules=ALIGNED)
    b = permute(model, a, {name: rng.permutation(group.size) for name, group in groups.items()})
    aligned = align(model, a, b)
    before, after = (sum(((net[path] - a[path]) ** 2).sum() for path in a) for net in (b, aligned))
    assert after == 0 if name == "lstm" else after < before
    for ours, theirs in zip(outputs(model, b), outputs(model, aligned), strict=True):
        np.testing.assert_allclose(theirs, ours, rtol=0, atol=TOLERANCE * np.abs(ours).max())


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (layers.LSTM(4, activation=keras.activations.softmax, name="memory"), "an elementwise activation"),
        (layers.LayerNormalization(axis=1, name="norm"), "a norm over the channels"),
        (layers.LayerNormalization(axis=[1, -1], name="norm"), "a norm over the channels"),  # Keras sorts the axes
        (layers.Bidirectional(layers.LSTM(4, name="memory"), name="both"), "layers through which channels"),
    ],
)
def test_what_has_no_rule_is_refused_by_name(layer, expected):
    with pytest.raises(ValueError, match=f"Expected {expected}.*Received: '{layer.name}'"):
        channel_groups(between(layer), rules=ALIGNED)


@pytest.mark.parametrize("name", ["lstm", "layer norm", "rms norm", "transformer"])
def test_compaction_takes_nothing_out_around_them(name):
    """A norm over channels counts those that are constant, so it would give other numbers without them."""
    model = GROUPS[name][0]()
    params = draw(model, 0)
    kernel = "before/kernel" if "before/kernel" in params else "attention/query/kernel"
    params[kernel][..., 0] = 0
    kt.set_params(model, params)
    assert all(stays.all() for (path, _), stays in dead_channels(model).stay.items() if path.startswith("before"))
