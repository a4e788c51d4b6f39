"""The table of traits, each fact against the layer itself: built, counted, perturbed."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import kerasticket as kt
from kerasticket.layers.traits import TRAITS, Equation, equation_of, traits_of
from kerasticket.params import Params


@dataclasses.dataclass(frozen=True)
class Case:
    """A layer without what is not its kernels, made with a number of units, and the shape of one example."""

    make: Callable[..., layers.Layer]
    shape: tuple[int, ...]
    units: int = 3

    def layer(self, units: int | None = None) -> layers.Layer:
        layer = self.make(units or self.units)
        layer.build((2, *self.shape))
        return layer


def separable(kind) -> Callable:
    return lambda n: kind(n, 2, depth_multiplier=2, use_bias=False)


CASES = {
    "Dense": Case(lambda n: layers.Dense(n, use_bias=False), (4, 5)),
    "EinsumDense": Case(lambda n: layers.EinsumDense("...b,bc->...c", n), (4, 5)),
    "EinsumDense to heads": Case(lambda n: layers.EinsumDense("abc,cde->abde", (4, 2, n)), (4, 5)),
    "EinsumDense of heads": Case(lambda n: layers.EinsumDense("abde,def->abf", (4, n)), (4, 2, 5)),
    "EinsumDense at places": Case(lambda n: layers.EinsumDense("abc,bcd->abd", (4, n)), (4, 5)),
    "Conv1D": Case(lambda n: layers.Conv1D(n, 2, use_bias=False), (6, 2)),
    "Conv2D": Case(lambda n: layers.Conv2D(n, (2, 3), strides=2, use_bias=False), (5, 7, 2)),
    "Conv3D": Case(lambda n: layers.Conv3D(n, 2, use_bias=False), (3, 3, 3, 2)),
    "Conv1DTranspose": Case(lambda n: layers.Conv1DTranspose(n, 2, use_bias=False), (4, 2)),
    "Conv2DTranspose": Case(lambda n: layers.Conv2DTranspose(n, (2, 3), strides=2, use_bias=False), (3, 2, 4)),
    "Conv3DTranspose": Case(lambda n: layers.Conv3DTranspose(n, 2, use_bias=False), (2, 3, 2, 2)),
    "DepthwiseConv1D": Case(lambda n: layers.DepthwiseConv1D(2, depth_multiplier=n, use_bias=False), (6, 2)),
    "DepthwiseConv2D": Case(lambda n: layers.DepthwiseConv2D((2, 3), depth_multiplier=n, use_bias=False), (4, 5, 2)),
    "SeparableConv1D": Case(separable(layers.SeparableConv1D), (6, 2), units=4),
    "SeparableConv2D": Case(separable(layers.SeparableConv2D), (4, 5, 2), units=4),
    "Embedding": Case(lambda n: layers.Embedding(7, n), (5,)),
    "SimpleRNNCell": Case(lambda n: layers.SimpleRNNCell(n), (5,)),
    "GRUCell": Case(lambda n: layers.GRUCell(n), (5,)),
    "LSTMCell": Case(lambda n: layers.LSTMCell(n), (5,)),
}
WEIGHTS = [(name, weight) for name in CASES for weight in TRAITS[getattr(layers, name.split()[0])].weights]
each_case = pytest.mark.parametrize("name", CASES)
each_weight = pytest.mark.parametrize(("name", "weight"), WEIGHTS)


def traits(name: str):
    return TRAITS[getattr(layers, name.split()[0])]


def drawn(shape, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def prepared(name: str, weight: str) -> tuple[layers.Layer, Params]:
    """A built layer and its weights, drawn; a depthwise kernel's outputs are those of the whole separable layer."""
    layer = CASES[name].layer()
    values = {one: drawn(getattr(layer, one).shape, seed) for seed, one in enumerate(traits(name).weights)}
    if weight == "depthwise_kernel":
        values["pointwise_kernel"] = np.eye(4, dtype="float32").reshape(values["pointwise_kernel"].shape)
    return layer, values


def outputs(layer: layers.Layer, values: Params, x: np.ndarray, state: np.ndarray) -> np.ndarray:
    """What the layer gives with these weights; of a recurrent cell one step from a state."""
    for weight, array in values.items():
        getattr(layer, weight).assign(array)
    if traits_of(layer).gates:
        states = [ops.convert_to_tensor(state)] * (2 if isinstance(layer, layers.LSTMCell) else 1)
        return ops.convert_to_numpy(layer(ops.convert_to_tensor(x), states)[0])
    return ops.convert_to_numpy(layer(ops.convert_to_tensor(x)))


def given(name: str) -> np.ndarray:
    shape = (2, *CASES[name].shape)
    return np.arange(10, dtype="int32").reshape(shape) % 7 if name == "Embedding" else drawn(shape, 5)


STATE = drawn((2, 3), 6)


def slices(array: np.ndarray, axes: tuple[int, ...]) -> list[np.ndarray]:
    """For each position along some axes a mask of the array's entries there."""
    numbers = np.arange(math.prod(array.shape[axis] for axis in axes)).reshape([array.shape[axis] for axis in axes])
    shape = [side if axis - array.ndim in axes else 1 for axis, side in enumerate(array.shape)]
    index = np.broadcast_to(numbers.reshape(shape), array.shape)
    return [index == number for number in numbers.ravel()]


def test_the_table_has_every_layer_that_is_masked_and_every_one_is_tested():
    masked = {plain for plain, kind in kt.layers.MASKED.items() if issubclass(kind, kt.layers.Masked)}
    assert masked == set(TRAITS)
    assert {getattr(layers, name.split()[0]) for name in CASES} == set(TRAITS)


@each_case
def test_masked_layers_have_the_facts_of_the_table(name):
    known, kind = traits(name), kt.layers.MASKED[getattr(layers, name.split()[0])]
    assert (kind.maskable, kind.default_weights) == (known.maskable, known.default_weights)
    assert kind.only_if_asked == known.only_if_asked
    assert set(known.default_weights) <= set(known.maskable)
    layer = CASES[name].layer()
    kernels = [v.path.rpartition("/")[2] for v in layer.variables if len(v.shape) > 1 and v.name != "bias"]
    assert sorted(kernels) == sorted(known.maskable)  # whatever has two axes can have a mask


@each_case
def test_the_size_argument_sets_the_last_output_axis_and_no_other(name):
    known, case = traits(name), CASES[name]
    small, large = case.layer(), case.layer(case.units + 2)
    assert known.size(small, case.units) == {known.size_argument: small.get_config()[known.size_argument]}
    again = type(small).from_config(small.get_config() | known.size(small, case.units + 2))
    again.build((2, *case.shape))
    factor = known.gates or 1
    for weight in [one for one in known.weights if one != "depthwise_kernel"]:
        before, after = (getattr(layer, weight).shape for layer in (small, large))
        made = known.axes(small, weight).outputs[-1]
        assert (before[made], after[made]) == (factor * case.units, factor * (case.units + 2))
        assert tuple(getattr(again, weight).shape) == tuple(after)


@each_weight
def test_what_makes_an_output_unit_changes_it_alone(name, weight):
    layer, values = prepared(name, weight)
    x, gates = given(name), traits(name).gates or 1
    before = outputs(layer, values, x, STATE)
    units = slices(values[weight], traits(name).axes(layer, weight).outputs)
    size = len(units) // gates
    assert size % before.shape[-1] == 0  # all channels, at each position or in each head
    before = before.reshape(-1, size)
    for number, there in enumerate(units):
        changed = outputs(layer, values | {weight: values[weight] + there}, x, STATE).reshape(-1, size)
        moved = (np.abs(changed - before) > 1e-6).any(0)
        np.testing.assert_array_equal(np.flatnonzero(moved), [number % size])


@each_weight
def test_what_reads_an_input_is_asked_nowhere_else(name, weight):
    """With an input at zero its slice may be anything; with it alone, what the slice is makes the outputs."""
    layer, values = prepared(name, weight)
    x, state = given(name), STATE
    inputs = slices(values[weight], traits(name).axes(layer, weight).inputs)
    for number, there in enumerate(inputs):
        if weight == "recurrent_kernel":
            state = STATE * (np.arange(3) != number)
        elif weight == "embeddings":
            x = np.where(given(name) == number, (number + 1) % 7, given(name))
        elif weight == "pointwise_kernel":  # its inputs are what the depthwise kernel makes
            values["depthwise_kernel"] = drawn(values["depthwise_kernel"].shape)
            values["depthwise_kernel"][..., number // 2, number % 2] = 0
        else:
            flat = given(name).reshape(-1, len(inputs)).copy()
            flat[:, number] = 0
            x = flat.reshape(given(name).shape)
        without = outputs(layer, values, x, state)
        changed = outputs(layer, values | {weight: values[weight] + there}, x, state)
        np.testing.assert_allclose(changed, without, atol=1e-6)
        others = outputs(layer, values | {weight: values[weight] + ~there}, x, state)
        assert (np.abs(others - without) > 1e-6).any()


@each_weight
def test_uses_are_the_multiplications_of_each_entry(name, weight):
    """Of ones with one entry of the kernel, which is 1, the outputs sum to how often the entry was used."""
    layer, values = prepared(name, weight)
    shape, known = CASES[name].shape, traits(name)
    made = outputs(layer, values, given(name), STATE)
    counted = known.weights[weight].uses(layer, shape, made.shape[1:])
    if known.gates:  # products of gates are no sums: rows times columns, once a step
        columns = known.gates * 3
        assert counted * values[weight].size == {"kernel": 5, "recurrent_kernel": 3}[weight] * columns
        return
    if name == "Embedding":
        assert counted == 0
        return
    values |= {one: np.ones_like(array) / math.prod(array.shape[:-2]) for one, array in values.items() if one != weight}
    if weight == "depthwise_kernel":
        values["pointwise_kernel"] = np.ones_like(values["pointwise_kernel"]) / 4
    for place in (0, values[weight].size - 1):
        values[weight] = np.zeros_like(values[weight])
        values[weight].flat[place] = 1
        total = outputs(layer, values, np.ones((1, *shape), "float32"), STATE).sum()
        assert total == pytest.approx(counted, rel=1e-5)


@each_case
def test_uses_are_not_known_where_sides_are_not(name):
    layer, known = CASES[name].layer(), traits(name)
    for weight in known.weights.values():
        found = weight.uses(layer, (None,) * len(CASES[name].shape), (None,) * 3)
        assert found in (None, 0, 1)
        assert (found is None) == (not known.gates and name != "Embedding")


@each_case
def test_linear_layers_are_linear_in_one_kernel(name):
    layer, values = prepared(name, "kernel")
    known = traits(name)
    if len(known.weights) > 1 or name == "Embedding":
        assert not known.is_linear
        return
    assert known.is_linear
    x, other = given(name), {"kernel": drawn(values["kernel"].shape, 9)}
    both = {"kernel": values["kernel"] + other["kernel"]}
    parts = [outputs(layer, kernel, x, STATE) for kernel in (values, other, both)]
    np.testing.assert_allclose(parts[0] + parts[1], parts[2], atol=1e-5)
    np.testing.assert_allclose(outputs(layer, values, -2 * x, STATE), -2 * parts[0], atol=1e-5)


TORCH: dict[str, str] = {
    "Dense": "linear",
    **{f"Conv{n}D": f"conv{n}d" for n in (1, 2, 3)},
    **{f"Conv{n}DTranspose": f"conv_transpose{n}d" for n in (1, 2, 3)},
    **{f"DepthwiseConv{n}D": f"conv{n}d" for n in (1, 2)},
    "Embedding": "embedding",
}


@each_case
def test_torch_makes_the_same_of_its_kernels(name):
    """The table has a layout for those that torch has, with which it gives the same outputs."""
    layer, known, x = CASES[name].layer(), traits(name), given(name)
    assert (known.from_torch is not None) == (name in TORCH)
    if name not in TORCH:
        return
    functional: Any = pytest.importorskip("torch").nn.functional
    torch: Any = pytest.importorskip("torch")
    inputs, channels_last = torch.tensor(x), name in ("Dense", "Embedding")
    inputs = inputs if channels_last else torch.moveaxis(inputs, -1, 1)
    options = {} if channels_last else {"stride": layer.strides}
    if name.startswith("Depthwise"):
        options["groups"] = x.shape[-1]
    weight = known.maskable[0]
    theirs = torch.tensor(drawn(_shape_in_torch(name, layer, x)))
    arguments = (inputs.long(), theirs) if name == "Embedding" else (inputs, theirs)
    made = getattr(functional, TORCH[name])(*arguments, **options)
    made = made if channels_last else torch.moveaxis(made, 1, -1)
    ours = known.from_torch(layer, theirs.numpy())
    np.testing.assert_allclose(outputs(layer, {weight: ours}, x, STATE), made.numpy(), atol=1e-5)


def _shape_in_torch(name: str, layer, x) -> tuple[int, ...]:
    """As the documentation of torch has it."""
    window = getattr(layer, "kernel_size", ())
    if name.startswith("Depthwise"):
        return (x.shape[-1] * 3, 1, *window)
    if name == "Embedding":
        return (7, 3)
    return (x.shape[-1], 3, *window) if name.endswith("Transpose") else (3, x.shape[-1], *window)


def test_equations_are_taken_apart():
    assert equation_of(layers.EinsumDense("ab...,bc->ac...", (3, 4))) == Equation("ab...", "bc", "ac...")


def test_a_layer_has_the_traits_of_the_keras_layer_that_it_is_made_of():
    class Mine(layers.Embedding):
        pass

    class MaskedMine(kt.layers.Masked, Mine):
        pass

    class Chosen(kt.layers.MaskedSeparableConv2D):
        default_weights = ("depthwise_kernel",)

    assert traits_of(Mine(3, 2)) is traits_of(MaskedMine(3, 2)) is TRAITS[layers.Embedding]
    assert (MaskedMine.maskable, MaskedMine.only_if_asked) == (("embeddings",), True)
    assert (Chosen.maskable, Chosen.default_weights) == (
        ("depthwise_kernel", "pointwise_kernel"),
        ("depthwise_kernel",),
    )
    assert traits_of(keras.layers.ReLU()) is None
