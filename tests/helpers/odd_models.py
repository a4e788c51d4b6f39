"""A zoo of models that know more than their configs and weights tell, each with inputs and what tells it apart."""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers, ops

RNG = np.random.default_rng(0)
X = RNG.normal(size=(4, 6)).astype("float32")
FRAMES = RNG.normal(size=(4, 3, 6)).astype("float32")
IMAGES = RNG.normal(size=(4, 6, 6, 3)).astype("float32")
NUMBERS = np.array([[3], [7], [9], [5]])
WORDS = np.array([["red"], ["blue"], ["green"], ["red"]])
REGISTERED = keras.saving.register_keras_serializable("odd_models")


@dataclasses.dataclass(frozen=True)
class Odd:
    """A model to copy.

    Attributes:
        make: the model.
        x: its inputs.
        refused: words of the error with which its ticket is not saved; "": it is.
        alone: its ticket's file holds weights and masks alone, as Keras makes no config of it.
        facts: what a copy must have as well, read from the model.
        compacted: `kerasticket.compact` takes it.
        in_place: it is masked in place.
    """

    make: Callable[[], keras.Model]
    x: Any
    refused: str = ""
    facts: Callable[[keras.Model], Any] = lambda model: None
    alone: bool = False
    compacted: bool = True
    in_place: bool = False


ZOO: dict[str, Odd] = {}
ONLY_ON: dict[str, str] = {}


def odd(x, backend: str = "", **options):
    """Puts the model that the function makes into the zoo, under the function's name."""

    def register(make):
        ZOO[make.__name__] = Odd(make, x, **options)
        if backend:
            ONLY_ON[make.__name__] = backend
        return make

    return register


def head(x, units: int = 3):
    return layers.Dense(units, name="head")(x)


def around(layer, shape=(6,), **options) -> keras.Model:
    inputs = keras.Input(shape, **options)
    return keras.Model(inputs, head(layer(inputs)))


def double(x):
    return 2.0 * x


@REGISTERED
def triple(x):
    return 3.0 * x


@REGISTERED
def small(weights):
    return 0.01 * ops.sum(ops.abs(weights))


# Vocabularies and statistics


@odd(WORDS, "tensorflow", facts=lambda m: m.get_layer("look").get_vocabulary())
def string_lookup():
    look = layers.StringLookup(output_mode="one_hot", name="look")
    look.adapt(WORDS)
    return around(look, (1,), dtype="string")


@odd(WORDS, "tensorflow")
def string_lookup_of_indices():
    look = layers.StringLookup(vocabulary=["green", "red"], name="look")
    vectors = layers.Embedding(4, 5, name="vectors")
    inputs = keras.Input((1,), dtype="string")
    return keras.Model(inputs, head(layers.Flatten(name="flat")(vectors(look(inputs)))))


@odd(WORDS, "tensorflow", facts=lambda m: m.get_layer("text").get_vocabulary())
def text_vectorization():
    text = layers.TextVectorization(output_mode="tf_idf", name="text")
    text.adapt(WORDS[:, 0])
    return around(text, (1,), dtype="string")


@odd(NUMBERS, "tensorflow", facts=lambda m: m.get_layer("look").get_vocabulary())
def integer_lookup():
    look = layers.IntegerLookup(output_mode="multi_hot", name="look")
    look.adapt(NUMBERS[:3])
    return around(look, (1,), dtype="int64")


@odd(X)
def discretization():
    bins = layers.Discretization(num_bins=3, output_mode="one_hot", name="bins")
    bins.adapt(X[:, :1])
    inputs = keras.Input((6,))
    return keras.Model(inputs, head(layers.Flatten(name="flat")(bins(inputs[:, :1]))))


@odd(NUMBERS, "tensorflow")
def hashing():
    return around(layers.Hashing(4, output_mode="one_hot", name="hash"), (1,), dtype="int64")


@odd(X, facts=lambda m: ops.convert_to_numpy(m.get_layer("norm").mean).tolist())
def normalization():
    norm = layers.Normalization(name="norm")
    norm.adapt(3 * X + 1)
    return around(norm)


# State of a user's own layers


@REGISTERED
class Table(layers.Layer):
    """Multiplies with an array that is no variable, and writes it itself."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.table = np.ones(6, "float32")

    def call(self, x):
        return x * ops.convert_to_tensor(self.table)

    def save_own_variables(self, store):
        store["table"] = self.table

    def load_own_variables(self, store):
        self.table = np.array(store["table"])


@REGISTERED
class Asset(Table):
    """The same in a file of its own."""

    def save_own_variables(self, store):
        pass

    def load_own_variables(self, store):
        pass

    def save_assets(self, dir_path):
        np.save(f"{dir_path}/table.npy", self.table)

    def load_assets(self, dir_path):
        self.table = np.load(f"{dir_path}/table.npy")


@REGISTERED
class Forgetful(layers.Layer):
    """An array, a dict and a number that no method writes."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.table = np.ones(6, "float32")
        self.options = {"shift": 0.0, "scales": (1.0, [1.0])}

    def call(self, x):
        scale = self.options["scales"][1][0]
        return scale * x * ops.convert_to_tensor(self.table) + self.options["shift"]


def with_table(kind) -> keras.Model:
    layer = kind(name="table")
    model = around(layer)
    layer.table = np.arange(6, dtype="float32")
    return model


@odd(X, facts=lambda m: m.get_layer("table").table.tolist())
def own_save_own_variables():
    return with_table(Table)


@odd(X, facts=lambda m: m.get_layer("table").table.tolist())
def own_save_assets():
    return with_table(Asset)


@odd(X, facts=lambda m: m.get_layer("table").options)
def state_that_nobody_writes():
    model = with_table(Forgetful)
    model.get_layer("table").options.update({"shift": 0.5, "scales": (2.0, [3.0])})
    return model


class Scaler:
    """An object of a user's own class, without Keras."""

    def __init__(self):
        self.scale = 1.0


@REGISTERED
class Scaled(layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.scaler = Scaler()

    def call(self, x):
        return self.scaler.scale * x


@odd(X, refused="'scaler' of 'scaled', of type Scaler", facts=lambda m: m.get_layer("scaled").scaler.scale)
def state_in_an_object():
    model = around(Scaled(name="scaled"))
    model.get_layer("scaled").scaler.scale = 3.0
    return model


@odd(X)
def state_in_an_object_that_init_makes():
    return around(Scaled(name="scaled"))


class Unregistered(layers.Layer):
    """With arguments, but without a config."""

    def __init__(self, function, factor, **kwargs):
        super().__init__(**kwargs)
        self.function = function
        self.factor = factor

    def build(self, shape):
        self.scale = self.add_weight(name="scale", shape=(shape[-1],), initializer="ones")

    def call(self, x):
        return self.function(x * self.scale) * self.factor


@odd(X, alone=True, facts=lambda m: m.get_layer("own").factor)
def layer_without_config():
    return around(Unregistered(lambda x: x + 1, 3.0, name="own"))


# Classes of functional models


class Weighted(keras.Model):
    def __init__(self, *args, alpha=1.0, **kwargs):
        super().__init__(*args, **kwargs)
        self.alpha = alpha

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return self.alpha * super().compute_loss(x, y, y_pred, sample_weight, training)


class Demanding(keras.Model):
    def __init__(self, *args, alpha, **kwargs):
        super().__init__(*args, **kwargs)
        self.alpha = alpha


class Spoken(keras.Model):
    def __init__(self, inputs, outputs, *, alpha=1.0, name=None):
        super().__init__(inputs, outputs, name=name)
        self.alpha = alpha

    def train_step(self, *args, **kwargs):
        return super().train_step(*args, **kwargs)


class Stack(keras.Sequential):
    def __init__(self, *args, alpha=1.0, **kwargs):
        super().__init__(*args, **kwargs)
        self.alpha = alpha


for kind in (Weighted, Demanding, Spoken, Stack):
    REGISTERED(kind)


def of_class(kind) -> keras.Model:
    inputs = keras.Input((6,))
    return kind(inputs, head(inputs), alpha=100.0)


@odd(X, facts=lambda m: (type(m).__name__, m.alpha))
def keyword_subclass():
    return of_class(Weighted)


@odd(X, refused="can be read again", facts=lambda m: (type(m).__name__, m.alpha))
def required_keyword_subclass():
    return of_class(Demanding)


@odd(X, alone=True, facts=lambda m: (type(m).__name__, m.alpha))
def keyword_only_subclass():
    return of_class(Spoken)


@odd(X, facts=lambda m: (type(m).__name__, m.alpha))
def sequential_subclass():
    return Stack([keras.Input((6,)), layers.Dense(3, name="head")], alpha=100.0)


# Flags and attributes


@odd(X, facts=lambda m: [m.tag, m.classes, m.get_layer("head").note, m.last.name])
def attributes():
    model = around(layers.Dense(5, activation="relu", name="hidden"))
    model.tag, model.classes = "mine", ["cat", {"dog": (1, 2)}]
    model.get_layer("head").note = np.float32(0.5)
    model.last = model.get_layer("head")
    return model


@odd(X, refused="'hook' of 'functional.*', of type function", facts=lambda m: m.hook)
def function_as_attribute():
    model = around(layers.Dense(5, name="hidden"))
    model.hook = double
    return model


@odd(X)
def frozen_variable():
    model = around(layers.Dense(5, name="hidden"))
    model.get_layer("hidden").weights[0].trainable = False
    return model


@odd(X)
def frozen_layer():
    model = around(layers.Dense(5, name="hidden"))
    model.get_layer("hidden").trainable = False
    return model


@odd(X)
def frozen_model():
    model = around(layers.Dense(5, name="hidden"))
    model.trainable = False
    model.get_layer("head").trainable = True
    return model


@odd(X)
def frozen_nested_model():
    base = keras.Sequential([keras.Input((6,)), layers.Dense(5, name="inner")], name="base")
    base.trainable = False
    return around(base)


@odd(X)
def gradient_stopped():
    inputs = keras.Input((6,))
    return keras.Model(inputs, head(ops.stop_gradient(layers.Dense(5, name="hidden")(inputs))))


@odd(X, facts=lambda m: m.get_layer("hidden")._remat_mode)
def rematerialized():
    with keras.RematScope(mode="full"):
        hidden = layers.Dense(5, activation="tanh", name="hidden")
    return around(hidden)


@odd(X, facts=lambda m: m.get_layer("hidden").supports_masking)
def flag_of_masking():
    hidden = layers.Dense(5, name="hidden")
    hidden.supports_masking = False
    return around(hidden)


@odd(X)
def mixed_precision_in_one_layer():
    return around(layers.Dense(5, dtype="mixed_bfloat16", name="hidden"))


# Functions


@odd(X, refused="Lambda|lambda")
def lambda_layer():
    return around(layers.Lambda(lambda x: 2.0 * x, name="twice"))


@odd(X, refused="Lambda|function")
def lambda_layer_of_a_function():
    return around(layers.Lambda(double, output_shape=(6,), name="twice"))


@odd(X, refused="lambda")
def lambda_as_activation():
    return around(layers.Dense(5, activation=lambda x: ops.relu(x) * 2, name="hidden"))


@odd(X)
def registered_functions():
    return around(layers.Dense(5, activation=triple, kernel_regularizer=small, name="hidden"))


@odd(X, refused="'double'")
def unregistered_function():
    return around(layers.Dense(5, activation=double, name="hidden"))


@odd(X, refused="lambda")
def lambdas_everywhere():
    hidden = layers.Dense(
        5,
        kernel_initializer=lambda shape, dtype=None: ops.ones(shape, dtype) / 3,
        kernel_constraint=lambda w: ops.clip(w, -1, 1),
        kernel_regularizer=lambda w: ops.sum(w * w),
        name="hidden",
    )
    return around(hidden)


@odd(FRAMES, refused="lambda")
def lambdas_inside_wrappers():
    inputs = keras.Input((3, 6))
    each = layers.TimeDistributed(layers.Dense(4, activation=lambda x: ops.tanh(x), name="inner"), name="each")
    both = layers.Bidirectional(layers.LSTM(2, name="lstm"), name="both")
    return keras.Model(inputs, head(both(each(inputs))))


def _replaced_call(layer):
    original = layer.call
    layer.call = lambda x, training=None: original(x) + 1.0
    return layer


@odd(X, refused="'call' of 'hidden'", compacted=False)
def call_replaced_by_a_closure():
    return around(_replaced_call(layers.Dense(5, name="hidden")))


# Graphs


@odd(X)
def shared_layers():
    inputs = keras.Input((6,))
    shared = layers.Dense(6, activation="tanh", name="shared")
    return keras.Model(inputs, head(shared(shared(inputs))))


@odd([FRAMES, X], refused="can be read again", compacted=False)
def layer_shared_with_a_wrapper():
    shared, frames, vector = layers.Dense(5, name="shared"), keras.Input((3, 6)), keras.Input((6,))
    pooled = layers.GlobalAveragePooling1D(name="pool")(layers.TimeDistributed(shared, name="each")(frames))
    return keras.Model([frames, vector], head(layers.Concatenate(name="both")([pooled, shared(vector)])))


@odd(X)
def nested_twice():
    inner = keras.Sequential([keras.Input((6,)), layers.Dense(6, activation="relu", name="inner")], name="first")
    inputs = keras.Input((6,))
    return keras.Model(inputs, head(keras.Model(inputs, inner(inner(inputs)), name="second")(inputs)))


@odd({"a": X, "b": X[:, :2]})
def dicts_of_inputs_and_outputs():
    a, b = keras.Input((6,), name="a"), keras.Input((2,), name="b")
    x = layers.Dense(5, activation="relu", name="hidden")(layers.Concatenate(name="both")([a, b]))
    return keras.Model({"a": a, "b": b}, {"y": head(x), "z": layers.Dense(1, name="side")(x)})


@odd(X)
def part_of_a_larger_model():
    inputs = keras.Input((6,))
    x = layers.Dense(5, name="hidden")(inputs)
    keras.Model(inputs, layers.Dense(1, name="behind")(x))
    return keras.Model(inputs, head(layers.ReLU(name="relu")(x)))


@odd(X)
def operations():
    inputs = keras.Input((6,))
    x = layers.Dense(6, name="hidden")(inputs)
    return keras.Model(inputs, head(ops.relu(x + inputs)[:, :4] * 2.0))


@odd(FRAMES)
def attention_and_dropout():
    inputs = keras.Input((3, 6))
    x = layers.MultiHeadAttention(2, 3, dropout=0.1, name="attention")(inputs, inputs)
    return keras.Model(inputs, head(layers.Dropout(0.5, name="drop")(layers.Flatten(name="flat")(x))))


@odd(FRAMES)
def recurrent():
    inputs = keras.Input((3, 6))
    x = layers.Bidirectional(layers.GRU(2, name="gru", return_sequences=True), name="both")(inputs)
    return keras.Model(inputs, head(layers.RNN(layers.LSTMCell(3, name="cell"), name="stack")(x)))


@odd(X)
def noise_with_a_generator():
    inputs = keras.Input((6,))
    x = layers.GaussianNoise(0.1, seed=3, name="noise")(inputs)
    return keras.Model(inputs, head(layers.AlphaDropout(0.2, seed=5, name="drop")(x)))


@odd(IMAGES)
def images():
    inputs = keras.Input((6, 6, 3))
    x = layers.RandomFlip(seed=1, name="flip")(layers.Rescaling(0.5, name="scale")(inputs))
    x = layers.BatchNormalization(name="norm")(layers.Conv2D(4, 3, activation=keras.ops.relu, name="conv")(x))
    x = layers.SpectralNormalization(layers.Conv2D(4, 1, name="inner"), name="spectral")(x)
    return keras.Model(inputs, head(layers.GlobalAveragePooling2D(name="pool")(x)))


# Masked in place


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__(name="subclassed")
        self.hidden = layers.Dense(5, activation=lambda x: 2 * x, name="hidden")
        self.factor = 1.0

    def call(self, x):
        return self.hidden(x) * self.factor


@odd(X, in_place=True, compacted=False, facts=lambda m: m.factor)
def subclassed():
    model = Subclassed()
    model(X)
    model.factor = 3.0
    return model


@odd(X, "torch", refused="can be read again")
def torch_module():
    import torch

    inner = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.Tanh(), torch.nn.BatchNorm1d(5))
    return around(layers.TorchModuleWrapper(inner, output_shape=(None, 5), name="module"))
