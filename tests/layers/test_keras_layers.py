"""The masked classes of Keras' layers: one for each, registered, and what each masks of itself."""

import keras
import nets
import pytest

import kerasticket as kt
from kerasticket.layers import MASKED

pytestmark = pytest.mark.same_on_every_backend


@pytest.mark.parametrize("plain", MASKED, ids=lambda kind: kind.__name__)
def test_each_has_the_name_of_its_layer_and_is_registered(plain):
    masked = MASKED[plain]
    name = masked.__name__.removeprefix("Masked")
    assert getattr(keras.layers, name) is plain  # the public name
    assert issubclass(masked, plain)
    assert getattr(kt.layers, masked.__name__) is masked
    assert keras.saving.get_registered_object(f"kerasticket>{masked.__name__}") is masked
    assert masked.__doc__.startswith(f"`keras.layers.{name}`")


BY_DEFAULT = {
    "Dense": ["layer/kernel"],
    "DepthwiseConv2D": [],
    "SeparableConv2D": ["layer/pointwise_kernel"],
    "Embedding": [],
    "GRU": ["layer/gru_cell/kernel", "layer/gru_cell/recurrent_kernel"],
    "MultiHeadAttention": [f"layer/{name}/kernel" for name in ("query", "key", "value", "attention_output")],
}


@pytest.mark.parametrize("kind", BY_DEFAULT)
def test_what_is_masked_unless_asked_for(kind):
    masked = kt.get_mask(kt.masked(nets.one_layer(kind)))
    assert sorted(masked) == sorted([*BY_DEFAULT[kind], "classifier/kernel"])
