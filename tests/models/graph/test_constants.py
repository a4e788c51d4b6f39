"""Which channels are constant, by hand: what each kernel is given, and where a constant ends to be one."""

import keras
import numpy as np
import pytest
from keras import layers

import kerasticket as kt
from kerasticket.backend.keras_internals import calls
from kerasticket.models.graph import channel_rules, constants
from kerasticket.models.graph.constants import Constants

pytestmark = pytest.mark.same_on_every_backend


def sequential(shape, *stack) -> keras.Model:
    return keras.Sequential([keras.Input(shape), *stack], name="net")


def reading(model: keras.Model, name: str, unknown=()) -> tuple[list, list]:
    """What the kernel of a layer is given: values, None where they vary, and whether each folds."""
    found = Constants(model, set(unknown)).readings[id(model.get_layer(name).kernel)]
    return [None if np.isnan(value) else round(float(value), 5) for value in found.values], found.folds.tolist()


def dead_first(model: keras.Model, bias: list[float], name: str = "first", channels=(0,)) -> keras.Model:
    """All weights of these channels are zero, so that they are their biases."""
    layer = model.get_layer(name)
    kernel = np.ones(layer.kernel.shape, "float32")
    kernel[..., list(channels)] = 0
    layer.kernel.assign(kernel)
    layer.bias.assign(np.array(bias, "float32"))
    return model


def test_a_channel_without_weights_is_what_activation_and_norm_make_of_its_bias():
    stack = [layers.Dense(3, activation="relu", name="first"), layers.BatchNormalization(name="norm")]
    model = dead_first(sequential((2,), *stack, layers.Dense(2, name="second")), [0.5, 1, -1])
    norm = model.get_layer("norm")
    norm.moving_mean.assign([0.1, 0, 0])
    norm.moving_variance.assign([0.16 - norm.epsilon, 1, 1])
    norm.gamma.assign([2, 1, 1])
    norm.beta.assign([3, 0, 0])
    assert reading(model, "second") == ([2 * (0.5 - 0.1) / 0.4 + 3, None, None], [True, False, False])
    negative = dead_first(model, [-0.5, 1, -1])
    assert reading(negative, "second")[0][0] == round(2 * (0 - 0.1) / 0.4 + 3, 5)


def test_a_constant_goes_on_through_what_reads_it_alone():
    stack = [layers.Dense(2, name="first"), layers.Dense(2, name="second"), layers.Dense(1, name="third")]
    model = dead_first(sequential((2,), *stack), [0.5, 0])
    model.get_layer("second").kernel.assign([[4, 4], [0, 1]])
    model.get_layer("second").bias.assign([1, 1])
    assert reading(model, "third") == ([3, None], [True, False])


def test_zeros_of_the_border_are_no_constant_but_zero_is():
    stack = [layers.Conv2D(3, 2, name="first"), layers.Conv2D(2, 3, padding="same", name="second")]
    model = sequential((6, 6, 1), *stack, layers.Conv2D(1, 1, padding="same", name="third"))
    dead_first(model, [0.5, 0, 1], channels=(0, 1))
    assert reading(model, "second") == ([0.5, 0, None], [False, True, False])
    dead_first(model, [7, 8], "second", channels=(0, 1))
    assert reading(model, "third") == ([7, 8], [True, True])  # a window of one place sees no border


def test_softmax_and_calls_with_settings_vary():
    stack = [layers.Dense(2, activation="softmax", name="first"), layers.Dense(1, name="second")]
    assert reading(dead_first(sequential((2,), *stack), [1, 1], channels=(0, 1)), "second")[0] == [None, None]
    inputs = keras.Input((2,))
    x = layers.Dropout(0.5, name="always")(layers.Dense(2, name="first")(inputs), training=True)
    model = dead_first(keras.Model(inputs, layers.Dense(1, name="second")(x)), [1, 1], channels=(0, 1))
    assert reading(model, "second")[0] == [None, None]


def test_calls_that_are_not_followed_vary():
    model = dead_first(sequential((2,), layers.Dense(2, name="first"), layers.Dense(1, name="second")), [1, 1])
    first = {id(call) for call in calls(model) if call.operation.name == "first"}
    assert reading(model, "second", first)[0] == [None, None]
    assert reading(model, "second")[0] == [1, None]


def test_a_kernel_that_is_called_twice_has_what_both_calls_agree_on():
    inputs = keras.Input((2,))
    first, other, shared = layers.Dense(3, name="first"), layers.Dense(3, name="other"), layers.Dense(1, name="shared")
    model = keras.Model(inputs, layers.Add(name="add")([shared(first(inputs)), shared(other(inputs))]))
    dead_first(model, [1, 2, 3], channels=(0, 1, 2))
    dead_first(model, [1, 5, 3], "other", channels=(0, 1))
    assert reading(model, "shared") == ([1, None, None], [True, False, False])


def test_flattened_positions_and_joined_branches_keep_their_values():
    inputs = keras.Input((3, 3, 1))
    a = layers.Conv2D(2, 3, name="first")(inputs)
    b = layers.MaxPooling2D(3, name="pool")(inputs)
    x = layers.Flatten(name="flatten")(layers.Concatenate(name="both")([a, b]))
    model = dead_first(keras.Model(inputs, layers.Dense(1, name="out")(x)), [0.5, 1])
    assert reading(model, "out")[0] == [0.5, None, None]


def test_every_layer_through_which_channels_go_has_a_rule_for_constants():
    plain = {kind for kind in channel_rules.RULES if not issubclass(kind, kt.layers.Masked)}
    assert plain - set(constants.CONSTANTS) == {layers.Softmax, layers.Rescaling}  # what they make varies
