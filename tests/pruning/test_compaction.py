"""Compact models: the same outputs for every kind of layer and mask, and what goes and what stays, by hand."""

import keras
import nets
import numpy as np
import pytest
from keras import layers

import kerasticket as kt
from kerasticket.pruning import structures
from kerasticket.pruning.scopes import in_each_layer

TOLERANCE = 1e-5  # of the largest output, as the docstring of `compact` says


def image_net(body, shape=(8, 8, 3)):
    """A net of 5 logits around what `body` makes of images."""

    def build():
        inputs = keras.Input(shape, name="images")
        x = layers.Flatten(name="flatten")(body(inputs))
        return keras.Model(inputs, layers.Dense(5, name="classifier")(x), name="net")

    return build


def residual(x):
    x = layers.Conv2D(6, 3, name="stem")(x)
    y = layers.Conv2D(6, 3, padding="same", use_bias=False, name="branch")(x)
    y = layers.BatchNormalization(name="norm")(y)
    return layers.ReLU(name="relu")(layers.Add(name="add")([x, layers.Activation("gelu", name="gelu")(y)]))


def depthwise(x):
    x = layers.Conv2D(6, 3, activation="relu", name="first")(x)
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same", name="depthwise")(x)
    x = layers.BatchNormalization(name="norm")(x)
    return layers.Conv2D(6, 1, name="last")(layers.ReLU(6.0, name="relu")(x))


def transposed(x):
    x = layers.Conv2D(6, 3, strides=2, padding="same", activation="relu", name="down")(x)
    x = layers.Conv2DTranspose(5, 3, strides=2, padding="same", activation="relu", name="up")(x)
    return layers.Conv2D(4, 3, name="last")(x)


def branches(x):
    a = layers.Conv2D(4, 3, padding="same", activation="sigmoid", name="a")(x)
    b = layers.MaxPooling2D(3, strides=1, padding="same", name="pool")(layers.Conv2D(5, 1, name="b")(x))
    both = layers.Concatenate(name="both")([a, b])
    return layers.AveragePooling2D(2, name="mean")(layers.Conv2D(6, 2, name="last")(both))


def gated(x):
    x = layers.Conv2D(6, 3, name="features")(x)
    gate = layers.GlobalAveragePooling2D(keepdims=True, name="mean")(x)
    gate = layers.Dense(4, activation="relu", name="squeeze")(gate)
    return layers.Multiply(name="gated")([x, layers.Dense(6, activation="sigmoid", name="gate")(gate)])


def padded(x):
    x = layers.Conv2D(6, 3, name="first")(x)
    x = kt.layers.InstanceNormalization(relu=True, pool_size=2, name="norm")(x)
    x = layers.Conv2D(6, 3, name="second")(layers.ZeroPadding2D(1, name="pad")(x))
    x = layers.GroupNormalization(groups=6, name="groups")(x)
    return layers.UpSampling2D(2, name="larger")(layers.LeakyReLU(name="leaky")(x))


def reshaped(x):
    x = layers.Conv2D(6, 3, activation="relu", name="first")(x)
    x = layers.Reshape((36, 6), name="rows")(x)
    x = layers.Conv1D(5, 3, padding="causal", activation="relu", name="second")(x)
    x = layers.EinsumDense("abc,cd->abd", (36, 4), bias_axes="d", activation="relu", name="third")(x)
    x = layers.EinsumDense("abc,cd->abd", (36, 4), name="fourth")(x)
    return layers.Reshape((6, 6, 4), name="image")(x)


def split_channels(x):
    x = layers.Conv2D(6, 3, name="first")(x)
    return layers.Conv3D(3, 2, name="last")(layers.Reshape((6, 6, 2, 3), name="split")(x))


def one_reshape_twice(x):
    rows = layers.Reshape((-1, 6), name="rows")
    a, b = layers.Conv2D(6, 3, name="a")(x), layers.Conv2D(6, 3, activation="relu", name="b")(x)
    return layers.Conv1D(3, 1, name="last")(layers.Concatenate(name="both")([rows(a), rows(b)]))


def unknown_layers(x):
    x = layers.Conv2D(4, 3, activation="relu", name="first")(x)
    x = layers.Conv2D(4, 3, groups=2, name="grouped")(layers.Conv2D(4, 1, activation="relu", name="second")(x))
    x = layers.LayerNormalization(name="norm")(x) * 2.0
    x = layers.Dense(6, activation="relu", name="third")(layers.Reshape((16, 4), name="tokens")(x))
    return layers.MultiHeadAttention(2, 3, name="attention")(x, x)


def shared(x):
    x = layers.Conv2D(6, 3, activation="relu", name="first")(x)
    twice = layers.Conv2D(6, 1, activation="relu", name="twice")
    return layers.Conv2D(3, 1, name="last")(twice(twice(x)))


def with_inner_models(x):
    inner = keras.Sequential([keras.Input((6, 6, 4)), layers.Conv2D(5, 1, name="one"), layers.Conv2D(4, 1, name="two")])
    inner.name = "inner"
    return layers.Conv2D(4, 1, name="after")(inner(layers.Conv2D(4, 3, name="before")(x)))


def dense_stack():
    stack = [keras.Input((6,)), layers.Dense(8, activation="tanh", name="one"), layers.Dropout(0.5, name="drop")]
    stack += [layers.Dense(7, use_bias=False, name="two"), layers.ELU(name="elu"), layers.Dense(5, name="classifier")]
    return keras.Sequential(stack, name="stack")


NETS = {
    "convnet": lambda: kt.models.convnet((8, 8, 3), 5, width=8, depth=2, seed=0),
    "resnet10": lambda: kt.models.resnet10((8, 8, 3), 5, width=4, seed=0),
    "mlp": nets.mlp,
    "small": nets.small_convnet,
    "nested": nets.nested,
    "dense_stack": dense_stack,
    **{
        body.__name__: image_net(body)
        for body in (residual, depthwise, transposed, branches, gated, padded, reshaped, split_channels)
    },
    **{body.__name__: image_net(body) for body in (one_reshape_twice, unknown_layers, shared, with_inner_models)},
}
SEEDS = (0, 1)


def randomised(model: keras.Model, seed: int) -> keras.Model:
    """The model, masked, with weights, biases and statistics drawn anew and random units and inputs pruned."""
    rng, model = np.random.default_rng(seed), kt.masked(model)
    params = kt.get_params(model)
    for path, array in params.items():
        if array.dtype.kind == "f":
            drawn = rng.normal(0, 0.5 if array.ndim > 1 else 0.1, array.shape)
            params[path] = (abs(drawn) + 0.5 if path.endswith("variance") else drawn).astype(array.dtype)
    kt.set_params(model, params)
    kt.set_mask(model, {path: random_mask(kept.shape, rng) for path, kept in kt.get_mask(model).items()})
    return model


def random_mask(shape, rng) -> np.ndarray:
    """Half of the rows and columns go, and some weights; zero biases come of pruned weights alone."""
    inputs, outputs = (np.where(rng.random(side) < rng.choice([0.3, 0.6]), 0, 1) for side in shape[-2:])
    return (inputs[:, None] * outputs * (rng.random(shape) < 0.9)).astype(bool)


def outputs(model: keras.Model, seed: int = 0) -> np.ndarray:
    x = np.random.default_rng(seed).normal(size=(6, *model.input_shape[1:])).astype("float32")
    return keras.ops.convert_to_numpy(model(x, training=False))


def assert_same_outputs(model: keras.Model, small: keras.Model) -> None:
    expected = outputs(model)
    np.testing.assert_allclose(outputs(small), expected, rtol=0, atol=TOLERANCE * abs(expected).max())


ONCE = [pytest.mark.same_on_every_backend]  # compaction is NumPy; two networks show that the backend agrees


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in ("convnet", "resnet10") else ONCE) for name in NETS]
)
def test_outputs_stay_the_same(name, seed):
    model = randomised(NETS[name](), seed)
    before = kt.get_params(model)
    compacted = kt.compact(model)
    assert_same_outputs(model, compacted.model)
    assert compacted.parameters[0] == kt.strip(model).count_params()
    assert compacted.parameters[1] == compacted.model.count_params()
    assert all((array == before[path]).all() for path, array in kt.get_params(model).items())
    assert not any(isinstance(layer, kt.layers.Masked) for layer in compacted.model._flatten_layers())
    again = kt.compact(compacted.model)
    assert [v.shape for v in again.model.weights] == [v.shape for v in compacted.model.weights]
    assert again.units[0] == again.units[1] == compacted.units[1]


@pytest.mark.parametrize("name", ["convnet", "gated", "reshaped", "with_inner_models"])
def test_a_dense_model_comes_back_as_it_was(name):
    model = NETS[name]()
    compacted = kt.compact(kt.masked(model))
    assert compacted.units[0] == compacted.units[1]
    assert compacted.macs[0] == compacted.macs[1]
    assert [v.shape for v in compacted.model.weights] == [v.shape for v in model.weights]
    np.testing.assert_array_equal(outputs(compacted.model), outputs(model))


def by_half(model: keras.Model, structure: str) -> keras.Model:
    """The masked model with half of the groups of each kernel pruned, those of low magnitude."""
    model = kt.masked(model)
    mask, params = kt.get_mask(model), kt.get_params(model)
    scores = {path: abs(params[path]) for path in mask}
    kt.set_mask(
        model,
        structures.get(structure).prune(model, scores, mask, lambda scores, units: in_each_layer(scores, units, 0.5)),
    )
    return model


def test_half_of_the_channels_of_a_convnet_go():
    model = by_half(kt.models.convnet((8, 8, 3), 5, width=8, seed=0), "channels")
    compacted = kt.compact(model)
    units = {line.layer: line.units for line in compacted.layers}
    assert units["conv_1"] == units["conv_2"] == (8, 4)
    assert units["conv_3"][1] <= 8  # what the classifier reads at one position
    assert_same_outputs(model, compacted.model)


def test_half_of_the_channels_inside_the_blocks_of_a_resnet_go():
    model = by_half(kt.models.resnet18((8, 8, 3), 5, width=4, seed=0), "channels")
    compacted = kt.compact(model)
    inner = [line for line in compacted.layers if line.layer.endswith("_conv1")]
    assert len(inner) == 8
    assert all(line.units[1] == line.units[0] // 2 for line in inner)
    assert compacted.macs[1] < 0.6 * compacted.macs[0]
    assert_same_outputs(model, compacted.model)


def test_what_goes_and_what_it_costs_by_hand():
    stack = [keras.Input((4,)), layers.Dense(3, activation="relu", use_bias=False, name="hidden")]
    model = kt.masked(keras.Sequential([*stack, layers.Dense(2, use_bias=False, name="out")], name="stack"))
    mask = {"hidden/kernel": np.ones((4, 3), bool), "out/kernel": np.ones((3, 2), bool)}
    mask["out/kernel"][0] = False  # unit 0 is read by nobody
    mask["hidden/kernel"][:, 1] = False  # unit 1 is 0
    kt.set_mask(model, mask)
    compacted = kt.compact(model)
    hidden, out = compacted.layers
    assert (hidden.units, hidden.parameters, hidden.macs, hidden.idle) == ((3, 1), (12, 4), (12, 4), 0)
    assert (out.units, out.parameters, out.macs) == ((2, 2), (6, 2), (6, 2))
    assert (compacted.units, compacted.parameters, compacted.macs) == ((5, 3), (18, 6), (18, 6))
    assert compacted.unknown == ()
    assert "3 -> 1" in str(compacted)
    np.testing.assert_array_equal(kt.get_params(compacted.model)["out/kernel"], kt.get_params(model)["out/kernel"][2:])


def constant_unit(**after) -> keras.Model:
    """Filter 0 of the first convolution sends out relu(0.5) everywhere; a second one reads it."""
    inputs = keras.Input((6, 6, 3), name="images")
    x = layers.Conv2D(4, 3, activation="relu", name="first")(inputs)
    x = layers.Conv2D(5, 2, name="second", **after)(x)
    model = kt.masked(keras.Model(inputs, x, name="constant"))
    params = kt.get_params(model)
    params["first/bias"] = np.array([0.5, 0, 0, 0], "float32")
    kt.set_params(model, params)
    mask = kt.get_mask(model)
    mask["first/kernel"][..., 0] = False
    kt.set_mask(model, mask)
    return model


def test_a_constant_moves_into_the_bias_where_that_is_exact():
    model = constant_unit()
    compacted = kt.compact(model)
    params = kt.get_params(model)
    # In float64: kernels are drawn anew each time, and in float32 a sum near zero has few digits.
    expected = params["second/bias"] + 0.5 * params["second/kernel"][:, :, 0].sum((0, 1), dtype=np.float64)
    np.testing.assert_allclose(kt.get_params(compacted.model)["second/bias"], expected, rtol=1e-6)
    assert compacted.layers[0].units == (4, 3)
    assert_same_outputs(model, compacted.model)


def test_a_layer_without_a_bias_gets_one_if_it_needs_it():
    model = constant_unit(use_bias=False)
    compacted = kt.compact(model)
    assert compacted.model.get_layer("second").use_bias
    assert compacted.layers[1].parameters == (4 * 4 * 5, 4 * 3 * 5 + 5)
    assert_same_outputs(model, compacted.model)


def test_a_constant_in_front_of_zero_padding_stays_and_is_named():
    model = constant_unit(padding="same")
    compacted = kt.compact(model)
    assert (compacted.layers[0].units, compacted.layers[0].idle) == ((4, 4), 1)
    assert "Units that stay though no weight leads to them (LayerChange.idle), 1:" in str(compacted)
    assert "  1 in first" in str(compacted)
    assert_same_outputs(model, compacted.model)


def test_a_layer_that_is_all_dead_keeps_one_unit():
    model = kt.masked(nets.mlp())
    kt.set_mask(model, {"hidden/kernel": np.zeros((6, 8), bool)})
    compacted = kt.compact(model)
    assert compacted.layers[0].units == (8, 1)
    assert_same_outputs(model, compacted.model)


def test_what_channels_are_not_followed_through_is_named():
    compacted = kt.compact(kt.masked(NETS["unknown_layers"]()))
    for name in ("grouped (Conv2D)", "norm (LayerNormalization)", "attention (MultiHeadAttention)"):
        assert name in compacted.unknown
    assert "Nothing is taken out around grouped (Conv2D), norm (LayerNormalization)" in str(compacted)


def test_a_compact_model_is_trained_and_saved_like_any_other(tmp_path):
    small = kt.compact(randomised(NETS["padded"](), 0)).model
    nets.compile_for_test(small).fit(*nets.batch(small), verbose=0)
    small.save(tmp_path / "small.keras")
    np.testing.assert_array_equal(outputs(keras.saving.load_model(tmp_path / "small.keras")), outputs(small))


def test_models_without_a_graph_are_refused():
    model = nets.subclassed("own")
    with pytest.raises(ValueError, match="Expected a Sequential or functional model.*'own' of type Subclassed"):
        kt.compact(model)
    with pytest.raises(ValueError, match="Expected a built model. Received: 'later'"):
        kt.compact(keras.Sequential([layers.Dense(5, name="dense")], name="later"))
    with pytest.raises(ValueError, match="Expected a keras.Model. Received: 3 of type int"):
        kt.compact(3)
