"""The AlexNet of MTT: its shapes from convolution to convolution, and the smallest image."""

import keras
import numpy as np
import pytest

from kerasticket.models import alexnet
from kerasticket.models.paths import raw_params
from kerasticket.params import differing

pytestmark = pytest.mark.same_on_every_backend


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return alexnet((32, 32, 3), 10, seed=3)


def test_shapes_are_those_of_the_paper(model):
    made = {layer.name: layer.output.shape[1:] for layer in model.layers}
    assert [made[f"conv_{index}"] for index in range(1, 6)] == [
        (32, 32, 128),
        (16, 16, 192),
        (8, 8, 256),
        (8, 8, 192),
        (8, 8, 192),
    ]
    assert {name for name in made if name.startswith("pool")} == {"pool_1", "pool_2", "pool_5"}
    assert made["flatten"] == (4 * 4 * 192,)
    sizes = [model.get_layer(f"conv_{index}").kernel.shape[:2] for index in range(1, 6)]
    assert sizes == [(5, 5), (5, 5), (3, 3), (3, 3), (3, 3)]


def test_nothing_is_normalized_and_everything_has_a_bias(model):
    assert {variable.name for variable in model.variables} == {"kernel", "bias"}
    assert len(model.variables) == 12


def test_layers_of_one_shape_draw_apart_and_the_seed_fixes_all(model):
    net = raw_params(model)
    assert not np.array_equal(net["conv_4/bias"], net["conv_5/bias"])
    other = raw_params(alexnet((32, 32, 3), 10, seed=3, name="other"))
    assert not differing(net, other)


def test_eight_pixels_are_the_least():
    assert alexnet((8, 15, 1)).get_layer("flatten").output.shape == (None, 192)
    with pytest.raises(ValueError, match=r"at least 8x8 pixels.*Received: input_shape=\(8, 7, 1\)"):
        alexnet((8, 7, 1))
