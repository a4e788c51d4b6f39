"""Which weights have masks: by type, pattern and function; and what is kept dense."""

import keras
import nets
import pytest
from keras import layers

import kerasticket as kt


def mobile() -> keras.Model:
    """Every default: a depthwise and a separable convolution, embeddings, attention, a cell, a nested model."""
    tokens = keras.Input((4,), dtype="int32", name="tokens")
    x = layers.Embedding(9, 6, name="words")(tokens)
    x = layers.MultiHeadAttention(2, 3, name="attend")(x, x)
    x = layers.DepthwiseConv1D(2, name="spread")(x)
    x = layers.SeparableConv1D(6, 2, name="separate")(x)
    x = layers.LSTM(6, name="read")(x)
    return keras.Model(tokens, nets.mlp()(layers.LayerNormalization(name="norm")(x)), name="all_kinds")


ATTENTION = [f"attend/{name}/kernel" for name in ("query", "key", "value", "attention_output")]
LSTM = ["read/lstm_cell/kernel", "read/lstm_cell/recurrent_kernel"]
MLP = ["mlp/hidden/kernel", "mlp/classifier/kernel"]
POINTWISE, DEPTHWISE = "separate/pointwise_kernel", "separate/depthwise_kernel"
EMBEDDINGS = "words/embeddings"
KERNEL = "spread/kernel"
WHERE = {
    "all kernels": (None, [*ATTENTION, POINTWISE, *LSTM, *MLP]),
    "everything": ("*", [EMBEDDINGS, *ATTENTION, KERNEL, DEPTHWISE, POINTWISE, *LSTM, *MLP]),
    "a layer": ("attend", ATTENTION),
    "an inner layer": ("attend/query", ATTENTION[:1]),
    "a weight": ("*/recurrent_kernel", LSTM[1:]),
    "a model": ("mlp", MLP),
    "a depthwise one": ("separate/depthwise*", [DEPTHWISE]),
    "a layer that is dense else": ("words", [EMBEDDINGS]),
    "a type": (layers.Dense, MLP),
    "a type with layers inside": (layers.LSTM, LSTM),
    "a type that is dense else": (layers.DepthwiseConv1D, [KERNEL]),
    "a type of model": (keras.Sequential, MLP),
    "not the projections": ([layers.Dense, "read"], [*LSTM, *MLP]),
    "a function": (lambda layer: layer.name in ("read", "hidden"), [*LSTM, MLP[0]]),
    "all but one": (lambda layer: not isinstance(layer, (layers.LSTM, layers.Embedding)), None),
}


@pytest.mark.parametrize("name", WHERE)
def test_what_is_asked_for_is_masked(name):
    where, expected = WHERE[name]
    expected = [*ATTENTION, KERNEL, POINTWISE, *MLP] if expected is None else expected
    assert list(kt.get_mask(kt.masked(mobile(), where=where))) == expected


DENSE = {
    "first": [POINTWISE, *LSTM, *MLP],
    "last": [*ATTENTION, POINTWISE, *LSTM, MLP[0]],
    ("first", "last"): [POINTWISE, *LSTM, MLP[0]],
    ("read", "*/value/kernel", layers.Dense): [*ATTENTION[:2], ATTENTION[3], POINTWISE],
}


@pytest.mark.parametrize("keep", DENSE)
def test_what_is_kept_dense(keep):
    assert list(kt.get_mask(kt.masked(mobile(), keep_dense=keep))) == DENSE[keep]


def test_masking_again_adds_masks_and_keeps_those_there_are():
    model = kt.masked(mobile(), where="read")
    mask = nets.half_mask(model)
    kt.set_mask(model, mask)
    again = kt.masked(model, where="separate/depthwise_kernel")
    assert list(kt.get_mask(again)) == [DEPTHWISE, *LSTM]
    assert all((kt.get_mask(again)[path] == kept).all() for path, kept in mask.items())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"where": "raed"}, "pattern that matches.*where='raed'. Did you mean .*'read'"),
        ({"where": ["mlp", "norm"]}, r"'norm'. It names \['norm'\] of type \['LayerNormalization'\], which cannot be"),
        (
            {"where": layers.Conv2D},
            "layer type that matches.*where=Conv2D. It has Dense, DepthwiseConv1D, .*SeparableConv1D",
        ),
        ({"where": layers.LayerNormalization}, "where=LayerNormalization. It names.*cannot be masked; Dense"),
        ({"where": lambda layer: False}, "function that matches.*It is true of none"),
        ({"where": []}, "where` to name something"),
        ({"where": 3}, "layer type, a name pattern, a function.*where=3 of type int"),
        ({"keep_dense": "hidden_9"}, "pattern that matches.*keep_dense='hidden_9'"),
        ({"where": "read", "keep_dense": "first"}, r"leave a layer to mask.*keeps all of \['read'\] dense"),
    ],
)
def test_what_matches_nothing_is_refused(options, message):
    if options.get("where") == 3:
        options = {"where": [3]}
    with pytest.raises(ValueError, match=message):
        kt.masked(mobile(), **options)


def test_a_model_of_what_stays_dense_alone_is_refused():
    tokens = keras.Input((4,), dtype="int32", name="tokens")
    with pytest.raises(ValueError, match=r"which has only \['words/embeddings'\], kept dense unless asked for"):
        kt.masked(keras.Model(tokens, layers.Embedding(9, 6, name="words")(tokens), name="words_alone"))
