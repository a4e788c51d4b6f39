"""Rules of Taylor mode against finite differences along curves, and what their engine promises."""

import math
from functools import partial

import keras
import numpy as np
import pytest
from architectures import small
from keras import activations, layers, ops

import kerasticket as kt
from kerasticket.analysis.taylor import AlongLines, lines
from kerasticket.analysis.taylor.graph import steps_of
from kerasticket.analysis.taylor.jets import Jet, Lines, merged
from kerasticket.analysis.taylor.rules import ACTIVATIONS, FUNCTIONS, RULES, rules_of
from kerasticket.layers.normalization import BatchNormalization, InstanceNormalization

pytestmark = pytest.mark.usefixtures("float64", "plain_operations")

BATCH, LINES = 2, 3
CROSS_ENTROPY = keras.losses.CategoricalCrossentropy(from_logits=True)
SIDES = {1: (7, 4), 2: (6, 7, 4), 3: (4, 5, 4, 4)}
CONVOLUTIONS = (
    {"padding": "same", "strides": 2},
    {"padding": "valid", "dilation_rate": 2},
    {"padding": "same", "use_bias": False},
)
EINSUMS = (("abc,cd->abd", (5, 3), {"bias_axes": "d"}), ("...c,cde->...de", (2, 3), {"bias_axes": "de"}))
AXES = (1, 2, 3)


def kinds(name: str, home=layers) -> list[type]:
    return [getattr(home, f"{name}{n}D") for n in AXES]


def convolutions(cls, axes: int) -> list:
    causal = [{"padding": "causal", "dilation_rate": 2}] if axes == 1 else []
    return [(partial(cls, 3, 2, **options), SIDES[axes]) for options in (*CONVOLUTIONS, *causal)]


# kind -> configurations, each a builder and the shape of an input; every rule has to be here
CASES = {
    **{cls: [(partial(cls, 3), (4,)), (partial(cls, 3), (2, 4))] for cls in (layers.Dense, kt.layers.MaskedDense)},
    **{
        cls: [(partial(cls, equation, shape, **bias), (5, 4)) for equation, shape, bias in EINSUMS]
        for cls in (layers.EinsumDense, kt.layers.MaskedEinsumDense)
    },
    **{cls: convolutions(cls, n) for n, cls in zip(AXES, kinds("Conv"), strict=True)},
    **{cls: convolutions(cls, n) for n, cls in zip(AXES, kinds("MaskedConv", kt.layers), strict=True)},
    InstanceNormalization: [
        (InstanceNormalization, SIDES[2]),
        (partial(InstanceNormalization, relu=True, pool_size=2), SIDES[2]),
        (partial(InstanceNormalization, scale=False, center=False, relu=True), SIDES[3]),
        (partial(InstanceNormalization, pool_size=2), SIDES[1]),
    ],
    **{
        cls: [(cls, SIDES[2]), (partial(cls, scale=False, center=False), (4,))]
        for cls in (layers.BatchNormalization, BatchNormalization)
    },
    **{
        cls: [(partial(cls, 2, padding=padding), SIDES[n]) for padding in ("same", "valid")]
        for name in ("AveragePooling", "MaxPooling")
        for n, cls in zip(AXES, kinds(name), strict=True)
    },
    **{
        cls: [(cls, SIDES[n])]
        for name in ("GlobalAveragePooling", "ZeroPadding", "Cropping", "UpSampling")
        for n, cls in zip(AXES, kinds(name), strict=True)
    },
    **{cls: [(partial(cls, 0.5), SIDES[n])] for n, cls in zip(AXES, kinds("SpatialDropout"), strict=True)},
    **{cls: [(partial(cls, 0.5), (4,))] for cls in (layers.Dropout, layers.GaussianNoise, layers.GaussianDropout)},
    **{cls: [(cls, (3, 4))] for cls in (layers.Identity, layers.Flatten)},
    layers.Reshape: [(partial(layers.Reshape, (6, 2)), (3, 4))],
    layers.Permute: [(partial(layers.Permute, (2, 1)), (3, 4))],
    layers.ReLU: [(partial(layers.ReLU, max_value=1.0, negative_slope=0.2, threshold=0.1), (4,))],
    layers.LeakyReLU: [(layers.LeakyReLU, (4,))],
    layers.ELU: [(layers.ELU, (4,))],
}
TRIED = [
    pytest.param(
        kind,
        id=kind.__name__,
        marks=pytest.mark.skipif(
            keras.config.backend() == "tensorflow" and kind in (layers.AveragePooling3D, layers.MaxPooling3D),
            reason="TensorFlow pools three axes in float32 only",
        ),
    )
    for kind in CASES
]
MERGING = (layers.Add, layers.Subtract, layers.Average)


def test_every_rule_has_a_case():
    """A new rule is refused until it is in the table above."""
    assert set(CASES) | set(MERGING) == set(RULES) | set(FUNCTIONS)


def built(make, shape):
    """(rule, what it is about, layer) with weights that are no zeros or ones, and half the kernel pruned if masked."""
    layer = make()
    layer.build((None, *shape))
    rng = np.random.default_rng(0)
    for variable in layer.weights:
        if variable.dtype != "bool":
            variable.assign(0.5 + rng.random(variable.shape))
    if isinstance(layer, kt.layers.Masked):
        layer.set_mask(rng.random(layer.mask.shape) < 0.5)
    ((rule, about),) = rules_of(layer)
    return rule, about, layer


def curve_of(rule, about, x, first, second):
    """(f', f'') of the rule's value along x + t first + t^2/2 second, by central differences."""
    return differences(lambda t: rule.value(about, ops.convert_to_tensor(x + t * first + t * t / 2 * second)))


def differences(function, step: float = 1e-4):
    above, at, below = (ops.convert_to_numpy(function(t)) for t in (step, 0.0, -step))
    return (above - below) / (2 * step), (above - 2 * at + below) / step**2


def close(actual, expected):
    np.testing.assert_allclose(ops.convert_to_numpy(actual), expected, rtol=1e-5, atol=1e-5)


def draws(*shapes):
    rng = np.random.default_rng(1)
    return [rng.normal(size=shape) for shape in shapes]


def check_carry(rule, about, shape):
    """Jets that move all channels, and jets that move one each, against differences along each line."""
    x, first, second = draws((BATCH, *shape), (LINES, BATCH, *shape), (LINES, BATCH, *shape))
    jet = rule.carry(about, ops.convert_to_tensor(x), Jet(*map(ops.convert_to_tensor, (first, second))))
    for line in range(LINES):
        for actual, expected in zip(
            (jet.first, jet.second), curve_of(rule, about, x, first[line], second[line]), strict=True
        ):
            close(actual[line], expected)
    channels = np.array([2, 0, 2])
    one = [np.moveaxis(np.stack([each[k][..., c] for k, c in enumerate(channels)]), 0, -1) for each in (first, second)]
    jet = rule.carry(about, ops.convert_to_tensor(x), Jet(*map(ops.convert_to_tensor, (*one, channels))))
    assert (jet.channels is not None) == rule.channelwise
    alone = np.eye(shape[-1])[channels]
    for line in range(LINES):
        moving = [each[line] * alone[line] for each in (first, second)]
        expected = curve_of(rule, about, x, *moving)
        jet = jet.spread(expected[0].shape[-1])
        close(jet.first[line], expected[0])
        close(jet.second[line], expected[1])


@pytest.mark.long_on_jax
@pytest.mark.parametrize("kind", TRIED)
def test_carrying(kind):
    """Both derivatives behind the layer are those of finite differences; what moves one channel stays so if it can."""
    for make, shape in CASES[kind]:
        rule, about, _ = built(make, shape)
        check_carry(rule, about, shape)


@pytest.mark.long_on_jax
@pytest.mark.parametrize("function", ACTIVATIONS, ids=lambda function: function.__name__)
def test_activations(function):
    """As layers are."""
    check_carry(ACTIVATIONS[function], function, (4,))


@pytest.mark.long_on_jax
@pytest.mark.parametrize("kind", TRIED)
def test_values_and_starts(kind):
    """The value is the layer's; a line that starts at a weight moves its output as finite differences of it say."""
    for make, shape in CASES[kind]:
        rule, about, layer = built(make, shape)
        (x,) = draws((BATCH, *shape))
        x = ops.convert_to_tensor(x)
        y = rule.value(about, x)
        np.testing.assert_allclose(ops.convert_to_numpy(y), ops.convert_to_numpy(layer(x, training=False)), rtol=1e-6)
        assert {weight.name for weight in layer.trainable_variables} == set(rule.starts) & {
            w.name for w in layer.weights
        }
        for variable in layer.trainable_variables:
            check_start(rule, layer, variable, x, y)


def check_start(rule, layer, variable, x, y):
    value = np.array(ops.convert_to_numpy(variable.value))
    kept = (
        np.array(ops.convert_to_numpy(layer.mask))
        if variable.name == "kernel" and hasattr(layer, "mask")
        else value > 0
    )
    chosen = np.random.default_rng(2).choice(np.flatnonzero(kept), min(LINES, kept.sum()), replace=False)
    rows, channels = (part.astype("int32") for part in np.divmod(chosen, value.shape[-1]))
    jet = rule.starts[variable.name](layer, x, y, Lines(*map(ops.convert_to_tensor, (rows, channels))))
    assert (jet.channels is not None) == rule.starts_with_one_channel
    jet = jet.spread(y.shape[-1])

    def moved(position):
        def along(t):
            variable.assign(value + t * np.eye(1, value.size, position).reshape(value.shape))
            return rule.value(layer, x)

        return along

    for line, position in enumerate(chosen):
        first, second = differences(moved(position))
        close(jet.first[line], first)
        close(jet.second[line], second)
    variable.assign(value)


@pytest.mark.parametrize("kind", MERGING, ids=lambda kind: kind.__name__)
def test_merging(kind):
    """Tensors that move in all channels, in one, or not at all, in any combination."""
    layer = kind()
    layer.build([(None, 4), (None, 4)])
    ((rule, about),) = rules_of(layer)
    points = [ops.convert_to_tensor(x) for x in draws((BATCH, 4), (BATCH, 4))]
    first, second = draws((LINES, BATCH, 4), (LINES, BATCH, 4))
    full = Jet(ops.convert_to_tensor(first), ops.convert_to_tensor(second))
    channels = ops.convert_to_tensor(np.array([3, 1, 1]))
    one = Jet(*(ops.convert_to_tensor(x) for x in draws((BATCH, LINES), (BATCH, LINES))), channels)
    for jets in ([full, full], [one, one], [full, one], [one, full], [full, None], [None, one]):
        actual = rule.carry(about, points, merged(jets, points)).spread(4)
        parts = [
            jet.spread(4) if jet else Jet(ops.zeros((LINES, BATCH, 4)), ops.zeros((LINES, BATCH, 4))) for jet in jets
        ]
        for name in ("first", "second"):
            close(getattr(actual, name), ops.convert_to_numpy(layer([getattr(part, name) for part in parts])))


@pytest.mark.parametrize(
    "make",
    [
        lambda: layers.Conv2D(4, 2, groups=2),
        lambda: layers.Conv2D(4, 2, data_format="channels_first"),
        lambda: layers.MaxPooling2D(3, strides=2),
        lambda: layers.BatchNormalization(axis=1),
        lambda: layers.Dense(3, activation=lambda x: x * x),
        lambda: layers.PReLU(),
        lambda: type("MyDense", (layers.Dense,), {})(3),
    ],
)
def test_what_no_rule_covers(make):
    """Configurations that a rule does not hold for, unknown layers and functions, and subclasses."""
    layer = make()
    layer.build((None, 6, 6, 4))
    assert rules_of(layer) is None


def along_lines(model, count: int = 4, loss=CROSS_ENTROPY):
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(count, *model.input_shape[1:]))
    targets = np.eye(model.output_shape[-1])[rng.integers(0, model.output_shape[-1], count)]
    return AlongLines(model, loss, inputs, targets), inputs, targets


def test_nested_models_are_opened():
    """Their layers are steps like others; activations are steps of their own."""
    inner = keras.Sequential([keras.Input((4,)), layers.Dense(3, activation="relu", name="one")], name="inner")
    inputs = keras.Input((4,))
    model = keras.Model(inputs, layers.Dense(2, name="two")(inner(inputs)))
    steps, output = steps_of(model)
    assert [getattr(step.layer, "__name__", None) or step.layer.name for step in steps] == ["one", "relu", "two"]
    assert (steps[0].inputs, output) == ((0,), 3)
    assert all(along_lines(model)[0].covers(variable) for variable in model.trainable_variables)


def test_layers_with_a_mask_of_time_have_no_rule():
    """As their rules would not see it."""
    inputs = keras.Input((5,), dtype="int32")
    x = layers.Embedding(4, 3, mask_zero=True, name="embedding")(inputs)
    model = keras.Model(inputs, layers.Dense(2, name="out")(layers.GlobalAveragePooling1D(name="mean")(x)))
    steps, _ = steps_of(model)
    assert [bool(step.rule.carry) for step in steps] == [False] * (len(steps) - 1) + [True]
    tokens = np.random.default_rng(0).integers(0, 4, (3, 5))
    engine = AlongLines(model, CROSS_ENTROPY, tokens, np.eye(2)[[0, 1, 0]])
    assert [engine.covers(variable) for variable in model.trainable_variables] == [False, True, True]


def test_calls_with_options_have_no_rule():
    """Such as a norm that is called in training mode."""
    inputs = keras.Input((4,))
    x = layers.BatchNormalization(name="norm")(layers.Dense(3, name="one")(inputs), training=True)
    steps, _ = steps_of(keras.Model(inputs, layers.Dense(2, name="two")(x)))
    assert [bool(step.rule.carry) for step in steps] == [True, False, True]


def test_a_rule_that_does_not_give_the_model_is_not_used(monkeypatch):
    """The trial compares the outputs of the rules with the model's."""
    model = small("lenet_300_100")
    assert along_lines(model)[0].covers(model.trainable_variables[0])
    wrong = RULES[layers.Flatten]
    monkeypatch.setitem(RULES, layers.Flatten, type(wrong)(lambda layer, x: 2 * layer.call(x), wrong.carry))
    assert not any(along_lines(model)[0].covers(variable) for variable in model.trainable_variables)


@pytest.mark.parametrize(
    "loss",
    [
        lambda targets, outputs: ops.sum(ops.square(targets - outputs)),
        lambda targets, outputs: ops.sum(ops.square(outputs - ops.sum(outputs, 0, keepdims=True)), -1),
    ],
)
def test_losses_that_mix_examples_are_not_covered(loss):
    """Neither one that returns a number, nor one whose examples see each other."""
    model = small("lenet_300_100")
    assert not along_lines(model, loss=loss)[0].covers(model.trainable_variables[0])


@pytest.mark.parametrize("budget", [1, 2**14, 2**26])
def test_chunks_change_nothing(budget, monkeypatch):
    """Neither the values nor the number of traces: memory is bounded, whatever the number of coordinates."""
    model = small("convnet", depth=1)
    engine, inputs, targets = along_lines(model)
    (kernel,) = (variable for variable in model.trainable_variables if variable.path == "conv_1/kernel")
    coordinates = np.arange(0, math.prod(kernel.shape), 3)
    points = engine.points(inputs)
    whole = engine.second(kernel, coordinates, points, targets)
    monkeypatch.setattr(lines, "BUDGET", budget)
    calls, second_of_loss = [], lines._second_of_loss
    monkeypatch.setattr(
        lines, "_second_of_loss", lambda *args: calls.append(args[3].first.shape[0]) or second_of_loss(*args)
    )
    engine = along_lines(model)[0]
    np.testing.assert_allclose(engine.second(kernel, coordinates, points, targets), whole, rtol=1e-12, atol=1e-15)
    size = {1: 1, 2**26: 32}.get(budget, calls[0])  # 24 coordinates, in a chunk of a power of two
    assert set(calls) == {size}
    if keras.config.backend() != "torch":
        assert len(calls) == 1
    one_channel = 4 * 8 * 8  # examples and positions; behind the norm, fewer positions but all 4 channels
    assert size == 1 or size * lines.ALIVE * 8 * one_channel <= budget


def test_activation_functions_are_keras_own():
    """So that a function of another meaning cannot take a rule's place."""
    assert all(function.__module__.startswith("keras.") for function in ACTIVATIONS)
    assert activations.get("relu") in ACTIVATIONS
