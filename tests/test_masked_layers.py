"""Masked layers: equal outputs, exact zeros through training, mixed precision and files, on this backend."""

import keras
import nets
import numpy as np
import pytest

import kerasticket as kt
from kerasticket.variables import masked_layers, raw_params

OPTIMIZERS = {
    "sgd": lambda: keras.optimizers.SGD(0.1, momentum=0.9),
    "kerasticket": lambda: kt.optimizers.SGD(0.1, momentum=0.9, l2=5e-4),
    "adam": lambda: keras.optimizers.Adam(0.01),
    "adamw": lambda: keras.optimizers.AdamW(0.01, weight_decay=0.1),
    "rmsprop": lambda: keras.optimizers.RMSprop(0.01, momentum=0.9, centered=True),
    "adagrad": lambda: keras.optimizers.Adagrad(0.01),
    "lion": lambda: keras.optimizers.Lion(0.01),
    "nadam": lambda: keras.optimizers.Nadam(0.01),
}


def pruned_values(model) -> np.ndarray:
    """The variables themselves (not the `kernel` property) wherever the mask prunes."""
    mask, raw = kt.get_mask(model), raw_params(model)
    return np.concatenate([raw[path][~array] for path, array in mask.items()])


@pytest.mark.parametrize("kind", nets.MASKABLE)
def test_a_full_mask_changes_nothing(kind):
    model = nets.one_layer(kind)
    masked = kt.masked(model)
    x, _ = nets.batch(model)
    assert type(masked.get_layer("layer")) is kt.layers.MASKED[type(model.get_layer("layer"))]
    np.testing.assert_array_equal(model.predict(x, verbose=0), masked.predict(x, verbose=0))


@pytest.mark.parametrize("kind", nets.MASKABLE)
def test_the_kernel_is_zero_where_pruned_and_untouched_elsewhere(kind):
    model = kt.masked(nets.one_layer(kind))
    before = kt.get_params(model)
    mask = nets.half_mask(model)
    kt.set_mask(model, mask)
    for path, layer in masked_layers(model).items():
        kernel = keras.ops.convert_to_numpy(layer.kernel)
        np.testing.assert_array_equal(kernel, np.where(mask[path], before[path], 0))
    assert not pruned_values(model).any()


@pytest.mark.parametrize("kind", nets.MASKABLE)
def test_each_layer_trains_with_exact_zeros_and_survives_a_file(kind, tmp_path):
    model = nets.compile_for_test(kt.masked(nets.one_layer(kind)), OPTIMIZERS["sgd"]())
    kt.set_mask(model, nets.half_mask(model))
    x, y = nets.batch(model)
    before = kt.get_params(model)
    model.fit(x, y, epochs=2, batch_size=16, verbose=0)
    assert not pruned_values(model).any()
    assert all((before[path] != array).any() for path, array in kt.get_params(model).items())
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(model.predict(x, verbose=0), loaded.predict(x, verbose=0))
    assert not pruned_values(loaded).any()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_pruned_weights_stay_exactly_zero_with_every_optimizer(name):
    model = nets.compile_for_test(kt.masked(nets.small_convnet()), OPTIMIZERS[name]())
    x, y = nets.batch(model)
    model.fit(x, y, epochs=1, batch_size=8, verbose=0)  # slots are warm when the mask arrives
    kt.set_mask(model, nets.half_mask(model))
    model.fit(x, y, epochs=2, batch_size=8, verbose=0)
    assert pruned_values(model).size > 50
    assert not pruned_values(model).any()


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_exact_zeros_under_mixed_precision(policy):
    previous = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        model = nets.compile_for_test(kt.masked(nets.small_convnet()), OPTIMIZERS["adamw"]())
    finally:
        keras.config.set_dtype_policy(previous)
    kt.set_mask(model, nets.half_mask(model))
    x, y = nets.batch(model)
    model.fit(x, y, epochs=2, batch_size=8, verbose=0)
    assert raw_params(model)["conv/kernel"].dtype == np.float32
    assert not pruned_values(model).any()


def test_a_mask_set_between_fits_takes_effect_without_compiling_again():
    model = nets.compile_for_test(kt.masked(nets.mlp()), OPTIMIZERS["sgd"]())
    x, y = nets.batch(model)
    model.fit(x, y, epochs=1, verbose=0)
    kt.set_mask(model, {path: np.zeros_like(mask) for path, mask in kt.get_mask(model).items()})
    model.fit(x, y, epochs=1, verbose=0)
    assert not pruned_values(model).any()
    predictions = model.predict(x, verbose=0)
    np.testing.assert_array_equal(predictions, np.broadcast_to(predictions[0], predictions.shape))


def test_masked_layers_work_by_hand_in_a_subclassed_model():
    @keras.saving.register_keras_serializable(package="tests")
    class Net(keras.Model):
        def __init__(self):
            super().__init__()
            self.hidden = kt.layers.MaskedDense(8, name="hidden")
            self.out = kt.layers.MaskedDense(5, name="out")

        def call(self, inputs):
            return self.out(keras.ops.relu(self.hidden(inputs)))

    model = nets.compile_for_test(Net(), OPTIMIZERS["adam"]())
    model(np.zeros((1, 6), "float32"))
    assert list(kt.get_mask(model)) == ["hidden/kernel", "out/kernel"]
    kt.set_mask(model, nets.half_mask(model))
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(32, 6)), np.eye(5)[rng.integers(0, 5, 32)]
    model.fit(x, y, epochs=2, verbose=0)
    assert not pruned_values(model).any()


def test_a_layer_refuses_a_mask_of_another_shape_or_kind():
    layer = kt.layers.MaskedDense(3, name="layer")
    layer.build((None, 2))
    with pytest.raises(ValueError, match=r"shape \(2, 3\).*Received"):
        layer.set_mask(np.ones((3, 2), bool))
    with pytest.raises(ValueError, match="boolean"):
        layer.set_mask(np.ones((2, 3)))
