"""Operations of keras.ops in functional models: channels go through them as through the layers that do the same."""

import keras
import nets
import numpy as np
import pytest
from keras import layers, ops

import kerasticket as kt
from kerasticket.models.graph.channels import channel_groups
from kerasticket.pruning.allocation import Allocation
from kerasticket.pruning.coupled import CoupledChannels


def network(join, act, pool) -> keras.Model:
    """A residual block; what joins its branches, acts on them and pools them is given."""
    inputs = keras.Input((4, 4, 3), name="images")
    stream = layers.Conv2D(6, 3, padding="same", name="stem")(inputs)
    hidden = act(layers.Conv2D(5, 3, padding="same", name="one")(stream))
    x = join(stream, layers.Conv2D(6, 3, padding="same", name="two")(hidden))
    return kt.masked(keras.Model(inputs, layers.Dense(5, name="out")(pool(x)), name="block"))


def add(a, b):
    return layers.Add(name="add")([a, b])


def relu(x):
    return layers.ReLU(name="relu")(x)


def pool(x):
    return layers.GlobalAveragePooling2D(name="pool")(x)


LIKE_LAYERS = {
    "a + b": (lambda a, b: a + b, relu, pool),
    "ops.add": (ops.add, relu, pool),
    "a - b": (lambda a, b: a - b, relu, pool),
    "a * b": (lambda a, b: a * b, relu, pool),
    "maximum": (ops.maximum, relu, pool),
    "numbers": (lambda a, b: (1 - 2 * a) / 4 + b * 0.5, relu, pool),
    "relu": (add, ops.relu, pool),
    "activations.gelu": (add, keras.activations.gelu, pool),
    "clip": (add, lambda x: ops.clip(x, 0, 6), pool),
    "pad": (add, relu, lambda x: pool(ops.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]]))),
    "mean": (add, relu, lambda x: ops.mean(x, axis=(1, 2))),
    "max, kept": (add, relu, lambda x: ops.squeeze(ops.max(x, axis=[1, 2], keepdims=True), (1, 2))),
    "pooled": (add, relu, lambda x: layers.Flatten(name="flatten")(ops.average_pool(x, 2, 2))),
    "flattened": (add, relu, lambda x: ops.reshape(x, (-1, 96))),
    "all": (lambda a, b: ops.relu(a + b), ops.silu, lambda x: ops.mean(x, (1, 2))),
}


@pytest.mark.parametrize("kind", LIKE_LAYERS)
def test_groups_and_smaller_models_are_those_of_the_layers(kind):
    model = network(*LIKE_LAYERS[kind])
    sizes = {name: (g.size, [c.path for c in g.carriers]) for name, g in channel_groups(model).items()}
    expected = channel_groups(network(add, relu, pool))
    assert sizes == {name: (g.size, [c.path for c in g.carriers]) for name, g in expected.items()}
    kt.callbacks.PruneAtInitialization("magnitude", 0.5, scope="layer", structure="coupled_channels").find(model).apply(
        model
    )
    x, _ = nets.batch(model, 6)
    compacted = kt.compact(model)
    np.testing.assert_allclose(nets.outputs(compacted.model, x), nets.outputs(model, x), atol=1e-5)
    # What a reshape is told the size of stays whole; else all pruned channels are gone.
    stream = 6 if kind == "flattened" else 3
    assert [line.units[1] for line in compacted.layers] == [stream, 3, stream, 5]


def test_concatenation_shifts_channels():
    inputs = keras.Input((4, 4, 3), name="images")
    branches = [layers.Conv2D(4, 1, name=name)(inputs) for name in ("left", "right")]
    x = ops.mean(ops.concatenate(branches, axis=-1), axis=(1, 2))
    model = kt.masked(keras.Model(inputs, layers.Dense(5, name="out")(x), name="branches"))
    where = {name: [(c.path, c.positions.ravel().tolist()) for c in g.carriers if c.path == "out/kernel"]
             for name, g in channel_groups(model).items()}  # fmt: skip
    assert where == {"left": [("out/kernel", [0, 1, 2, 3])], "right": [("out/kernel", [4, 5, 6, 7])]}


REFUSED = {
    "Transpose": lambda x: ops.matmul(x, ops.transpose(x, (0, 1, 3, 2))),
    "GetItem": lambda x: x[..., :3],
    "Multiply": lambda x: x * np.arange(6, dtype="float32"),
    "Mean": lambda x: ops.mean(x, axis=-1, keepdims=True),
    "TrueDivide": lambda x: 1 / (x + 1),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_mixes_channels_is_refused_by_name_or_kept_whole(kind):
    inputs = keras.Input((4, 4, 3), name="images")
    hidden = layers.Conv2D(6, 3, padding="same", name="first")(inputs)
    x = layers.GlobalAveragePooling2D(name="pool")(REFUSED[kind](hidden))
    x = layers.Dense(8, activation="relu", name="hidden")(x)
    model = kt.masked(keras.Model(inputs, layers.Dense(5, name="out")(x), name="odd"))
    scores = {path: np.ones(kept.shape) for path, kept in kt.get_mask(model).items()}
    with pytest.raises(ValueError, match=rf"Expected .*Received: '\w+' of type \w*{kind}"):
        Allocation("global", CoupledChannels(unknown="refuse")).to_sparsity(model, scores, kt.get_mask(model), 0.5)
    with pytest.warns(UserWarning, match=rf"stay whole, as they cannot be followed.*{kind}"):
        mask = Allocation("global", "coupled_channels").to_sparsity(model, scores, kt.get_mask(model), 0.5)
    assert mask["first/kernel"].all()
    assert mask["hidden/kernel"].any(0).sum() == 4
