"""Masked layers: equal outputs, exact zeros through training, mixed precision and files, on this backend."""

import keras
import nets
import numpy as np
import pytest

import kerasticket as kt
from kerasticket.backend import autodiff
from kerasticket.models.paths import SEED_STATE, masked_weights, named_variables, raw_params
from kerasticket.params import differing

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


def weights(model) -> dict[str, np.ndarray]:
    """All but seed states, which Keras leaves out of files."""
    return {path: array for path, array in raw_params(model).items() if not path.endswith(SEED_STATE)}


def pruned_values(model) -> np.ndarray:
    """The variables themselves (not the `kernel` property) wherever the mask prunes."""
    mask, raw = kt.get_mask(model), raw_params(model)
    return np.concatenate([raw[path][~array] for path, array in mask.items()])


KINDS = nets.MASKABLE | nets.WRAPPED


def masked(kind: str) -> keras.Model:
    """One layer of that kind with all the masks that it can have, and a masked classifier."""
    return kt.masked(nets.one_layer(kind), where="*")


def test_every_masked_layer_is_tested_here():
    assert [plain.__name__ for plain in kt.layers.MASKED] == list(nets.MASKABLE)


@pytest.mark.parametrize("kind", KINDS)
def test_a_full_mask_changes_nothing(kind):
    model, copy = nets.one_layer(kind), masked(kind)
    kt.set_params(copy, kt.get_params(model))
    x, _ = nets.batch(model)
    np.testing.assert_array_equal(nets.outputs(model, x), nets.outputs(copy, x))
    kernels = [path for path, variable in named_variables(model).items() if len(variable.shape) > 1]
    assert list(kt.get_mask(copy)) == [path for path in kernels if not path.endswith("bias")]
    kinds = {type(layer) for layer in copy._flatten_layers()}
    assert not kinds & set(kt.layers.MASKED)
    assert kind in nets.WRAPPED or {plain.__name__: plain for plain in kt.layers.MASKED}[kind] in {
        plain for plain, held in kt.layers.MASKED.items() if held in kinds
    }


@pytest.mark.parametrize("kind", KINDS)
def test_weights_are_zero_where_pruned_and_untouched_elsewhere(kind):
    model = masked(kind)
    before, mask = kt.get_params(model), nets.half_mask(model)
    kt.set_mask(model, mask)
    for path, held in masked_weights(model).items():
        weight = keras.ops.convert_to_numpy(getattr(held.layer, held.name))
        np.testing.assert_array_equal(weight, np.where(mask[path], before[path], 0))
    assert not pruned_values(model).any()


@pytest.mark.parametrize("kind", KINDS)
def test_pruned_weights_change_no_output_and_have_no_gradient(kind):
    model = masked(kind)
    kt.set_mask(model, nets.half_mask(model))
    x, _ = nets.batch(model, 4)
    expected = model.predict_on_batch(x)
    for held in masked_weights(model).values():
        array = np.array(keras.ops.convert_to_numpy(held.variable.value))
        held.variable.assign(np.where(keras.ops.convert_to_numpy(held.mask.value), array, 3))  # as nothing of ours does
    np.testing.assert_array_equal(model.predict_on_batch(x), expected)

    def loss(*values):
        fixed = [variable.value for variable in model.non_trainable_variables]
        return keras.ops.sum(keras.ops.square(model.stateless_call(list(values), fixed, x, training=False)[0]))

    def outer(values):
        return loss(*values)

    slopes = autodiff.gradient(outer)([variable.value for variable in model.trainable_variables])
    held = {id(one.variable): one for one in masked_weights(model).values()}
    for variable, slope in zip(model.trainable_variables, slopes, strict=True):
        if id(variable) in held:
            mask = keras.ops.convert_to_numpy(held[id(variable)].mask.value)
            slope = keras.ops.convert_to_numpy(slope)
            assert not slope[~mask].any()
            assert slope[mask].any()


@pytest.mark.parametrize("kind", KINDS)
def test_each_layer_trains_with_exact_zeros_and_survives_a_file(kind, tmp_path):
    model = nets.compile_for_test(masked(kind), OPTIMIZERS["sgd"]())
    kt.set_mask(model, nets.half_mask(model))
    x, y = nets.batch(model)
    before = kt.get_params(model)
    model.fit(x, y, epochs=1, batch_size=16, verbose=0)
    assert not pruned_values(model).any()
    assert all((before[path] != array).any() for path, array in kt.get_params(model).items() if array.dtype.kind == "f")
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert not differing(kt.get_mask(model), kt.get_mask(loaded))
    assert not differing(weights(model), weights(loaded))
    plain = kt.strip(loaded)
    assert not kt.get_mask(plain)
    assert not {type(layer) for layer in plain._flatten_layers()} & set(kt.layers.MASKED.values())
    expected = nets.outputs(model, x)
    for other in (loaded, plain):
        np.testing.assert_array_equal(expected, nets.outputs(other, x))
    assert not differing(weights(model), weights(plain))


@pytest.mark.parametrize("kind", ["LSTM", "MultiHeadAttention", "SeparableConv2D"])
def test_a_choice_among_the_weights_of_a_layer_survives_a_file(kind, tmp_path):
    only = {"LSTM": "recurrent_kernel", "MultiHeadAttention": "query/kernel", "SeparableConv2D": "depthwise_kernel"}[
        kind
    ]
    model = kt.masked(nets.one_layer(kind), where=f"*/{only}")
    assert len(kt.get_mask(model)) == 1
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for other in (loaded, keras.models.clone_model(loaded), kt.masked(loaded, where=f"*/{only}")):
        assert list(kt.get_mask(other)) == list(kt.get_mask(model))


BY_HAND = {
    "LSTM": (lambda **chosen: kt.layers.MaskedLSTM(3, **chosen), "lstm_cell/kernel", (2, 4, 5)),
    "SeparableConv1D": (
        lambda **chosen: kt.layers.MaskedSeparableConv1D(3, 2, **chosen),
        "depthwise_kernel",
        (2, 4, 5),
    ),
    "Embedding": (lambda **chosen: kt.layers.MaskedEmbedding(9, 3, **chosen), "embeddings", (2, 4)),
}


@pytest.mark.parametrize("kind", BY_HAND)
def test_layers_by_hand_take_the_names_of_what_is_masked(kind):
    make, weight, shape = BY_HAND[kind]
    layer = make(masked_weights=[weight])
    again = type(layer).from_config(layer.get_config())
    for each in (layer, again):
        each(np.ones(shape, "int32" if kind == "Embedding" else "float32"))
        assert list(masked_weights(each)) == [weight]
    with pytest.raises(ValueError, match=r"masked_weights of .* among.*Received.*wrong"):
        make(masked_weights=["wrong"])(np.ones(shape, "int32" if kind == "Embedding" else "float32"))


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
    with pytest.raises(ValueError, match=r"masked weight of 'layer': \['kernel'\]. Received: weight='bias'"):
        layer.set_mask(np.ones(3, bool), "bias")


class Scaled(keras.layers.Dense):
    """A layer of somebody's own."""

    def call(self, inputs):
        return 2 * super().call(inputs)


@keras.saving.register_keras_serializable(package="tests")
class MaskedScaled(kt.layers.Masked, Scaled):
    """And its masked kind."""


class Loud(kt.layers.MaskedDense):
    def call(self, inputs):
        return 3 * super().call(inputs)


def test_layers_of_ones_own_strip_to_the_class_that_they_mask(recwarn):
    model = kt.masked(keras.Sequential([keras.Input((6,)), MaskedScaled(4), keras.layers.Dense(2, name="out")]))
    kt.set_mask(model, nets.half_mask(model))
    plain = kt.strip(model)
    assert not [str(w.message) for w in recwarn if "stay dense" in str(w.message)]
    assert [type(layer) for layer in plain.layers] == [Scaled, keras.layers.Dense]
    assert list(kt.get_params(plain)) == list(kt.get_params(model))
    x = np.random.default_rng(0).normal(size=(4, 6)).astype("float32")
    np.testing.assert_array_equal(nets.outputs(plain, x), nets.outputs(model, x))
    loud = keras.Sequential([keras.Input((6,)), Loud(4, name="loud")])
    with pytest.raises(ValueError, match=r"'loud' of type Loud, whose methods .* lack: move them"):
        kt.strip(loud)


def test_a_file_tells_what_it_needs_where_its_classes_are_unknown(tmp_path):
    model = kt.masked(nets.mlp())
    config = model.get_layer("hidden").get_build_config()
    assert "import kerasticket before" in config["needs"]
    unknown = keras.saving.serialize_keras_object(model.get_layer("hidden")) | {"registered_name": "unknown>Kind"}
    with pytest.raises(TypeError, match="import kerasticket before the model is loaded"):
        keras.saving.deserialize_keras_object(unknown)


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="state dicts are torch's")
@pytest.mark.parametrize("make", [nets.mlp, nets.nested, nets.subclassed, lambda: nets.one_layer("SeparableConv2D")])
def test_state_dicts_have_the_masks_that_were_set_in_place(make):
    import io

    import torch

    model, again, dense = kt.masked(make()), kt.masked(make()), make()
    kt.set_mask(model, nets.half_mask(model))
    buffer = io.BytesIO()
    torch.save(model.state_dict(), buffer)
    buffer.seek(0)
    state = torch.load(buffer, weights_only=True)
    listed = {key.rpartition("_torch_params.")[2] for key in state}
    assert {variable.path for variable in model.weights} == listed
    assert len(list(model.parameters())) == len(model.weights)
    again.load_state_dict(state)
    assert not differing(kt.get_mask(again), kt.get_mask(model))
    assert not differing(weights(again), weights(model))
    assert set(kt.strip(model).state_dict()) == set(dense.state_dict())


def test_masks_set_in_place_are_listed_as_those_of_a_file(tmp_path):
    model = kt.masked(nets.small_convnet())
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for names in ("weights", "non_trainable_variables", "trainable_variables"):
        ours, theirs = ([v.path for v in getattr(each, names) if "seed" not in v.path] for each in (model, loaded))
        assert ours == theirs
