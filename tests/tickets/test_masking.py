"""Masks on whole models: Sequential, nested and shared layers; paths that are the same on every build."""

import importlib.util
import os
import subprocess
import sys

import keras
import nets
import numpy as np
import pytest
from keras import layers

import kerasticket as kt
from kerasticket.models.paths import named_variables, raw_params
from kerasticket.params import same_bits
from kerasticket.tickets import optimizer_state

MODELS = {"functional": nets.small_convnet, "sequential": nets.mlp, "nested": nets.nested}


@pytest.mark.parametrize("name", MODELS)
def test_masking_keeps_names_weights_and_outputs(name):
    model = MODELS[name]()
    masked = kt.masked(model)
    x, _ = nets.batch(model)
    np.testing.assert_array_equal(model.predict(x, verbose=0), masked.predict(x, verbose=0))
    assert masked.name == model.name
    assert [layer.name for layer in masked.layers] == [layer.name for layer in model.layers]
    assert raw_params(masked).keys() == raw_params(model).keys()
    assert kt.sparsity(masked) == 0


@pytest.mark.parametrize("name", MODELS)
def test_strip_is_plain_and_bit_equal(name):
    model = kt.masked(MODELS[name]())
    kt.set_mask(model, nets.half_mask(model))
    plain = kt.strip(model)
    x, _ = nets.batch(model)
    np.testing.assert_array_equal(model.predict(x, verbose=0), plain.predict(x, verbose=0))
    assert not kt.get_mask(plain)
    for path, mask in kt.get_mask(model).items():
        assert not raw_params(plain)[path][~mask].any()


@pytest.mark.parametrize("name", MODELS)
def test_paths_are_the_same_for_a_second_build_a_clone_and_a_file(name, tmp_path):
    model = kt.masked(MODELS[name]())
    layers.Dropout(0.5)  # moves Keras' global counters on
    again = kt.masked(MODELS[name]())
    clone = keras.models.clone_model(again)
    again.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for other in (again, clone, loaded):
        assert list(kt.get_params(other)) == list(kt.get_params(model))
        assert list(kt.get_mask(other)) == list(kt.get_mask(model))


def test_flat_paths_are_those_of_keras():
    model = nets.small_convnet()
    assert [p for p in named_variables(model) if "seed" not in p] == [v.path for v in model.weights]
    assert "drop/seed_generator_state" in named_variables(model)


def test_nested_paths_name_the_inner_model_and_a_shared_layer_once():
    mask = kt.get_mask(kt.masked(nets.nested()))
    assert list(mask) == ["shared/kernel", "mlp/hidden/kernel", "mlp/classifier/kernel"]


def test_masking_twice_keeps_the_masks():
    model = kt.masked(nets.mlp())
    kt.set_mask(model, nets.half_mask(model))
    again = kt.masked(model)
    for path, array in kt.get_mask(model).items():
        np.testing.assert_array_equal(kt.get_mask(again)[path], array)


def test_set_mask_masks_warm_optimizer_slots():
    model = nets.compile_for_test(kt.masked(nets.mlp()), keras.optimizers.Adam())
    x, y = nets.batch(model)
    model.fit(x, y, verbose=0)
    kt.set_mask(model, nets.half_mask(model))
    state = optimizer_state.get_state(model)
    for path, mask in kt.get_mask(model).items():
        for slot in ("momentum", "velocity"):
            assert not state[f"{path}:{slot}"][~mask].any()
            assert state[f"{path}:{slot}"][mask].any()


def test_an_absent_path_is_kept_whole():
    model = kt.masked(nets.mlp())
    kt.set_mask(model, {"hidden/kernel": np.zeros((6, 8), bool)})
    assert kt.get_mask(model)["classifier/kernel"].all()
    assert kt.sparsity(model) == 48 / 88


class OwnKernel(layers.Dense):
    """What a subclass does with its kernel nobody knows."""


def of_own_kind() -> keras.Model:
    stack = [keras.Input((6,), name="features"), OwnKernel(6, name="own"), layers.LayerNormalization(name="norm")]
    return keras.Sequential([*stack, layers.Dense(5, name="classifier")], name="own_kind")


def test_a_kernel_that_its_wrapper_assigns_stays_dense(tmp_path):
    """SpectralNormalization writes into the kernel of its layer, and could not be loaded with a masked one."""
    wrapped = layers.SpectralNormalization(layers.Dense(5, name="inside"), name="spectral")
    model = keras.Sequential([keras.Input((6,)), wrapped, layers.Dense(3, name="out")])
    with pytest.warns(UserWarning, match=r"stay dense: \['spectral/inside/kernel'\]"):
        masked = kt.masked(model)
    assert list(kt.get_mask(masked)) == ["out/kernel"]
    masked.save(tmp_path / "spectral.keras")
    x = np.ones((2, 6), "float32")
    loaded = keras.saving.load_model(tmp_path / "spectral.keras")
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), masked.predict(x, verbose=0))
    with pytest.raises(ValueError, match="spectral"):
        kt.masked(model, where="spectral*")


def test_what_cannot_be_masked_is_named():
    with pytest.warns(UserWarning, match=r"cannot be masked and stay dense: \['own/kernel'\]"):
        masked = kt.masked(of_own_kind())
    assert list(kt.get_mask(masked)) == ["classifier/kernel"]


def without_kernels() -> keras.Model:
    return keras.Sequential([keras.Input((3,)), layers.LayerNormalization(name="norm")])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (without_kernels, "at least one layer of.*Dense"),
        (lambda: keras.Sequential([layers.Dense(2, name="dense_out")]), "built model"),
        (lambda: "model", "keras.Model"),
    ],
)
def test_models_that_cannot_be_masked_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        kt.masked(make())


def test_duplicate_paths_are_refused():
    class Twice(keras.layers.Layer):
        def build(self, input_shape):
            self.one = self.add_weight(name="w", shape=(2,))
            self.two = self.add_weight(name="w", shape=(2,))

        def call(self, inputs):
            return inputs

    model = keras.Sequential([keras.Input((2,)), Twice(name="twice"), layers.Dense(2, name="out")])
    with pytest.raises(ValueError, match="'twice/w' twice"):
        kt.masked(model)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        ({"hidden/kernel": np.ones((8, 6), bool)}, r"shape \(6, 8\).*Received.*\(8, 6\)"),
        ({"hidden/kernel": np.ones((6, 8))}, "boolean"),
        ({"hidden/bias": np.ones(8, bool)}, "not masked in the model.*hidden/bias"),
    ],
)
def test_bad_masks_are_refused_and_change_nothing(mask, message):
    model = kt.masked(nets.mlp())
    with pytest.raises(ValueError, match=message):
        kt.set_mask(model, {"classifier/kernel": np.zeros((8, 5), bool)} | mask)
    assert kt.sparsity(model) == 0


def test_an_unmasked_model_is_refused():
    with pytest.raises(ValueError, match=r"kerasticket\.masked\(model\)"):
        kt.sparsity(nets.mlp())


def test_params_of_another_model_are_refused():
    with pytest.raises(ValueError, match="paths that the model lacks: 'conv/kernel'"):
        kt.set_params(nets.mlp(), kt.get_params(nets.small_convnet()))


def run_python(code: str, **environment: str) -> str:
    """Standard output of a new Python process."""
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, env=os.environ | environment, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_a_stripped_network_opens_without_kerasticket(tmp_path):
    kt.strip(kt.masked(kt.models.resnet10((8, 8, 3), 5, width=4, seed=0))).save(tmp_path / "plain.keras")
    code = (
        f"import sys, keras; keras.saving.load_model({str(tmp_path / 'plain.keras')!r}); "
        "assert not any(m.startswith('kerasticket') for m in sys.modules)"
    )
    run_python(code)


@pytest.mark.parametrize("imports", ["import keras, kerasticket", "import kerasticket, keras"])
def test_plain_load_model_opens_masked_networks_whatever_is_imported_first(imports, tmp_path):
    model = kt.masked(kt.models.convnet((8, 8, 3), 5, width=4, seed=0))
    model.save(tmp_path / "masked.keras")
    run_python(f"{imports}; keras.saving.load_model({str(tmp_path / 'masked.keras')!r})")


OTHER_BACKENDS = [name for name in ("tensorflow", "jax", "torch") if name != keras.backend.backend()]


@pytest.mark.parametrize("other", OTHER_BACKENDS)
def test_tickets_saved_here_load_on_another_backend(other, tmp_path):
    """One process there reads the tickets of all models."""
    if importlib.util.find_spec(other) is None:
        pytest.skip(f"{other} is not installed")
    tickets = {}
    for name, build in MODELS.items():
        model = kt.masked(build())
        tickets[name] = model, kt.Ticket.dense(model).pruned(nets.half_mask(model), {"name": "half"})
        tickets[name][1].save(tmp_path / f"{name}.keras")
        np.savez(tmp_path / f"{name}_x.npz", x=nets.batch(model)[0])
    code = f"""
import os, keras, numpy as np, kerasticket as kt
assert keras.backend.backend() == {other!r}
for name in {list(MODELS)}:
    path = os.path.join({str(tmp_path)!r}, name)
    ticket, x = kt.Ticket.load(path + ".keras"), np.load(path + "_x.npz")["x"]
    masks = {{"mask|" + path: array for path, array in ticket.mask.items()}}
    y = keras.saving.load_model(path + ".keras").predict(x, verbose=0)
    np.savez(path + "_there.npz", **ticket.params, **masks, y=y)
"""
    run_python(code, KERAS_BACKEND=other)
    for name, (model, ticket) in tickets.items():
        there = dict(np.load(tmp_path / f"{name}_there.npz"))
        for path, array in ticket.params.items():
            assert same_bits(there[path], array), path
        for path, array in ticket.mask.items():
            assert same_bits(there["mask|" + path], array), path
        ticket.apply(model)
        here = model.predict(nets.batch(model)[0], verbose=0)
        np.testing.assert_allclose(here, there["y"], atol=1e-4, rtol=1e-4)


def test_adapted_normalization_keeps_its_outputs():
    inputs = keras.Input((6,), name="features")
    norm = layers.Normalization(name="norm")
    x = np.random.default_rng(0).normal(3, 2, (64, 6)).astype("float32")
    norm.adapt(x)
    model = keras.Model(inputs, layers.Dense(5, name="classifier")(norm(inputs)), name="adapted")
    expected = model.predict(x, verbose=0)
    masked = kt.masked(model)
    np.testing.assert_array_equal(masked.predict(x, verbose=0), expected)
    np.testing.assert_array_equal(kt.strip(masked).predict(x, verbose=0), expected)


def test_copies_are_saved_as_h5_too(tmp_path):
    for name, model in {"masked": kt.masked(nets.mlp()), "plain": kt.strip(kt.masked(nets.mlp()))}.items():
        model.save(tmp_path / f"{name}.h5")
    assert keras.saving.load_model(tmp_path / "plain.h5").count_params() == nets.mlp().count_params()


def test_copies_of_a_compiled_network_are_not_compiled(tmp_path):
    model = nets.mlp()
    model.compile(kt.optimizers.SGD(0.1), "mse")
    masked = kt.masked(model)
    masked.compile(kt.optimizers.SGD(0.1), "mse")
    masked.fit(*nets.batch(masked), verbose=0)
    plain = kt.strip(masked)
    assert not masked.optimizer.built or not plain.compiled
    assert not kt.masked(model).compiled
    plain.save(tmp_path / "plain.keras")
    code = f"import keras; keras.saving.load_model({str(tmp_path / 'plain.keras')!r})"
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | {"PYTHONPATH": ""})


def test_what_keras_numbers_inside_a_layer_has_the_same_path_on_every_build():
    def build():
        inputs = keras.Input((4, 6), name="inputs")
        x = layers.MultiHeadAttention(2, 3, dropout=0.1, name="attention")(inputs, inputs)
        x = layers.Bidirectional(layers.GRU(3, name="gru"), name="both")(x)
        return keras.Model(inputs, layers.Dense(5, name="classifier")(x), name="sequence")

    first, second = kt.masked(build()), kt.masked(build())
    assert list(kt.get_params(first)) == list(kt.get_params(second)) == list(kt.get_params(build()))
    assert {path for path in kt.get_mask(first) if path.startswith("both")} == {
        f"both/{way}_gru/gru_cell/{kernel}"
        for way in ("forward", "backward")
        for kernel in ("kernel", "recurrent_kernel")
    }


def test_low_rank_adaptation_is_refused():
    with pytest.raises(ValueError, match="without LoRA"):
        kt.layers.MaskedDense(5, lora_rank=2, name="layer").build((None, 6))
