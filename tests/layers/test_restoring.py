"""What changes a model for a while gives it back to the bit when an error comes in the middle."""

import functools
import importlib
import json
import random

import keras
import nets
import numpy as np
import pytest
from keras import layers

import kerasticket as kt
from kerasticket.analysis.objective import Objective
from kerasticket.backend import autodiff, fused
from kerasticket.backend.precision import double_precision
from kerasticket.distillation.soft_labels import soft_labels
from kerasticket.layers.restoring import lent
from kerasticket.models.paths import raw_params
from kerasticket.pruning import criteria
from kerasticket.tickets import controls, optimizer_state
from kerasticket.training import recipe as training


class Stop(BaseException):
    """As KeyboardInterrupt, which would end the test run if it were let through."""

    def __init__(self):
        super().__init__("stop in the middle")


@keras.saving.register_keras_serializable("tests")
class Fuse(layers.Layer):
    """Hands on its inputs, until it is called for the n-th time from now on."""

    left = None

    def call(self, inputs):
        if Fuse.left is not None:
            Fuse.left -= 1
            if Fuse.left < 0:
                raise Stop
        return inputs


def convnet() -> keras.Model:
    inputs = keras.Input((8, 8, 3), name="images")
    x = layers.Conv2D(4, 3, padding="same", activation="relu", name="conv")(inputs)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.ReLU(name="relu")(x)
    x = Fuse(name="fuse")(layers.GlobalAveragePooling2D(name="pool")(x))
    return keras.Model(inputs, layers.Dense(5, name="classifier")(x), name="small")


def recurrent() -> keras.Model:
    stack = [keras.Input((5, 6), name="steps"), layers.Dense(6, activation="relu", name="pre")]
    stack += [layers.Bidirectional(layers.LSTM(4, name="memory"), name="both"), Fuse(name="fuse")]
    return keras.Sequential([*stack, layers.Dropout(0.2, seed=3, name="drop"), layers.Dense(5, name="head")])


def low_precision() -> keras.Model:
    policies = keras.dtype_policies.DTypePolicyMap(default_policy="mixed_bfloat16")
    stack = [keras.Input((6,), name="features"), layers.Dense(6, activation="tanh", dtype=policies, name="hidden")]
    return keras.Sequential([*stack, Fuse(name="fuse"), layers.Dense(5, name="head")])


@functools.cache
def prepared(make) -> keras.Model:
    """Masked, a bias frozen, trained for a step with momentum, half pruned; one for all tests, which leave it so."""
    model = kt.masked(make())
    model.layers[-1].bias.trainable = False
    nets.compile_for_test(model, keras.optimizers.SGD(0.1, 0.9))
    model.fit(*nets.batch(model, 8), verbose=0)
    kt.set_mask(model, nets.half_mask(model))
    return model


def everything(model: keras.Model) -> dict:
    members = [one for one in model._flatten_layers() if isinstance(one, keras.Layer)]
    return {
        "config": json.dumps(keras.saving.serialize_keras_object(model), default=str),
        "weights": {path: array.tobytes() for path, array in raw_params(model).items()},
        "masks": {path: array.tobytes() for path, array in kt.get_mask(model).items()},
        "optimizer": {key: array.tobytes() for key, array in optimizer_state.get_state(model).items()},
        "rate": float(model.optimizer.learning_rate),
        "trainable": [variable.trainable for variable in model.weights],
        "layers": [(one.trainable, type(one), one.compute_dtype, getattr(one, "activation", None)) for one in members],
        "own": [sorted(set(vars(one)) & {"call", "get_config", "_convert_inputs_to_tensors"}) for one in members],
        "loss": id(model.loss),
        "outputs": nets.outputs(model, nets.batch(model, 4)[0]).tobytes(),
    }


class Broken:
    """A batch, and then an error, whoever reads it."""

    def __init__(self, model):
        self.batch = nets.batch(model, 4)

    def __iter__(self):
        yield self.batch
        raise Stop


def stop(*_, **__):
    raise Stop


def blown(model, calls: int = 1):
    """Whatever runs the model from now on raises at the second call."""
    Fuse.left = calls
    return nets.batch(model, 8)


def of_criterion(name: str):
    def run(model):
        data = None if name == "synflow" else Broken(model)
        blown(model, 99 if data else 1)
        criteria.CRITERIA[name](model, kt.get_params(model), kt.get_mask(model), data, np.random.default_rng(0))

    return run


def find(model):
    """With a criterion of a user, who changes all that there is and then fails in the second round."""
    rounds = []

    def own(model, params, mask, data, rng):
        rounds.append(1)
        if len(rounds) == 2:
            kt.set_params(model, {path: array + 1 for path, array in params.items()})
            model.trainable, model.layers[0].activation = False, None
            model.optimizer.iterations.assign(7)
            raise Stop
        return criteria.magnitude(model, params, mask, data, rng)

    kt.callbacks.PruneAtInitialization(own, 0.9, rounds=3).find(model)


def evaluate(model):
    x, y = nets.batch(model, 8)
    model.test_function = None  # on torch every batch calls the layer, elsewhere the first, which is traced
    blown(model, 0)
    training.evaluate(model, Batches(x, y))


class Batches(keras.utils.PyDataset):
    def __init__(self, x, y):
        super().__init__()
        self.parts = x, y

    def __len__(self):
        return 2

    def __getitem__(self, index):
        return tuple(part[4 * index : 4 * index + 4] for part in self.parts)


def two(model):
    params = kt.get_params(model)
    return params, {p: a if p.endswith("state") else a * np.float32(1.1) for p, a in params.items()}


def plane(model):
    kt.analysis.loss_plane(model, two(model)[:1], nets.batch(model, 8), kind="random", points=4, progress=stop)


def curved(model):
    recipe = training.Recipe(epochs=2, batch_size=4)
    kt.analysis.bezier_path(model, *two(model), nets.batch(model, 8), recipe=recipe, progress=stop)


def with_loss_that_fails(analysis):
    def run(model):
        calls, loss = [], model.loss

        def failing(targets, outputs):
            calls.append(1)
            if len(calls) > 1:
                raise Stop
            return keras.losses.categorical_crossentropy(targets, outputs, from_logits=True)

        model.loss = failing
        try:
            analysis(model)
            failing(0, 0)  # where one trace serves all calls
        finally:
            model.loss = loss

    return run


def labels(model):
    blown(model, 0)
    images, scale = np.zeros((5, 8, 8, 3), "float32"), {"mean": (0.0,) * 3, "std": (1.0,) * 3}
    model.predict_function = None
    soft_labels(kt.data.DistilledSet(images, np.arange(5), tuple("abcde"), "mine:1.0/train", "by hand", **scale), model)


CHANGING = {
    **{name: of_criterion(name) for name in ("snip", "grasp", "saliency", "movement", "wanda", "synflow")},
    "find": find,
    "evaluate": evaluate,
    "Objective": lambda model: Objective(model, Broken(model)),
    "linear_path": with_loss_that_fails(
        lambda model: kt.analysis.linear_path(model, *two(model), nets.batch(model, 8), batch_size=3)
    ),
    "loss_plane": plane,
    "bezier_path": curved,
    "hessian_diagonal": lambda model: kt.analysis.hessian_diagonal(model, Broken(model), batches=2),
    "functional_loss": with_loss_that_fails(
        lambda model: autodiff.functional_loss(model, model.loss)(model.trainable_variables, *nets.batch(model, 8))
    ),
    "soft_labels": labels,
}


def check(run, make) -> None:
    model = prepared(make)
    before = everything(model)
    try:
        with pytest.raises((Stop, RuntimeError)) as caught:
            run(model)
    finally:
        Fuse.left = None
    assert "stop in the middle" in str(caught.value)
    after = everything(model)
    for what in before:
        assert after[what] == before[what], what


@pytest.mark.parametrize("name", CHANGING)
def test_a_convnet_comes_back_to_the_bit(name):
    check(CHANGING[name], convnet)


@pytest.mark.parametrize("name", ["synflow", "snip", "find"])
def test_so_does_a_recurrent_one(name):
    check(CHANGING[name], recurrent)


@pytest.mark.parametrize("name", ["synflow", "snip", "saliency"])
def test_so_does_one_of_low_precision_with_policies_of_its_own(name):
    check(CHANGING[name], low_precision)


def test_after_all_that_it_still_trains():
    model = prepared(convnet)
    before = kt.get_params(model)
    model.fit(*nets.batch(model, 8), verbose=0)
    assert not np.array_equal(kt.get_params(model)["conv/kernel"], before["conv/kernel"])


def test_a_model_lent_to_somebody_who_only_looks_keeps_what_was_done():
    model = prepared(convnet)
    with lent(model, [(model.get_layer("conv"), "activation", None)]):
        model.get_layer("classifier").bias.assign(np.arange(5.0))
        assert model.get_layer("conv").activation is None
    assert model.get_layer("conv").activation is keras.activations.relu
    assert kt.get_params(model)["classifier/bias"].tolist() == [0, 1, 2, 3, 4]


def test_an_attribute_that_cannot_be_set_leaves_those_before_as_they_were():
    class Slotted:
        __slots__ = ()

    layer = layers.Dense(2, activation="relu", name="dense")
    with pytest.raises((AttributeError, TypeError)), lent(changes=[(layer, "activation", 1), (Slotted(), "x", 1)]):
        pass
    assert layer.activation is keras.activations.relu


@pytest.mark.same_on_every_backend
def test_settings_of_the_process_come_back_too():
    table = importlib.import_module("keras.src.backend.common.dtypes").BIT64_TO_BIT32_DTYPE
    before = dict(table), fused.fast_forms(), random.getstate()
    for context in (double_precision(), fused.mode("always"), controls._seeded(3)):
        with pytest.raises(Stop), context:
            raise Stop
    assert (dict(table), fused.fast_forms(), random.getstate()) == before
