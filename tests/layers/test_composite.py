"""Masks on built layers in place, layers that mask what is inside them, and the classes on both sides."""

import keras
import numpy as np
import pytest
from keras import layers

from kerasticket.layers import MASKED, Masked, MaskedDense, MaskedLSTM
from kerasticket.layers.composite import hold, is_class_name, masked_kind, plain_kind, release
from kerasticket.layers.convolution import TrainingConv2D

pytestmark = pytest.mark.same_on_every_backend


class Scaled(layers.Dense):
    """A user's layer."""


class MaskedScaled(Masked, Scaled):
    """It with a mask, which is all that is added."""


class Loud(MaskedDense):
    """A masked layer that does more."""

    def call(self, inputs):
        return 3 * super().call(inputs)


@pytest.mark.parametrize(
    ("make", "masked", "plain"),
    [
        (lambda: layers.Dense(2), MaskedDense, layers.Dense),
        (lambda: MaskedDense(2), MaskedDense, layers.Dense),
        (lambda: layers.ReLU(), None, layers.ReLU),
        (lambda: Scaled(2), None, Scaled),  # a subclass may do anything with its kernel
        (lambda: MaskedScaled(2), MaskedScaled, Scaled),
        (lambda: Loud(2), Loud, Loud),
        (lambda: layers.LSTM(2), None, layers.LSTM),  # its cell is masked
        (lambda: MaskedLSTM(2), None, layers.LSTM),
        (lambda: TrainingConv2D(2, 3), None, layers.Conv2D),
    ],
)
def test_the_class_with_masks_and_the_class_without(make, masked, plain):
    layer = make()
    assert masked_kind(layer) is masked
    assert plain_kind(layer) is plain


def test_names_of_a_class_with_and_without_masks_are_its_own():
    for layer in (layers.Dense(2), MaskedDense(2)):
        assert is_class_name("dense", layer)
        assert is_class_name("maskeddense", layer)
        assert not is_class_name("conv2d", layer)
    assert is_class_name("maskedscaled", Scaled(2))
    assert not is_class_name("dense", Scaled(2))


def built(layer: layers.Layer, shape=(None, 3)) -> layers.Layer:
    layer.build(shape)
    return layer


def test_a_layer_is_held_in_place_and_released_with_its_zeros():
    layer = built(layers.Dense(2, kernel_initializer="ones"))
    variable = layer.kernel
    hold(layer, ["kernel"])
    assert type(layer) is MaskedDense
    (held,) = layer.held
    assert held.variable is variable
    assert keras.ops.convert_to_numpy(held.mask.value).all()
    held.set_mask(np.array([[True, False]] * 3))
    release(layer)
    assert type(layer) is layers.Dense
    assert layer.kernel is variable
    assert keras.ops.convert_to_numpy(variable.value).tolist() == [[1, 0]] * 3
    assert [weight.name for weight in layer.weights] == ["kernel", "bias"]
    hold(layer, ["kernel"])  # and once more
    assert len(layer.held) == 1


def test_weights_are_held_one_after_the_other_and_nothing_for_none():
    layer = built(layers.SeparableConv1D(2, 3), (None, 8, 3))
    hold(layer, [])
    assert type(layer) is layers.SeparableConv1D
    hold(layer, ["pointwise_kernel"])
    hold(layer, ["depthwise_kernel"])
    assert {one.name for one in layer.held} == {"depthwise_kernel", "pointwise_kernel"}


def test_methods_of_ones_own_are_not_taken_away():
    release(layers.ReLU())  # without masks: nothing to do
    with pytest.raises(ValueError, match=r"'loud' of type Loud, whose methods a layer without masks would lack"):
        release(built(Loud(2, name="loud")))


def test_what_is_masked_inside_is_chosen_by_the_name_of_the_inner_layer():
    whole = built(MaskedLSTM(2), (None, 4, 3))
    assert {one.name for one in whole.cell.held} == {"kernel", "recurrent_kernel"}
    assert "masked_weights" not in whole.get_config()
    part = built(MaskedLSTM(2, masked_weights=["lstm_cell/recurrent_kernel"]), (None, 4, 3))
    assert {one.name for one in part.cell.held} == {"recurrent_kernel"}
    again = built(MaskedLSTM.from_config(part.get_config()), (None, 4, 3))
    assert {one.name for one in again.cell.held} == {"recurrent_kernel"}
    none = built(MaskedLSTM(2, masked_weights=()), (None, 4, 3))
    assert type(none.cell) is layers.LSTMCell
    with pytest.raises(ValueError, match=r"among \['lstm_cell/kernel', .*Received: \['kernel'\]"):
        built(MaskedLSTM(2, masked_weights=["kernel"]), (None, 4, 3))


def test_every_masked_class_leads_back_to_its_own():
    for plain, masked in MASKED.items():
        assert plain_kind(object.__new__(masked)) is plain
