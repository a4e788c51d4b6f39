"""Rules by which channels pass through layers: each keeps outputs, and none fixes more than it must."""

import re

import keras
import nets
import numpy as np
import pytest
from keras import layers, ops
from permutations import check_outputs_are_kept, zeros_at_first  # noqa: F401

import kerasticket as kt
from kerasticket.models.graph.channel_rules import FIXED, IN, OUT, RULES, Walk, is_elementwise
from kerasticket.models.graph.channels import channel_groups

# Outputs of a permuted net are not equal to the bit, as sums over channels run in another order; as a share of the
# largest output they differ by less than this (measured on all models: 2e-6).
CHANNELS = 4


# What a layer under test is called with, where `layer()` and one tensor do not do; positions come before channels.
SIZED = {"Conv": (5, 3), "Masked": (5, 3), "Depthwise": (3,), "AveragePooling": (2,)}


ARGUMENTS = {
    layers.Dense: (5,),
    kt.layers.MaskedDense: (5,),
    layers.EinsumDense: ("abcd,de->abce", (6, 6, 5), "gelu", "e"),
    kt.layers.MaskedEinsumDense: ("...d,de->...e", 5, None, "e"),
    layers.DepthwiseConv1D: (3, 1, "same", 2),
    layers.GroupNormalization: (-1,),
    layers.Reshape: ((36 * CHANNELS,),),
    layers.Activation: ("softplus",),
    layers.GaussianNoise: (0.1,),
    layers.Rescaling: (2.0,),
    **{cls: (0.1,) for cls in RULES if "Dropout" in cls.__name__},
}


MERGES = {layers.Add, layers.Subtract, layers.Multiply, layers.Average, layers.Maximum, layers.Concatenate}


# Groups of channels where they are not that of the Dense before and one of the layer's own if that makes channels.
MAKING = {cls for cls in RULES if re.match("(Masked)?(Dense|Conv|Einsum)", cls.__name__)} - {layers.Concatenate}


COMPARING = {layers.Softmax, layers.Rescaling}


def layer_model(cls: type) -> keras.Model:
    """Dense, the layer, Flatten, Dense."""
    rank = int(re.search(r"(\d)D", cls.__name__)[1]) if re.search(r"\dD", cls.__name__) else 2
    sized = next((values for start, values in SIZED.items() if cls.__name__.startswith(start)), ())
    x = inputs = keras.Input((6,) * rank + (2,), name="inputs")
    before = [layers.Dense(CHANNELS, name=f"before_{i}")(x) for i in range(2 if cls in MERGES else 1)]
    layer = cls(*ARGUMENTS.get(cls, sized), name="layer")
    x = layer(before if cls in MERGES else before[0])
    if len(x.shape) > 2:
        x = layers.Flatten(name="flatten_after")(x)
    return keras.Model(inputs, layers.Dense(3, name="logits")(x), name="one_layer")


@pytest.mark.parametrize("cls", RULES, ids=lambda cls: f"{cls.__module__.split('.')[0]}.{cls.__name__}")
def test_every_rule_keeps_outputs_and_fixes_no_more_than_it_must(cls):
    model = layer_model(cls)
    before = {layers.Concatenate: 2}.get(cls, 0 if cls in COMPARING else 1)
    assert len(channel_groups(model)) == before + (cls in MAKING)
    check_outputs_are_kept(model)


def on_images(*stack, **inputs) -> keras.Model:
    """Conv, the layers, mean, Dense."""
    x = images = keras.Input(**({"shape": (6, 6, 2)} | inputs), name="images")
    for layer in (layers.Conv2D(4, 3, name="conv"), *stack, layers.GlobalMaxPooling2D(name="max")):
        x = layer(x)
    return keras.Model(images, layers.Dense(3, name="logits")(x), name="refused")


def with_call(layer: layers.Layer, *others, **arguments) -> keras.Model:
    """The layer called on a Dense of 4 units and on further arguments made from it."""
    x = inputs = keras.Input((6, 2), name="inputs")
    x = layers.Dense(4, name="before")(x)
    y = layer(*[x, *(other(x) for other in others)], **{name: make(x) for name, make in arguments.items()})
    return keras.Model(inputs, layers.Dense(3, name="logits")(y), name="refused")


def with_lora() -> keras.Model:
    model = nets.mlp()
    model.get_layer("hidden").enable_lora(2)
    return model


class Reversing(layers.Dense):
    """A subclass that changes the order of its outputs."""

    def call(self, inputs):
        return super().call(inputs)[..., ::-1]


REFUSED = {
    "subclassed": ("Sequential or functional.*Subclassed 'subclassed'", nets.subclassed),
    "not built": ("Expected a built", lambda: keras.Sequential([layers.Dense(3, name="dense")])),
    "no model": ("Expected a built", lambda: layers.Dense(3)),
    "unknown layer": (
        r"followed \(.*\)\. Received: 'turned' of type Permute",
        lambda: on_images(layers.Permute((2, 1, 3), name="turned")),
    ),
    "subclass of a layer": ("'back' of type Reversing", lambda: on_images(Reversing(4, name="back"))),
    "operation": ("operations through which.*of type Flip", lambda: with_call(lambda x: ops.flip(x, -1))),
    "groups": ("without groups.*'g'.*groups=2", lambda: on_images(layers.Conv2D(4, 3, groups=2, name="g"))),
    "norm of groups": (
        "each channel by itself.*groups=2",
        lambda: on_images(layers.GroupNormalization(2, name="g")),
    ),
    "norm of another axis": (
        "channels on the last axis.*'norm'",
        lambda: on_images(layers.BatchNormalization(axis=1, name="norm")),
    ),
    "channels first": (
        "channels on the last axis.*'pool'",
        lambda: on_images(layers.MaxPooling2D(2, data_format="channels_first", name="pool")),
    ),
    "flatten channels first": (
        "channels on the last axis.*'flatten'",
        lambda: with_call(layers.Flatten(data_format="channels_first", name="flatten")),
    ),
    "channels that differ by position": (
        "same at every position.*'mixed'",
        lambda: on_images(layers.Reshape((4, 8, 2), name="folded"), layers.Conv2D(3, 1, name="mixed")),
    ),
    "sides that are not known": (
        "known sides.*'folded'",
        lambda: on_images(layers.Reshape((-1, 2, 8), name="folded"), shape=(None, 6, 2)),
    ),
    "activation of another kind": (
        "elementwise activation.*'act'.*lambda",
        lambda: with_call(layers.Activation(lambda x: x[..., ::-1], name="act")),
    ),
    "einsum over several axes": (
        "EinsumDense that acts on the last axis.*'einsum'",
        lambda: with_call(layers.EinsumDense("abc,cde->abde", (6, 2, 3), name="einsum")),
    ),
    "einsum with biases by position": (
        "EinsumDense that acts on the last axis",
        lambda: with_call(layers.EinsumDense("abc,cd->abd", (6, 3), bias_axes="bd", name="einsum")),
    ),
    "concatenation of positions": (
        "Concatenate along channels.*axis=1",
        lambda: with_call(lambda x: layers.Concatenate(axis=1, name="concatenate")([x, x])),
    ),
    "norm of a part": (
        "called on one tensor.*'norm'.*on 2",
        lambda: with_call(
            layers.BatchNormalization(name="norm"), mask=layers.GlobalMaxPooling1D(keepdims=True, name="m")
        ),
    ),
    "further weights": ("weights that Keras builds them with.*lora", with_lora),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_followed_is_refused(kind):
    message, make = REFUSED[kind]
    with pytest.raises(ValueError, match=message):
        channel_groups(make())


def test_an_axis_has_its_labels_at_every_call_and_no_two_axes_share_one():
    model = nets.mlp()
    walk, hidden = Walk(model), model.get_layer("hidden")
    read, made = walk.axis(hidden.kernel, -2, IN), walk.axis(hidden.kernel, -1, OUT)
    assert [len(read), len(made)] == [6, 8]
    assert FIXED not in {*read, *made}
    assert not {*read} & {*made}
    assert walk.axis(hidden.kernel, 1, OUT) is made  # counted from either end
    walk.tie_vectors([None, hidden.bias], made, OUT)
    assert walk.ties[-1].tolist() == [walk.axis(hidden.bias, 0, OUT).tolist(), made.tolist()]
    assert walk.unseen(hidden) == []
    assert walk.unseen(model.get_layer("classifier")) == ["classifier/kernel", "classifier/bias"]


@pytest.mark.parametrize("name", ["relu", "gelu", "softmax", "log_softmax"])
def test_what_is_called_elementwise_commutes_with_permutations_and_depends_on_nothing_else(name):
    activation = getattr(keras.activations, name)
    x = np.random.default_rng(0).normal(size=(1, 5)).astype("float32")
    alone = [float(ops.convert_to_numpy(activation(ops.convert_to_tensor(x[:, i : i + 1])))[0, 0]) for i in range(5)]
    together = ops.convert_to_numpy(activation(ops.convert_to_tensor(x)))[0]
    assert is_elementwise(activation) == np.allclose(alone, together, atol=1e-6)
