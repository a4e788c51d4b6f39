"""Small networks that many tests share: every masked layer, statistics, a seed generator, nesting."""

import keras
import numpy as np
from keras import layers


def small_convnet(name: str = "small") -> keras.Model:
    """Conv, BatchNormalization, Dropout and Dense on 8x8x3 images; functional."""
    inputs = keras.Input((8, 8, 3), name="images")
    x = layers.Conv2D(4, 3, padding="same", name="conv")(inputs)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.ReLU(name="relu")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dropout(0.2, seed=7, name="drop")(x)
    return keras.Model(inputs, layers.Dense(5, name="classifier")(x), name=name)


def mlp() -> keras.Model:
    """A Sequential net of two Dense layers on 6 features."""
    stack = [keras.Input((6,), name="features"), layers.Dense(8, activation="relu", name="hidden")]
    return keras.Sequential([*stack, layers.Dense(5, name="classifier")], name="mlp")


def nested() -> keras.Model:
    """A functional net that holds the Sequential one and a shared layer."""
    inputs = keras.Input((6,), name="features")
    shared = layers.Dense(6, name="shared")
    return keras.Model(inputs, mlp()(shared(shared(inputs))), name="nested")


def attention_like() -> keras.Model:
    """EinsumDense kernels of three axes: (in, heads, size) and (heads, size, out)."""
    inputs = keras.Input((3, 6), name="tokens")
    split = layers.EinsumDense("abc,cde->abde", (3, 2, 4), name="split")(inputs)
    joined = layers.EinsumDense("abde,def->abf", (3, 6), name="join")(split)
    return keras.Model(inputs, joined, name="attention_like")


def _embedding(inputs):
    return layers.Embedding(7, 4, name="layer")(layers.ReLU(name="tokens")(inputs))


def _attention(make, *sizes):
    return lambda x: make(*sizes, name="layer")(x, x)


def _stacked(x):
    return layers.RNN([layers.LSTMCell(5, name="layer"), layers.GRUCell(4, name="second")], name="stacked")(x)


class Subclassed(keras.Model):
    """A model without a graph."""

    def __init__(self, name: str):
        super().__init__(name=name)
        self.dense = layers.Dense(5, name="dense")

    def call(self, x):
        return self.dense(x)


def subclassed(name: str = "subclassed") -> keras.Model:
    """A built model without a graph: one Dense layer on 6 features."""
    model = Subclassed(name)
    model(np.zeros((1, 6), "float32"))
    return model


# kind of layer -> the shape of the inputs, and what the layer makes of them
MASKABLE = {
    "Dense": ((6,), lambda x: layers.Dense(4, name="layer")(x)),
    "EinsumDense": ((3, 6), lambda x: layers.EinsumDense("abc,cd->abd", (3, 4), bias_axes="d", name="layer")(x)),
    "Conv1D": ((8, 3), lambda x: layers.Conv1D(4, 3, name="layer")(x)),
    "Conv2D": ((6, 6, 3), lambda x: layers.Conv2D(4, 3, name="layer")(x)),
    "Conv3D": ((4, 4, 4, 2), lambda x: layers.Conv3D(3, 2, name="layer")(x)),
    "Conv1DTranspose": ((5, 3), lambda x: layers.Conv1DTranspose(4, 3, name="layer")(x)),
    "Conv2DTranspose": ((4, 4, 3), lambda x: layers.Conv2DTranspose(4, 3, strides=2, name="layer")(x)),
    "Conv3DTranspose": ((3, 3, 3, 2), lambda x: layers.Conv3DTranspose(3, 2, name="layer")(x)),
    "DepthwiseConv1D": ((8, 3), lambda x: layers.DepthwiseConv1D(3, depth_multiplier=2, name="layer")(x)),
    "DepthwiseConv2D": ((6, 6, 3), lambda x: layers.DepthwiseConv2D(3, depth_multiplier=2, name="layer")(x)),
    "SeparableConv1D": ((8, 3), lambda x: layers.SeparableConv1D(4, 3, name="layer")(x)),
    "SeparableConv2D": ((6, 6, 3), lambda x: layers.SeparableConv2D(4, 3, name="layer")(x)),
    "Embedding": ((5,), _embedding),
    "SimpleRNNCell": ((4, 3), lambda x: layers.RNN(layers.SimpleRNNCell(5, name="layer"), name="steps")(x)),
    "GRUCell": ((4, 3), lambda x: layers.RNN(layers.GRUCell(5, name="layer"), name="steps")(x)),
    "LSTMCell": ((4, 3), lambda x: layers.RNN(layers.LSTMCell(5, name="layer"), name="steps")(x)),
    "SimpleRNN": ((4, 3), lambda x: layers.SimpleRNN(5, name="layer")(x)),
    "GRU": ((4, 3), lambda x: layers.GRU(5, name="layer")(x)),
    "LSTM": ((4, 3), lambda x: layers.LSTM(5, name="layer")(x)),
    "MultiHeadAttention": ((4, 6), _attention(layers.MultiHeadAttention, 2, 3)),
    "GroupedQueryAttention": ((4, 6), _attention(layers.GroupQueryAttention, 3, 4, 2)),
}
# of these the layer inside is masked
WRAPPED = {
    "TimeDistributed": ((3, 6), lambda x: layers.TimeDistributed(layers.Dense(4, name="layer"), name="each")(x)),
    "Bidirectional": ((4, 3), lambda x: layers.Bidirectional(layers.GRU(5, name="layer"), name="both")(x)),
    "StackedRNNCells": ((4, 3), _stacked),
}


def one_layer(kind: str) -> keras.Model:
    """A net with one layer of that kind in the middle, ending in logits of 5 classes."""
    shape, call = (MASKABLE | WRAPPED)[kind]
    inputs = keras.Input(shape, name="inputs")
    x = layers.Flatten(name="flatten")(call(inputs))
    return keras.Model(inputs, layers.Dense(5, name="classifier")(x), name="one_layer")


def batch(model: keras.Model, count: int = 32, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Random inputs and one-hot targets of 5 classes for a model."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, *model.input_shape[1:])).astype("float32")
    return x, np.eye(5, dtype="float32")[rng.integers(0, 5, count)]


def outputs(model: keras.Model, x: np.ndarray) -> np.ndarray:
    """What `predict` gives, without tracing a function for it."""
    return keras.ops.convert_to_numpy(model(x, training=False))


def half_mask(model: keras.Model, seed: int = 0) -> dict[str, np.ndarray]:
    """A random mask that keeps about half of each kernel."""
    import kerasticket as kt

    rng = np.random.default_rng(seed)
    return {path: rng.random(array.shape) < 0.5 for path, array in kt.get_mask(model).items()}


def compile_for_test(model: keras.Model, optimizer="sgd") -> keras.Model:
    model.compile(optimizer, keras.losses.CategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    return model


def unseal(path) -> None:
    """Makes an HDF5 file of ours one of before they had digests, so that a test may change it."""
    with open(path, "r+b") as file:
        file.write(bytes(512))
