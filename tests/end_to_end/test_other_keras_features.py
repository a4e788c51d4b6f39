"""Masks beside the rest of Keras: every way to copy a model keeps them, precision too; quantization and LoRA do not."""

import copy
import pickle

import keras
import nets
import numpy as np
import pytest
from keras import layers

import kerasticket as kt
from kerasticket.models.paths import raw_params
from kerasticket.params import differing


def sequences(name: str = "sequences") -> keras.Model:
    """EinsumDense, attention, an LSTM and Dense: layers that are masked themselves, and inside others."""
    inputs = keras.Input((2, 6), name="inputs")
    x = layers.EinsumDense("abc,cd->abd", (None, 4), name="project")(inputs)
    x = layers.MultiHeadAttention(1, 4, name="attention")(x, x)
    x = layers.LSTM(3, name="memory")(x)
    return keras.Model(inputs, layers.Dense(5, name="classifier")(x), name=name)


BUILDS = {"functional": nets.small_convnet, "sequential": nets.mlp, "nested": nets.nested, "sequences": sequences}


def compiled(model: keras.Model) -> keras.Model:
    """Ready for a few steps, which on TensorFlow take less than tracing them."""
    eager = keras.config.backend() == "tensorflow"
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), loss, run_eagerly=eager)
    return model


def train(model: keras.Model, **options) -> keras.callbacks.History:
    return model.fit(*nets.batch(model, 8), batch_size=4, verbose=0, **options)


def pruned(build) -> tuple[keras.Model, dict[str, np.ndarray]]:
    """A trained, half-pruned model, and its mask."""
    model = compiled(kt.masked(build()))
    mask = nets.half_mask(model)
    kt.set_mask(model, mask)
    train(model)
    return model, mask


def outputs(model: keras.Model) -> np.ndarray:
    x, _ = nets.batch(model, 4)
    return keras.ops.convert_to_numpy(model(x, training=False))


def is_held(model: keras.Model, mask: dict[str, np.ndarray]) -> bool:
    """The model has this mask, and the pruned weights themselves are zero."""
    raw = raw_params(model)
    return not differing(kt.get_mask(model), mask) and not any(raw[path][~kept].any() for path, kept in mask.items())


def cloned(model, folder, build):
    clone = keras.models.clone_model(model)  # layers alone: Keras copies neither weights nor, then, masks
    clone.set_weights(model.get_weights())
    return clone


def saved(model, folder, build):
    model.save(folder / "model.keras")
    return keras.saving.load_model(folder / "model.keras")


def by_weights(model, folder, build):
    model.save_weights(folder / "only.weights.h5")
    other = kt.masked(build())
    other.load_weights(folder / "only.weights.h5")
    return other


def by_config(model, folder, build):
    other = type(model).from_config(model.get_config())
    other.set_weights(model.get_weights())
    return other


def by_json(model, folder, build):
    other = keras.models.model_from_json(model.to_json())
    other.set_weights(model.get_weights())
    return other


def checkpointed(model, folder, build):
    checkpoint = keras.callbacks.ModelCheckpoint(folder / "best.keras", monitor="loss", save_best_only=True)
    train(model, callbacks=[checkpoint])
    return keras.saving.load_model(folder / "best.keras")


def checkpointed_weights(model, folder, build):
    checkpoint = keras.callbacks.ModelCheckpoint(folder / "last.weights.h5", save_weights_only=True)
    train(model, callbacks=[checkpoint])
    other = kt.masked(build())
    other.load_weights(folder / "last.weights.h5")
    return other


COPIES = {
    "clone_model": cloned,
    "deepcopy": lambda model, folder, build: copy.deepcopy(model),
    "pickle": lambda model, folder, build: pickle.loads(pickle.dumps(model)),
    "save": saved,
    "save_weights": by_weights,
    "get_config": by_config,
    "to_json": by_json,
    "masked": lambda model, folder, build: kt.masked(model),
    "ModelCheckpoint": checkpointed,
    "ModelCheckpoint, weights": checkpointed_weights,
}


CASES = [(way, "nested") for way in COPIES] + [("save", build) for build in BUILDS]


@pytest.mark.parametrize(("way", "build"), dict.fromkeys(CASES))
def test_copies_have_the_masks(way, build, tmp_path):
    model, mask = pruned(BUILDS[build])
    twin = COPIES[way](model, tmp_path, BUILDS[build])
    assert twin is not model
    assert is_held(twin, mask)
    np.testing.assert_array_equal(outputs(twin), outputs(model))
    before = kt.get_params(model)
    train(compiled(twin))
    assert is_held(twin, mask)
    assert not differing(kt.get_params(model), before)  # nothing is shared


class Killed(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 2:
            raise KeyboardInterrupt


@pytest.mark.parametrize("build", ["nested", "sequences"])
def test_a_training_that_is_restored_goes_on_with_its_masks(build, tmp_path):
    model, mask = pruned(BUILDS[build])
    with pytest.raises(KeyboardInterrupt):
        train(model, epochs=4, callbacks=[keras.callbacks.BackupAndRestore(tmp_path / "b"), Killed()])
    again = compiled(kt.masked(BUILDS[build]()))
    history = train(again, epochs=4, callbacks=[keras.callbacks.BackupAndRestore(tmp_path / "b")])
    assert history.epoch == [2, 3]
    assert is_held(again, mask)


@pytest.fixture
def dtype_policy():
    previous = keras.config.dtype_policy()
    yield keras.config.set_dtype_policy
    keras.config.set_dtype_policy(previous)


PRECISIONS = [(policy, "nested") for policy in ("mixed_bfloat16", "mixed_float16", "bfloat16")]


@pytest.mark.parametrize(("policy", "build"), [*PRECISIONS, ("mixed_bfloat16", "sequences")])
def test_low_precision_holds_masks(policy, build, dtype_policy, tmp_path):
    dtype_policy(policy)
    model, mask = pruned(BUILDS[build])
    assert is_held(model, mask)
    assert {layer.dtype_policy.name for layer in model.layers[1:]} == {policy}
    twin = saved(model, tmp_path, BUILDS[build])
    assert is_held(twin, mask)
    np.testing.assert_array_equal(outputs(twin), outputs(model))


QUANTIZED = {
    "int8": lambda layer: layer.quantize("int8"),
    "int4": lambda layer: layer.quantize("int4"),
    "float8": lambda layer: layer.quantize("float8"),
    "a policy": lambda layer: setattr(layer, "dtype_policy", "int8_from_float32"),
}


@pytest.mark.parametrize("way", QUANTIZED)
def test_a_masked_layer_is_not_quantized(way):
    model, mask = pruned(nets.mlp)
    before = raw_params(model)
    with pytest.raises(ValueError, match="without masks to quantize.*'hidden'.*strip"):
        QUANTIZED[way](model.get_layer("hidden"))
    assert is_held(model, mask)
    assert not differing(raw_params(model), before)


@pytest.mark.parametrize("build", ["functional", "sequential", "sequences"])
def test_a_masked_model_is_not_quantized_and_stays_as_it_is(build):
    model, mask = pruned(BUILDS[build])
    before = outputs(model)
    with pytest.raises(ValueError, match="without masks to quantize"):
        model.quantize("int8")
    assert is_held(model, mask)
    np.testing.assert_array_equal(outputs(model), before)


@pytest.mark.parametrize("mode", ["int8", "int4"])
def test_what_is_pruned_stays_zero_in_a_stripped_model_that_is_quantized(mode):
    model, mask = pruned(nets.mlp)
    plain = kt.strip(model)
    plain.quantize(mode)
    head = plain.get_layer("classifier")
    responses = head(np.eye(8, dtype="float32")) - head.bias  # row by row, what each weight gives
    effective = keras.ops.convert_to_numpy(responses)
    assert not effective[~mask["classifier/kernel"]].any()
    assert effective[mask["classifier/kernel"]].any()
    assert np.isfinite(outputs(plain)).all()


def test_a_quantized_model_takes_no_masks():
    model = nets.mlp()
    model.quantize("int8")
    with pytest.raises(ValueError, match="not quantized.*int8"):
        kt.masked(model)


@pytest.mark.parametrize("build", ["functional", "sequential", "sequences"])
def test_no_masked_layer_takes_lora(build):
    model, mask = pruned(BUILDS[build])
    for path in mask:
        layer = next(one for one in model._flatten_layers() if one.name == path.split("/")[-2])
        if hasattr(layer, "lora_enabled"):
            with pytest.raises(ValueError, match="without LoRA"):
                layer.enable_lora(2)
    assert is_held(model, mask)


def test_lora_from_the_beginning_is_refused_too():
    layer = kt.layers.MaskedDense(4, name="layer")
    with pytest.raises(ValueError, match="without LoRA"):
        layer.enable_lora(2)
    layer = kt.layers.MaskedDense(4, lora_rank=2, name="layer")
    with pytest.raises(ValueError, match="without LoRA"):
        layer.build((None, 3))
    model = nets.mlp()
    model.get_layer("hidden").enable_lora(2)
    with pytest.raises(ValueError, match="without LoRA"):
        kt.masked(model)


def test_a_stripped_model_takes_lora():
    model, _ = pruned(nets.mlp)
    plain = kt.strip(model)
    plain.get_layer("hidden").enable_lora(2)
    np.testing.assert_allclose(outputs(plain), outputs(model), rtol=1e-5, atol=1e-6)


def test_layers_without_masks_may_be_quantized():
    model = compiled(kt.masked(nets.mlp(), keep_dense="last"))
    mask = nets.half_mask(model)
    kt.set_mask(model, mask)
    model.quantize("int8", filters="classifier")
    assert model.get_layer("classifier").quantization_mode == "int8"
    assert is_held(model, mask)
    assert np.isfinite(outputs(model)).all()
