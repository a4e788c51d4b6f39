"""Subclassed models and layers that make their own layers: masked in place, saved as tickets, never without masks."""

import keras
import nets
import numpy as np
import pytest
from keras import layers
from models_to_prune import Block, Net

import kerasticket as kt
from kerasticket.models.paths import raw_params
from kerasticket.params import differing
from kerasticket.tickets.conversion import MasksWouldBeLostError


def net() -> keras.Model:
    model = Net(name="net")
    model(np.zeros((1, 8, 8, 3), "float32"))
    return model


def with_blocks() -> keras.Model:
    inputs = keras.Input((6, 8), name="inputs")
    return keras.Model(inputs, layers.Dense(5, name="out")(Block(8, name="first")(inputs)), name="with_blocks")


def inside_a_wrapper() -> keras.Model:
    inputs = keras.Input((2, 6, 8), name="inputs")
    each = layers.TimeDistributed(Block(8, name="first"), name="each")
    return keras.Model(inputs, layers.Dense(5, name="out")(each(inputs)), name="inside_a_wrapper")


MAKERS = {"subclassed": net, "blocks": with_blocks, "wrapped": inside_a_wrapper}
SHAPES = {"subclassed": (4, 8, 8, 3), "blocks": (4, 6, 8), "wrapped": (4, 2, 6, 8)}


def inputs(name: str) -> np.ndarray:
    return np.random.default_rng(0).normal(size=SHAPES[name]).astype("float32")


def half_pruned(name: str) -> keras.Model:
    model = kt.masked(MAKERS[name]())
    kt.set_mask(model, nets.half_mask(model))
    return model


def test_a_subclassed_model_is_masked_in_place():
    model = net()
    model.compile("sgd", "mse")
    before, x = raw_params(model), inputs("subclassed")
    expected = model.predict_on_batch(x)
    assert kt.masked(model) is model
    assert not model.compiled
    np.testing.assert_array_equal(model.predict_on_batch(x), expected)
    assert not differing(raw_params(model), before)
    assert list(kt.get_mask(model)) == ["conv2d/kernel", "sequential/dense/kernel", "dense/kernel"]


@pytest.mark.parametrize("name", MAKERS)
def test_paths_do_not_hang_on_what_was_built_before(name):
    first = kt.masked(MAKERS[name]())
    for _ in range(3):
        layers.Dense(2), layers.MultiHeadAttention(1, 1)
    assert list(kt.get_params(kt.masked(MAKERS[name]()))) == list(kt.get_params(first))
    assert list(kt.get_params(MAKERS[name]())) == list(kt.get_params(first))


@pytest.mark.parametrize("name", MAKERS)
def test_a_ticket_brings_it_back(name, tmp_path):
    model, x = half_pruned(name), inputs(name)
    kt.Ticket.dense(model).save(tmp_path / "ticket.keras")
    ticket = kt.Ticket.load(tmp_path / "ticket.keras")
    assert ticket.architecture is None
    with pytest.raises(ValueError, match=r"subclassed model.*ticket\.apply\(kerasticket\.masked\(model\)\)"):
        ticket.model()
    with pytest.raises(ValueError, match="the ticket's mask has paths that the model lacks"):
        ticket.apply(MAKERS[name]())
    other = kt.masked(MAKERS[name]())
    ticket.apply(other)
    ticket.verify(other)
    assert not differing(raw_params(other), raw_params(model))
    np.testing.assert_array_equal(other.predict_on_batch(x), model.predict_on_batch(x))


@pytest.mark.parametrize("name", MAKERS)
def test_files_that_would_lose_the_masks_are_refused(name, tmp_path):
    model = half_pruned(name)
    for write in (
        lambda: model.save(tmp_path / "model.keras"),
        lambda: model.save(tmp_path / "model.h5"),
        lambda: model.to_json(),
        lambda: keras.models.clone_model(model),
    ):
        with pytest.raises(MasksWouldBeLostError, match=r"without masks again.*Ticket\.dense\(model\)\.save"):
            write()


@pytest.mark.parametrize("name", MAKERS)
def test_files_of_weights_keep_the_masks(name, tmp_path):
    model, other = half_pruned(name), kt.masked(MAKERS[name]())
    model.save_weights(tmp_path / "model.weights.h5")
    other.load_weights(tmp_path / "model.weights.h5")
    assert not differing(kt.get_mask(model), kt.get_mask(other))
    np.testing.assert_array_equal(other.predict_on_batch(inputs(name)), model.predict_on_batch(inputs(name)))


@pytest.mark.parametrize("name", MAKERS)
def test_stripped_it_is_plain_keras_again(name, tmp_path):
    model, x = half_pruned(name), inputs(name)
    before, expected = raw_params(model), model.predict_on_batch(x)
    plain = kt.strip(model)
    assert (plain is model) == (name == "subclassed")
    assert not kt.get_mask(plain)
    assert not differing(raw_params(plain), before)
    # Torch's matrix products differ in the last bits with where in memory the weights lie.
    tolerance = 1e-6 if keras.backend.backend() == "torch" else 0
    np.testing.assert_allclose(plain.predict_on_batch(x), expected, rtol=0, atol=tolerance)
    plain.save(tmp_path / "plain.keras")
    loaded = keras.saving.load_model(tmp_path / "plain.keras")
    np.testing.assert_allclose(loaded.predict_on_batch(x), expected, rtol=0, atol=tolerance)
    kt.set_mask(kt.masked(plain), {})  # and can be masked again


@pytest.mark.parametrize("name", MAKERS)
def test_masking_again_keeps_the_masks(name):
    model = half_pruned(name)
    mask = kt.get_mask(model)
    assert not differing(kt.get_mask(kt.masked(model)), mask)


@keras.saving.register_keras_serializable(package="tests")
class Steps(keras.Model):
    """Functional, of a class with a train step and a constructor of its own, which a copy would lack."""

    def __init__(self, width: int, **kwargs):
        features = keras.Input((6,), name="features")
        super().__init__(features, layers.Dense(width, name="out")(features), **kwargs)
        self.width, self.steps = width, 0

    def train_step(self, *args):
        self.steps += 1
        return super().train_step(*args)

    def get_config(self):
        return {"width": self.width, "name": self.name}


@keras.saving.register_keras_serializable(package="tests")
class PlainSteps(keras.Model):
    """As `Steps`, but made of inputs and outputs."""

    def train_step(self, *args):
        self.steps = getattr(self, "steps", 0) + 1
        return super().train_step(*args)


def of_inputs_and_outputs() -> keras.Model:
    features = keras.Input((6,), name="features")
    return PlainSteps(features, layers.Dense(5, name="out")(features), name="plain_steps")


@pytest.mark.parametrize(("make", "in_place"), [(lambda: Steps(5, name="steps"), True), (of_inputs_and_outputs, False)])
def test_a_train_step_of_ones_own_is_kept(make, in_place):
    model = make()
    masked = kt.masked(model)
    assert (masked is model) == in_place
    assert type(masked) is type(model)
    masked.compile("sgd", "mse")
    masked.fit(np.ones((4, 6)), np.ones((4, 5)), verbose=0)
    assert masked.steps > 0


def test_a_layer_that_cannot_be_built_from_its_config_is_copied_with_its_function():
    class Opaque(layers.Layer):
        def __init__(self, function, **kwargs):
            super().__init__(**kwargs)
            self.function = function

        def call(self, x):
            return self.function(x)

    features = keras.Input((6,), name="features")
    x = Opaque(lambda x: x * x, name="opaque")(layers.Dense(6, name="dense_in")(features))
    model = keras.Model(features, x, name="opaque")
    expected = model.predict_on_batch(np.ones((2, 6)))
    for copy in (masked := kt.masked(model), kt.strip(masked)):
        np.testing.assert_array_equal(copy.predict_on_batch(np.ones((2, 6))), expected)


def test_a_subclassed_model_is_pruned_by_the_callback_and_controlled():
    model, x = kt.masked(net()), inputs("subclassed")
    imp = kt.callbacks.IterativeMagnitudePruning(rounds=2, fraction=0.5, epochs_per_round=1)
    nets.compile_for_test(model, keras.optimizers.Adam())
    model.fit(x, np.eye(5)[:4], epochs=imp.total_epochs, callbacks=[imp], verbose=0)
    ticket = imp.tickets[-1]
    ticket.verify(model)
    assert ticket.kept < 0.3 * ticket.total
    control = ticket.shuffled(0, dense=imp.tickets[0])
    control.apply(model)
    control.verify(model)
    with pytest.raises(ValueError, match="ticket that holds its architecture"):
        ticket.reinitialized(0)
