"""InstanceNormalization: its values, its precision, its configuration and its second derivatives."""

import keras
import numpy as np
import pytest
from keras import ops

import kerasticket as kt
from kerasticket.backend import autodiff
from kerasticket.layers.normalization import InstanceNormalization

RNG = np.random.default_rng(0)


def by_hand(x: np.ndarray, epsilon: float = 1e-5) -> np.ndarray:
    positions = tuple(range(1, x.ndim - 1))
    return (x - x.mean(positions, keepdims=True)) / np.sqrt(x.var(positions, keepdims=True) + epsilon)


@pytest.mark.parametrize("shape", [(2, 9, 3), (2, 4, 5, 3), (2, 3, 4, 2, 3)], ids=["3d", "4d", "5d"])
def test_values_equal_the_formula(shape):
    """Mean and variance are taken over all axes but batch and channels."""
    x = RNG.normal(2.0, 3.0, shape).astype("float32")
    np.testing.assert_allclose(ops.convert_to_numpy(InstanceNormalization()(x)), by_hand(x), atol=2e-6)


def test_gamma_and_beta_scale_and_shift():
    """Outputs are gamma times the normalized input plus beta."""
    x = RNG.normal(size=(2, 4, 4, 2)).astype("float32")
    layer = InstanceNormalization()
    layer.build(x.shape)
    layer.gamma.assign([2.0, 3.0])
    layer.beta.assign([-1.0, 1.0])
    expected = by_hand(x) * [2.0, 3.0] + [-1.0, 1.0]
    np.testing.assert_allclose(ops.convert_to_numpy(layer(x)), expected, atol=1e-5)


@pytest.mark.parametrize(("center", "scale"), [(True, True), (True, False), (False, True), (False, False)])
def test_options_survive_the_configuration(center, scale):
    """A layer rebuilt from its configuration has the same options, weights and outputs."""
    layer = InstanceNormalization(epsilon=1e-3, center=center, scale=scale, name="norm")
    model = keras.Sequential([keras.Input((4, 4, 2)), layer], name="model")
    twin = keras.Sequential.from_config(model.get_config())
    assert twin.layers[0].get_config() == layer.get_config()
    assert len(layer.weights) == len(twin.layers[0].weights) == center + scale
    x = RNG.normal(size=(2, 4, 4, 2)).astype("float32")
    np.testing.assert_array_equal(ops.convert_to_numpy(model(x)), ops.convert_to_numpy(twin(x)))


def test_it_is_saved_and_loaded(tmp_path):
    """A model file opens without custom objects."""
    model = keras.Sequential([keras.Input((4, 4, 2)), InstanceNormalization(name="norm")], name="model")
    model.layers[0].gamma.assign([2.0, 3.0])
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(ops.convert_to_numpy(loaded.layers[0].gamma), [2.0, 3.0])


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_statistics_are_float32_under_mixed_precision(policy):
    """Squares that overflow or vanish in half precision do not: only the result is rounded."""
    x = RNG.normal(300.0, 200.0, (2, 16, 16, 3)).astype("float32")
    half = ops.cast(x, keras.DTypePolicy(policy).compute_dtype)
    outputs = InstanceNormalization(dtype=policy)(half)
    assert keras.backend.standardize_dtype(outputs.dtype) == keras.DTypePolicy(policy).compute_dtype
    expected = by_hand(ops.convert_to_numpy(ops.cast(half, "float32")))
    np.testing.assert_allclose(ops.convert_to_numpy(ops.cast(outputs, "float32")), expected, atol=2e-2)


def test_a_large_mean_costs_no_digits():
    """A standard deviation of 1 on a mean of 1,000 is still seen in float32."""
    x = (RNG.normal(size=(2, 32, 32, 3)) + 1e3).astype("float32")
    expected = by_hand(x.astype("float64"))
    np.testing.assert_allclose(ops.convert_to_numpy(InstanceNormalization()(x)), expected, atol=5e-3)


def test_a_constant_channel_gives_zero():
    """Where there is nothing to normalize, the output is beta."""
    assert np.all(ops.convert_to_numpy(InstanceNormalization()(np.full((2, 4, 4, 3), 0.3, "float32"))) == 0)


@pytest.mark.parametrize("shape", [(None, 3), (None, 4, 4, None), (None, 2, 2, 2, 2, 3)])
def test_shapes_without_positions_or_channels_are_refused(shape):
    """The error names the shape that was expected and the one that came."""
    with pytest.raises(ValueError, match="positions"):
        InstanceNormalization().build(shape)


def test_a_zero_epsilon_is_refused():
    """Constant channels would give NaN."""
    with pytest.raises(ValueError, match="epsilon > 0"):
        InstanceNormalization(epsilon=0.0)


def shift_curvature(layer: keras.layers.Layer) -> float:
    """|H 1| / |H v| of sum(tanh(layer(x))): 0, as adding a constant to x changes nothing; v is random."""
    x, vector = RNG.normal(size=(2, 2, 4, 4, 3)).astype("float32")
    layer.build(x.shape)
    product = autodiff.hvp(lambda inputs: ops.sum(ops.tanh(layer(inputs))))
    shifted, other = (ops.convert_to_numpy(product(x, v)) for v in (np.ones_like(x), vector))
    return float(np.linalg.norm(shifted) / np.linalg.norm(other))


def test_second_derivatives_know_that_a_shift_changes_nothing():
    """The Hessian has the constant in its null space (finite differences, in float64: test_autodiff.py)."""
    assert shift_curvature(InstanceNormalization()) < 1e-4


@pytest.mark.skipif(keras.config.backend() != "tensorflow", reason="JAX and torch have Keras' layer right")
def test_why_not_keras_group_normalization():
    """Keras' layer takes its variance around stop_gradient(mean) on TensorFlow: its Hessian is wrong."""
    assert shift_curvature(keras.layers.GroupNormalization(groups=-1, epsilon=1e-5)) > 0.05


def test_integers_are_normalized_and_masks_end_at_the_pooling():
    """Bytes would lose what is negative; a mask of all positions does not fit the pooled ones."""
    pixels = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3), np.uint8)
    norm = kt.layers.InstanceNormalization(name="norm")
    expected = keras.ops.convert_to_numpy(norm(pixels.astype("float32")))
    np.testing.assert_allclose(keras.ops.convert_to_numpy(norm(pixels)), expected, atol=1e-5)
    assert norm.supports_masking
    assert not kt.layers.InstanceNormalization(pool_size=2, name="pooled").supports_masking
