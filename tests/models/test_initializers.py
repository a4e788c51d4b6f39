"""Initial weights by NumPy: pinned draws, the spread of each kind, and weights that draw apart."""

import math

import keras
import numpy as np
import pytest
from keras import ops

from kerasticket.models.initializers import SeededInitializer, glorot_normal, he_fan_out, torch_default


def test_seeded_draws_are_those_of_numpy():
    """One draw, pinned by hand: the same on every backend and NumPy release that the package claims."""
    draw = SeededInitializer("uniform", 1.0, seed=0, key="conv_1/kernel")((3,), "float32")
    np.testing.assert_allclose(ops.convert_to_numpy(draw), [0.23680437, 0.11215565, -0.2544428], atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"distribution": "cauchy", "spread": 1.0}, "distribution"),
        ({"distribution": "normal", "spread": 0.0}, "spread > 0"),
        ({"distribution": "normal", "spread": 1.0, "seed": -1}, "seed >= 0"),
    ],
)
def test_the_initializer_refuses(arguments, message):
    """Each error names the argument."""
    with pytest.raises(ValueError, match=message):
        SeededInitializer(**arguments)


def test_initializers_survive_their_configuration():
    """Keras rebuilds them from their registered name."""
    initializer = glorot_normal(3, 4, 0, "dense_1")
    twin = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(initializer))
    np.testing.assert_array_equal(ops.convert_to_numpy(initializer((5,))), ops.convert_to_numpy(twin((5,))))


def drawn(initializer, shape=(200, 200)) -> np.ndarray:
    return ops.convert_to_numpy(initializer(shape))


@pytest.mark.parametrize(
    ("initializer", "deviation"),
    [
        (torch_default(27, 0, "conv")["kernel_initializer"], 1 / math.sqrt(3 * 27)),
        (torch_default(27, 0, "conv")["bias_initializer"], 1 / math.sqrt(3 * 27)),  # the fan of the layer, not its own
        (he_fan_out(18, 0, "conv"), 1 / 3),
        (glorot_normal(20, 30, 0, "dense"), 1 / 5),
    ],
)
def test_each_kind_has_its_spread_and_mean_0(initializer, deviation):
    values = drawn(initializer)
    assert values.std() == pytest.approx(deviation, rel=0.02)
    assert abs(values.mean()) < 4 * deviation / 200
    normal = np.abs(values).max() > 3 * deviation
    assert normal == (initializer.distribution == "normal")


def test_seed_and_key_tell_weights_apart_and_the_shape_goes_on_from_the_same_draws():
    first = SeededInitializer("normal", 1.0, 0, "a/kernel")
    others = [SeededInitializer("normal", 1.0, seed, key) for seed, key in ((0, "b/kernel"), (1, "a/kernel"), (0, ""))]
    assert not any(np.isclose(drawn(first), drawn(other)).mean() > 0.01 for other in others)
    np.testing.assert_array_equal(drawn(first, (4,)), drawn(first, (2, 2)).ravel())
    assert first((2,), "float16").dtype in ("float16", keras.ops.zeros((), "float16").dtype)
