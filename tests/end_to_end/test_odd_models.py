"""Models that do more than their graph or config says: masked and compacted right, or refused with the reason."""

import keras
import numpy as np
import pytest
from keras import layers

import kerasticket as kt
from kerasticket.models.graph.channels import channel_groups
from kerasticket.tickets import conversion

X = np.random.default_rng(0).normal(size=(4, 6)).astype("float32")
IMAGES = np.random.default_rng(1).normal(size=(4, 8, 8, 3)).astype("float32")


@keras.saving.register_keras_serializable(package="test_odd_models")
class Doubled(keras.Model):
    """Functional, with a `call` that its graph knows nothing of."""

    def call(self, x, training=None, mask=None):
        return super().call(x) * 2.0


class Backbone(keras.Model):
    """Functional, of a class whose `__init__` makes the layers, without names, as those of KerasHub."""

    def __init__(self, width: int = 5, **kwargs):
        inputs = keras.Input((6,))
        x = layers.Dense(width, activation="relu")(layers.Dense(width)(inputs))
        super().__init__(inputs=inputs, outputs=Unnamed(name="block")(x), **kwargs)
        self.width = width

    def embed(self, x):
        return self(x)

    def get_config(self):
        return {"width": self.width, "name": self.name}


class Unnamed(layers.Layer):
    """A layer whose config lacks its name, as Keras leaves it out where there is no get_config."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inner = layers.Dense(5, activation="relu", name="inner")

    def build(self, shape):
        self.inner.build(shape)

    def call(self, x):
        return self.inner(x)


def doubled() -> keras.Model:
    inputs = keras.Input((6,))
    return Doubled(inputs, layers.Dense(6, activation="relu", name="hidden")(inputs), name="twice")


def around(inner) -> keras.Model:
    inputs = keras.Input((6,))
    return keras.Model(inputs, layers.Dense(2, name="out")(inner(inputs)), name="outer")


def kill(model, path: str, units: list[int], **params) -> None:
    """Prunes all that leads to these units, and sets params (a/b as a__b)."""
    mask = kt.get_mask(model)
    mask[path][..., units] = False
    kt.set_mask(model, mask)
    kt.set_params(model, kt.get_params(model) | {name.replace("__", "/"): array for name, array in params.items()})


def outputs(model, x) -> np.ndarray:
    return keras.ops.convert_to_numpy(model(x))


@pytest.mark.parametrize("make", [doubled, lambda: around(doubled())])
def test_a_call_of_its_own_is_kept_by_masking_and_refused_by_compact(make):
    model = make()
    before = outputs(model, X)
    masked = kt.masked(model)
    np.testing.assert_array_equal(outputs(masked, X), before)
    with pytest.raises(ValueError, match="`call` of its own"):
        kt.compact(masked)
    with pytest.raises(ValueError, match="`call` of its own"):
        channel_groups(masked)


def test_a_layer_whose_config_lacks_its_name_is_masked_under_it():
    model = around(Unnamed(name="block"))
    masked = kt.masked(model)
    assert list(kt.get_mask(masked)) == ["block/inner/kernel", "out/kernel"]
    np.testing.assert_array_equal(outputs(masked, X), outputs(model, X))


@pytest.mark.parametrize("make", [Backbone, lambda: around(Backbone(name="encoder"))])
def test_layers_that_a_functional_class_makes_are_numbered_within_it(make, tmp_path):
    model, again = make(), kt.masked(make())
    before = outputs(model, X)
    masked = kt.masked(model)
    assert masked is model  # a copy would be of another class
    np.testing.assert_array_equal(outputs(masked, X), before)
    inside = ["dense/kernel", "dense_1/kernel", "block/inner/kernel"]
    nested = [*(f"encoder/{path}" for path in inside), "out/kernel"]
    assert list(kt.get_mask(masked)) == (inside if isinstance(model, Backbone) else nested)
    with pytest.raises(conversion.MasksWouldBeLostError, match="Ticket.dense"):
        masked.save(tmp_path / "model.keras")
    kill(masked, next(iter(kt.get_mask(masked))), [0])
    kt.Ticket.dense(masked).save(tmp_path / "ticket.keras")
    kt.Ticket.load(tmp_path / "ticket.keras").apply(again)
    np.testing.assert_array_equal(outputs(again, X), outputs(masked, X))
    plain = kt.strip(again)
    assert type(plain) is type(model)
    assert not kt.get_mask(plain)
    np.testing.assert_array_equal(outputs(plain, X), outputs(masked, X))


def test_a_layer_without_a_usable_config_is_masked_in_place():
    class Broken(Backbone):
        def get_config(self):
            raise AttributeError("no such attribute")

    assert list(kt.get_mask(kt.masked(Broken()))) == ["dense/kernel", "dense_1/kernel", "block/inner/kernel"]


def test_a_layer_shared_with_a_wrapper_is_masked_once_and_not_compacted():
    shared, frames, vector = layers.Dense(5, name="shared"), keras.Input((4, 6)), keras.Input((6,))
    pooled = layers.GlobalAveragePooling1D(name="pool")(layers.TimeDistributed(shared, name="each")(frames))
    both = layers.Concatenate(name="both")([pooled, shared(vector)])
    masked = kt.masked(keras.Model([frames, vector], layers.Dense(2, name="out")(both)))
    assert len(kt.get_mask(masked)) == 2
    with pytest.raises(ValueError, match=r"/kernel'.*shared with a wrapper"):
        kt.compact(masked)


def test_norms_that_are_called_in_training_mode_are_not_folded():
    inputs = keras.Input((8, 8, 3))
    x = layers.BatchNormalization(name="norm")(layers.Conv2D(4, 3, name="first")(inputs), training=True)
    model = kt.masked(keras.Model(inputs, layers.Conv2D(2, 3, name="second")(x)))
    kill(model, "first/kernel", [0], first__bias=np.ones(4, "float32"))
    expected = outputs(model, IMAGES)
    np.testing.assert_allclose(outputs(kt.compact(model).model, IMAGES), expected, atol=1e-5)


def test_dropout_that_is_always_on_is_not_folded():
    inputs = keras.Input((6,))
    x = layers.Dropout(0.5, name="dropped")(layers.Dense(3, activation="relu", name="hidden")(inputs), training=True)
    model = kt.masked(keras.Model(inputs, layers.Dense(1, name="out")(x)))
    kill(model, "hidden/kernel", [0, 1, 2], hidden__bias=np.ones(3, "float32"), out__kernel=np.ones((3, 1), "float32"))
    small = kt.compact(model).model
    assert len({float(outputs(small, X[:1])[0, 0]) for _ in range(60)}) == 4  # of 0, 1, 2 or 3 units


@pytest.mark.parametrize(("epsilon", "tolerance"), [(1e-3, 1e-5), (1e-5, 1e-3)])  # of the mean of 1.1, which stays
def test_keras_group_norm_keeps_outputs(epsilon, tolerance):
    inputs = keras.Input((8, 8, 3))
    x = layers.GroupNormalization(4, epsilon=epsilon, name="norm")(layers.Conv2D(4, 3, name="first")(inputs))
    model = kt.masked(keras.Model(inputs, layers.Conv2D(2, 1, name="out")(x)))
    kill(model, "first/kernel", [0, 1], first__bias=np.array([1.1, 0, 0.3, 0.2], "float32"))
    compacted = kt.compact(model)
    expected = outputs(model, IMAGES)
    np.testing.assert_allclose(outputs(compacted.model, IMAGES), expected, atol=tolerance * np.abs(expected).max())
    assert compacted.units == (6, 5)  # the channel that is 0 goes; of the one that is 1.1 Keras' mean is not exact


def test_channels_behind_a_gate_of_one_channel_stay_free():
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(8, 3, activation="relu", name="body")(inputs)
    gate = layers.Conv2D(1, 1, activation="sigmoid", name="gate")(x)
    x = layers.Conv2D(4, 3, name="out")(layers.Multiply(name="gated")([x, gate]))
    model = kt.masked(keras.Model(inputs, x))
    assert {name: group.size for name, group in channel_groups(model).items()} == {"body": 8}
    structure = kt.pruning.CoupledChannels()
    kt.callbacks.PruneAtInitialization("magnitude", 0.5, structure=structure).find(model).apply(model)
    compacted = kt.compact(model)
    assert [line.units for line in compacted.layers] == [(8, 4), (1, 1), (4, 4)]
    np.testing.assert_allclose(outputs(compacted.model, IMAGES), outputs(model, IMAGES), atol=1e-5)


def test_initial_values_and_noise_shapes_are_cut_with_the_units():
    given = keras.initializers.Constant(np.arange(1.0, 9.0))
    inputs = keras.Input((6, 5))
    x = layers.Conv1D(8, 3, activation="relu", bias_initializer=given, name="first")(inputs)
    x = layers.BatchNormalization(gamma_initializer=given, name="norm")(x)
    x = layers.Dropout(0.5, noise_shape=(None, 1, 8), name="dropped")(x)
    x = layers.Dense(2, name="out")(layers.GlobalAveragePooling1D(name="pool")(x))
    model = kt.masked(keras.Model(inputs, x))
    mask = kt.get_mask(model)
    mask["out/kernel"][:4] = False
    kt.set_mask(model, mask)
    small = kt.compact(model).model
    frames = np.random.default_rng(2).normal(size=(4, 6, 5)).astype("float32")
    np.testing.assert_allclose(outputs(small, frames), outputs(model, frames), atol=1e-5)
    assert small.get_layer("dropped").noise_shape[-1] is None
    small.compile("sgd", "mse")
    small.fit(frames, np.zeros((4, 2)), verbose=0)


@pytest.mark.parametrize("rounds", [1, 2])
def test_coupled_channels_of_a_model_without_hidden_ones_are_refused(rounds):
    model = kt.masked(keras.Sequential([keras.Input((6,)), layers.Dense(3, name="out")]))
    pruner = kt.callbacks.PruneAtInitialization("magnitude", 0.5, structure="coupled_channels", rounds=rounds)
    with pytest.raises(ValueError, match=r"hidden channels under masks.*'out/kernel'"):
        pruner.find(model)
