"""Models of every kind that people prune, small ones, those of keras.applications and KerasHub; what each must stand.

Not run by itself: `model_table.py` and the tests go through it. KerasHub's need `pip install keras-hub`.
"""

import importlib
import importlib.util
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import layers

import kerasticket as kt
from kerasticket.models.paths import SEED_STATE, raw_params
from kerasticket.params import differing
from kerasticket.tickets.conversion import MasksWouldBeLostError


@keras.saving.register_keras_serializable(package="models_to_prune")
class Positions(layers.Layer):
    """Adds a vector of its own to each position."""

    def build(self, shape):
        self.positions = self.add_weight(shape=shape[1:], initializer="normal", name="positions")

    def call(self, x):
        return x + self.positions


@keras.saving.register_keras_serializable(package="models_to_prune")
class Block(layers.Layer):
    """A transformer block that makes its layers itself, some with names, some without."""

    def __init__(self, width: int, heads: int = 2, **kwargs):
        super().__init__(**kwargs)
        self.width, self.heads = width, heads
        self.attention = layers.MultiHeadAttention(heads, width // heads)
        self.first_norm = layers.LayerNormalization()
        self.second_norm = layers.LayerNormalization()
        self.wide = layers.Dense(2 * width, activation="gelu")
        self.narrow = layers.Dense(width, name="narrow")

    def build(self, shape):
        self.attention.build(shape, shape)
        for layer in (self.first_norm, self.second_norm, self.wide):
            layer.build(shape)
        self.narrow.build((*shape[:-1], 2 * self.width))

    def call(self, x):
        x = x + self.attention(self.first_norm(x), self.first_norm(x))
        return x + self.narrow(self.wide(self.second_norm(x)))

    def compute_output_shape(self, shape):
        return shape

    def get_config(self):
        return super().get_config() | {"width": self.width, "heads": self.heads}


@keras.saving.register_keras_serializable(package="models_to_prune")
class Net(keras.Model):
    """Subclassed, with a train step of its own and layers without names."""

    def __init__(self, width: int = 8, **kwargs):
        super().__init__(**kwargs)
        self.width = width
        self.convolution = layers.Conv2D(width, 3, activation="relu")
        self.norm = layers.BatchNormalization()
        self.head = keras.Sequential([layers.GlobalAveragePooling2D(), layers.Dense(width), layers.Dropout(0.1)])
        self.classifier = layers.Dense(5)

    def call(self, x, training=False):
        return self.classifier(self.head(self.norm(self.convolution(x), training=training), training=training))

    def train_step(self, *args):
        self.steps = getattr(self, "steps", 0) + 1
        return super().train_step(*args)


def _transformer(x, blocks: int, width: int):
    """Blocks of plain Keras layers, every one named."""
    for index in range(blocks):
        name = f"block_{index}"
        y = layers.LayerNormalization(name=f"{name}_norm_1")(x)
        x = x + layers.MultiHeadAttention(2, width // 2, dropout=0.1, name=f"{name}_attention")(y, y)
        y = layers.LayerNormalization(name=f"{name}_norm_2")(x)
        y = layers.Dense(2 * width, activation="gelu", name=f"{name}_wide")(y)
        x = x + layers.Dense(width, name=f"{name}_narrow")(y)
    return x


def vision_transformer() -> keras.Model:
    images = keras.Input((8, 8, 3), name="images")
    x = layers.Conv2D(8, 4, strides=4, name="patches")(images)
    x = layers.Reshape((4, 8), name="tokens")(x)
    x = Positions(name="add_positions")(x)
    x = layers.GlobalAveragePooling1D(name="pool")(_transformer(x, 2, 8))
    return keras.Model(images, layers.Dense(5, name="classifier")(x), name="vision_transformer")


def text_transformer() -> keras.Model:
    tokens = keras.Input((6,), dtype="int32", name="tokens")
    x = _transformer(layers.Embedding(20, 8, name="words")(tokens), 1, 8)
    return keras.Model(tokens, layers.Dense(5, name="classifier")(layers.Flatten(name="flat")(x)), name="text")


def own_blocks() -> keras.Model:
    tokens = keras.Input((6,), dtype="int32", name="tokens")
    x = layers.Embedding(20, 8, name="words")(tokens)
    x = Block(8, name="second")(Block(8, name="first")(x))
    return keras.Model(tokens, layers.Dense(5, name="classifier")(layers.Flatten(name="flat")(x)), name="own_blocks")


def lstm() -> keras.Model:
    inputs = keras.Input((6, 4), name="inputs")
    x = layers.Bidirectional(layers.LSTM(5, return_sequences=True, name="read"), name="both")(inputs)
    x = layers.GRU(6, name="over_time")(layers.TimeDistributed(layers.Dense(6, name="mix"), name="each")(x))
    return keras.Model(inputs, layers.Dense(5, name="classifier")(x), name="recurrent")


def autoencoder() -> keras.Model:
    images = keras.Input((8, 8, 3), name="images")
    x = layers.Conv2D(4, 3, strides=2, padding="same", activation="relu", name="encode")(images)
    x = layers.SeparableConv2D(6, 3, padding="same", name="code")(x)
    return keras.Model(images, layers.Conv2DTranspose(3, 3, strides=2, padding="same", name="decode")(x), name="auto")


def nested() -> keras.Model:
    features = keras.Input((6,), name="features")
    shared = layers.Dense(6, name="shared")
    stack = [keras.Input((6,), name="inner"), layers.Dense(8, activation="relu", name="hidden")]
    inner = keras.Sequential([*stack, layers.Dense(5, name="logits")], name="inner_model")
    return keras.Model(features, inner(shared(shared(features))), name="nested")


def mobile() -> keras.Model:
    images = keras.Input((8, 8, 3), name="images")
    x = layers.DepthwiseConv2D(3, padding="same", name="depthwise")(layers.Conv2D(8, 1, name="expand")(images))
    x = layers.BatchNormalization(name="norm")(layers.Conv2D(4, 1, name="project")(x))
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(images, layers.Dense(5, name="classifier")(x), name="mobile")


def subclassed() -> keras.Model:
    model = Net(name="net")
    model(np.zeros((1, 8, 8, 3), "float32"))
    return model


def _application(name: str, side: int) -> Callable[[], keras.Model]:
    return lambda: getattr(keras.applications, name)(weights=None, input_shape=(side, side, 3), classes=5)


_SMALL: dict[str, Any] = {"num_layers": 2, "num_heads": 2, "hidden_dim": 8}  # of KerasHub's transformers


def hub_vision() -> keras.Model:
    hub = importlib.import_module("keras_hub").models
    backbone = hub.ViTBackbone(image_shape=(8, 8, 3), patch_size=4, mlp_dim=16, **_SMALL)
    return hub.ViTImageClassifier(backbone=backbone, num_classes=5, preprocessor=None)


def hub_resnet() -> keras.Model:
    stacks = {"stackwise_num_filters": [64, 8], "stackwise_num_blocks": [1, 1], "stackwise_num_strides": [1, 2]}
    convolutions = {"input_conv_filters": [64], "input_conv_kernel_sizes": [3], "block_type": "basic_block"}
    hub = importlib.import_module("keras_hub").models
    backbone = hub.ResNetBackbone(image_shape=(8, 8, 3), **convolutions, **stacks)
    return hub.ResNetImageClassifier(backbone=backbone, num_classes=5, preprocessor=None)


def _hub_text(backbone: str, segments: bool = False, **sizes: Any) -> Callable[[], keras.Model]:
    """A backbone inside a user's own model."""

    def build() -> keras.Model:
        sized = getattr(importlib.import_module("keras_hub").models, backbone)
        inner = sized(vocabulary_size=20, intermediate_dim=16, name="backbone", **sizes)
        tokens = keras.Input((6,), dtype="int32", name="tokens")
        inputs = {"token_ids": tokens, "padding_mask": keras.ops.ones_like(tokens)}
        inputs |= {"segment_ids": keras.ops.zeros_like(tokens)} if segments else {}
        outputs = inner(inputs)
        x = layers.Flatten(name="flat")(outputs["sequence_output"] if segments else outputs)
        x = layers.Concatenate(name="both")([x, outputs["pooled_output"]]) if segments else x
        return keras.Model(tokens, layers.Dense(5, name="classifier")(x), name="text")

    return build


class ModelToPrune(NamedTuple):
    """A builder, the shape of an input, and below which number an input is a whole one; None: real numbers."""

    build: Callable[[], keras.Model]
    shape: tuple[int, ...]
    tokens: int | None = None
    slow: bool = False
    needs: str = "keras"  # the package that has it

    def missing(self) -> str:
        """Why it can't be tried here; "" if it can."""
        return "" if importlib.util.find_spec(self.needs) else f"skipped: {self.needs} is not installed"


MODELS_TO_PRUNE = {
    "vision transformer": ModelToPrune(vision_transformer, (8, 8, 3)),
    "text transformer": ModelToPrune(text_transformer, (6,), 20),
    "blocks of one's own": ModelToPrune(own_blocks, (6,), 20),
    "LSTM and GRU": ModelToPrune(lstm, (6, 4)),
    "autoencoder": ModelToPrune(autoencoder, (8, 8, 3)),
    "nested and shared": ModelToPrune(nested, (6,)),
    "depthwise": ModelToPrune(mobile, (8, 8, 3)),
    "subclassed": ModelToPrune(subclassed, (8, 8, 3)),
    "KerasHub ViT": ModelToPrune(hub_vision, (8, 8, 3), needs="keras_hub"),
    "KerasHub ResNet": ModelToPrune(hub_resnet, (8, 8, 3), needs="keras_hub"),
    "KerasHub BERT": ModelToPrune(
        _hub_text("BertBackbone", segments=True, max_sequence_length=6, **_SMALL), (6,), 20, needs="keras_hub"
    ),
    "KerasHub GPT-2": ModelToPrune(
        _hub_text("GPT2Backbone", max_sequence_length=6, **_SMALL), (6,), 20, needs="keras_hub"
    ),
    "KerasHub Llama": ModelToPrune(
        _hub_text("LlamaBackbone", num_layers=2, num_query_heads=2, num_key_value_heads=1, hidden_dim=8),
        (6,),
        20,
        needs="keras_hub",
    ),
    "ResNet50": ModelToPrune(_application("ResNet50", 32), (32, 32, 3), slow=True),
    "MobileNetV2": ModelToPrune(_application("MobileNetV2", 32), (32, 32, 3), slow=True),
    "EfficientNetV2B0": ModelToPrune(_application("EfficientNetV2B0", 32), (32, 32, 3), slow=True),
    "ConvNeXtTiny": ModelToPrune(_application("ConvNeXtTiny", 32), (32, 32, 3), slow=True),
    "DenseNet121": ModelToPrune(_application("DenseNet121", 32), (32, 32, 3), slow=True),
}


STEPS = ("mask", "train 2 steps", "exact zeros", "save", "load", "strip bit-equal")
ELSEWHERE = "load on another backend"


def steps(name: str, folder: Path) -> Iterator[str]:
    """Takes a model through all of it on this backend, and yields each of `STEPS` when it has passed.

    Raises:
        AssertionError: a step gives something else than it must.
    """
    model, x = masked(name), batch(name)
    rng = np.random.default_rng(1)
    kt.set_mask(model, {path: rng.random(kept.shape) < 0.5 for path, kept in kt.get_mask(model).items()})
    yield "mask"
    model.compile(keras.optimizers.SGD(1e-3, momentum=0.9), "mse", metrics=[])  # KerasHub's have metrics of labels
    before = weights(model)
    model.fit(x, rng.normal(size=model.predict_on_batch(x).shape), batch_size=len(x) // 2, epochs=1, verbose=0)
    assert all((before[path] != weights(model)[path]).any() for path in kt.get_mask(model))
    yield "train 2 steps"
    pruned = [raw_params(model)[path][~kept] for path, kept in kt.get_mask(model).items()]
    assert all(array.size and not array.any() for array in pruned)
    yield "exact zeros"
    save(model, folder)
    expected = model.predict_on_batch(x)
    np.savez(folder / "expected.npz", outputs=expected)
    yield "save"
    compare(load(name, folder), model)
    np.testing.assert_array_equal(load(name, folder).predict_on_batch(x), expected)
    yield "load"
    there = weights(model)
    plain = kt.strip(model)
    assert not kt.get_mask(plain)
    assert not differing(weights(plain), there)
    np.testing.assert_array_equal(plain.predict_on_batch(x), expected)
    yield "strip bit-equal"


def load_elsewhere(name: str, folder: Path) -> None:
    """Loads, on another backend, what `steps` has saved; raises AssertionError if it is not the same model."""
    model = load(name, folder)
    ticket = kt.Ticket.load(folder / "ticket.keras")
    assert not differing(kt.get_mask(model), ticket.mask)
    assert not differing(
        weights(model), {path: a for path, a in ticket.params.items() if not path.endswith(SEED_STATE)}
    )
    outputs = np.load(folder / "expected.npz")["outputs"]
    scale = np.abs(outputs).max()
    np.testing.assert_allclose(model.predict_on_batch(batch(name)) / scale, outputs / scale, atol=1e-4)


def masked(name: str) -> keras.Model:
    """A new model of that name with masks on all its kernels."""
    with warnings.catch_warnings():
        # Positions, and embeddings of KerasHub's own classes
        warnings.filterwarnings("ignore", "These weights are of layers that cannot be masked")
        return kt.masked(MODELS_TO_PRUNE[name].build())


def sizes(name: str) -> dict[str, str]:
    """How many weights the model has, and how many of them masks hold."""
    model = masked(name)
    total = sum(array.size for array in weights(model).values())
    return {"weights": f"{total:,}", "masked": f"{sum(kept.size for kept in kt.get_mask(model).values()):,}"}


def save(model: keras.Model, folder: Path) -> None:
    """Writes a ticket, and a `.keras` file where Keras can build the model again with its masks."""
    kt.Ticket.dense(model).save(folder / "ticket.keras")
    try:
        model.save(folder / "model.keras")
    except MasksWouldBeLostError:
        (folder / "model.keras").unlink(missing_ok=True)  # Keras opens it before it asks for the config


def load(name: str, folder: Path) -> keras.Model:
    """The model from its `.keras` file, or else a new one that the ticket is applied to."""
    if (folder / "model.keras").exists():
        return keras.saving.load_model(folder / "model.keras", compile=False)
    model = masked(name)
    kt.Ticket.load(folder / "ticket.keras").apply(model)
    return model


def compare(model: keras.Model, other: keras.Model) -> None:
    """Raises AssertionError unless all weights and masks are the same to the bit."""
    assert not differing(kt.get_mask(model), kt.get_mask(other))
    assert not differing(weights(model), weights(other))


def weights(model: keras.Model) -> dict[str, np.ndarray]:
    """All but the states of random generators, which Keras leaves out of its files."""
    return {path: array for path, array in raw_params(model).items() if not path.endswith(SEED_STATE)}


def batch(name: str, count: int = 8) -> np.ndarray:
    """Random inputs for a model."""
    rng, model = np.random.default_rng(0), MODELS_TO_PRUNE[name]
    if model.tokens is not None:
        return rng.integers(0, model.tokens, (count, *model.shape)).astype("int32")
    return rng.normal(size=(count, *model.shape)).astype("float32")
