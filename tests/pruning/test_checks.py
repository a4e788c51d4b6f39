"""What callbacks ask of a model: masks, an optimizer, and no averages that would bring weights back."""

import keras
import nets
import pytest

import kerasticket as kt
from kerasticket.pruning.checks import check_model

pytestmark = pytest.mark.same_on_every_backend


def masked(optimizer) -> keras.Model:
    return nets.compile_for_test(kt.masked(nets.mlp()), optimizer)


def test_a_masked_model_with_an_optimizer_passes():
    check_model(masked("sgd"))
    check_model(masked(keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD())))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nets.compile_for_test(nets.mlp()), "Expected a model with masked layers"),
        (lambda: kt.masked(nets.mlp()), "Received: 'mlp', which has none. Compile the model with an optimizer"),
        (lambda: masked(keras.optimizers.Adam(use_ema=True)), r"Received: Adam\(use_ema=True\)"),
        (lambda: masked(keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(use_ema=True))), "without use_ema"),
    ],
)
def test_others_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        check_model(make())
