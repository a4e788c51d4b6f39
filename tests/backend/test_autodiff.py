"""Derivatives against central finite differences in float64, for every layer and model, on every backend."""

import itertools

import keras
import numpy as np
import pytest
from architectures import small
from differentiable_layers import LAYERS, MASKED_LAYERS
from keras import layers, ops

import kerasticket as kt
from kerasticket.backend import autodiff
from kerasticket.models import MODELS

BATCH, CLASSES = 2, 3
# layer -> shape of its input; each is followed by tanh, so that no Hessian is zero


pytestmark = pytest.mark.usefixtures("float64")


def numpy_list(values) -> list[np.ndarray]:
    return [np.array(ops.convert_to_numpy(value)) for value in values]


def direction_like(values, seed: int) -> list[np.ndarray]:
    """A random direction of length 1: short, so that a step along it meets no kink of a ReLU."""
    rng = np.random.default_rng(seed)
    draws = [rng.normal(size=value.shape) for value in values]
    return [draw / np.sqrt(sum(np.sum(d**2) for d in draws)) for draw in draws]


def moved(values, vector, step):
    return [value + step * direction for value, direction in zip(values, vector, strict=True)]


def relative_error(actual, expected) -> float:
    difference = sum(np.sum((a - b) ** 2) for a, b in zip(actual, expected, strict=True))
    return float(np.sqrt(difference / sum(np.sum(b**2) for b in expected)))


def central_difference(slope, values, vector, step=1e-5) -> list[np.ndarray]:
    """(slope(values + step v) - slope(values - step v)) / (2 step)."""
    above, below = (numpy_list(slope(moved(values, vector, sign * step))) for sign in (1, -1))
    return [(a - b) / (2 * step) for a, b in zip(above, below, strict=True)]


def small_layer_model(name: str) -> keras.Model:
    build, shape = (LAYERS | MASKED_LAYERS)[name]
    inputs = keras.Input(shape, name="inputs")
    before = layers.Dense(shape[-1], name="before")(inputs)
    layer = build()
    x = ops.tanh(layer(before))
    if name in MASKED_LAYERS:
        layer.set_mask(np.random.default_rng(2).random(layer.mask.shape) < 0.5)
    return keras.Model(inputs, layers.Dense(CLASSES, name="logits")(layers.Flatten(name="flatten")(x)))


def case(model: keras.Model, seed: int = 0):
    """(loss function, weights, inputs, one-hot targets) at weights without zeros or ones."""
    rng = np.random.default_rng(seed)
    values = [value + 0.1 * rng.normal(size=value.shape) for value in numpy_list(model.trainable_variables)]
    inputs = rng.normal(size=(BATCH, *model.input_shape[1:]))
    targets = np.eye(CLASSES)[rng.integers(0, CLASSES, BATCH)]
    loss = autodiff.functional_loss(model, keras.losses.CategoricalCrossentropy(from_logits=True))
    return loss, values, inputs, targets


def check_hvp(model: keras.Model) -> None:
    loss, values, inputs, targets = case(model)
    vector = direction_like(values, seed=1)
    product = numpy_list(autodiff.jit(autodiff.hvp(loss))(values, vector, inputs, targets))
    assert all(p.dtype == np.float64 for p in product)
    slope = autodiff.jit(autodiff.gradient(loss))
    expected = central_difference(lambda v: slope(v, inputs, targets), values, vector)
    assert relative_error(product, expected) < 1e-5


@pytest.mark.parametrize("name", [*LAYERS, *MASKED_LAYERS])
def test_hvp_of_every_layer(name):
    """Hessian-vector product = finite difference of the gradient."""
    check_hvp(small_layer_model(name))


@pytest.mark.parametrize("name", MASKED_LAYERS)
def test_derivatives_of_pruned_weights_are_exactly_zero(name):
    """Of both orders, whatever the values under the mask."""
    model = small_layer_model(name)
    loss, values, inputs, targets = case(model)
    vector = direction_like(values, seed=1)
    (layer,) = (layer for layer in model.layers if isinstance(layer, kt.layers.Masked))
    (position,) = (i for i, variable in enumerate(model.trainable_variables) if variable is layer._kernel)
    for derivative in (
        autodiff.gradient(loss)(values, inputs, targets),
        autodiff.hvp(loss)(values, vector, inputs, targets),
    ):
        kernel, mask = numpy_list(derivative)[position], ops.convert_to_numpy(layer.mask)
        assert not kernel[~mask].any()
        assert kernel[mask].all()


# Those whose compilation takes minutes; their layers are in the others.
LARGE = {"resnet18", "resnet18_imagenet", "resnet10_imagenet", "resnet_ap10"}


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in LARGE else n for n in MODELS])
def test_hvp_of_every_model(name):
    """Hessian-vector product = finite difference of the gradient."""
    check_hvp(small(name))


@pytest.mark.skipif(keras.config.backend() == "torch", reason="Keras' matmul computes in float32 on torch")
@pytest.mark.parametrize("name", ["convnet", "lenet_300_100"])
def test_models_without_batch_norm_keep_float64_by_themselves(name, monkeypatch):
    """Without the help of the fixture, nothing in our layers or in autodiff drops to float32."""
    monkeypatch.undo()
    check_hvp(small(name))


@pytest.mark.parametrize("name", ["convnet", "resnet_ap10"])
def test_gradient_matching(name):
    """d/d images of a distance between d loss / d weights and a target: what dataset distillation needs."""
    loss, values, images, targets = case(small(name))
    goal = [ops.convert_to_tensor(g) for g in direction_like(values, seed=2)]

    def distance(pictures, weights, labels):
        slopes = autodiff.gradient(loss)(weights, pictures, labels)
        return sum(ops.sum(ops.square(s - g)) for s, g in zip(slopes, goal, strict=True))

    slope = ops.convert_to_numpy(autodiff.jit(autodiff.gradient(distance))(images, values, targets))
    (direction,) = direction_like([images], seed=3)
    value = autodiff.jit(distance)
    above, below = (float(value(images + sign * 1e-6 * direction, values, targets)) for sign in (1, -1))
    assert np.sum(slope * direction) == pytest.approx((above - below) / 2e-6, rel=1e-5)


def test_a_third_derivative():
    """Transforms nest: d^3/dx^3 of x^4 is 24 x."""
    third = autodiff.gradient(
        lambda x: ops.sum(autodiff.gradient(lambda y: ops.sum(autodiff.gradient(lambda z: ops.sum(z**4))(y)))(x))
    )
    np.testing.assert_allclose(ops.convert_to_numpy(third(np.array([1.0, 2.0]))), [24.0, 48.0])


def test_unrolled_training_steps():
    """The gradient through two SGD steps, with respect to images and to the learning rate."""
    loss, values, images, targets = case(small("convnet", depth=1))

    def after_two_steps(pictures, rate):
        weights = [ops.convert_to_tensor(value) for value in values]
        for _ in range(2):
            slopes = autodiff.gradient(loss)(weights, pictures, targets)
            weights = [w - rate * s for w, s in zip(weights, slopes, strict=True)]
        return loss(weights, images[:2], targets[:2])

    rate = np.array(0.1)
    value = autodiff.jit(after_two_steps)
    slope = float(autodiff.jit(autodiff.gradient(after_two_steps, argument=1))(images, rate))
    above, below = (float(value(images, rate + sign * 1e-6)) for sign in (1, -1))
    assert slope == pytest.approx((above - below) / 2e-6, rel=1e-5)
    slopes = ops.convert_to_numpy(autodiff.jit(autodiff.gradient(after_two_steps))(images, rate))
    (direction,) = direction_like([images], seed=3)
    above, below = (float(value(images + sign * 1e-6 * direction, rate)) for sign in (1, -1))
    assert np.sum(slopes * direction) == pytest.approx((above - below) / 2e-6, rel=1e-5)


def test_value_and_gradient_gives_both():
    """The value is that of the function; the gradient that of `gradient`."""
    loss, values, inputs, targets = case(small("lenet_300_100"))
    value, slopes = autodiff.value_and_gradient(loss)(values, inputs, targets)
    assert float(value) == pytest.approx(float(loss(values, inputs, targets)), rel=1e-12)
    expected = autodiff.gradient(loss)(values, inputs, targets)
    assert relative_error(numpy_list(slopes), numpy_list(expected)) < 1e-12


def test_the_same_tensor_in_two_arguments():
    """Only the named argument is differentiated."""
    x = ops.convert_to_tensor(np.array([3.0]))
    for argument in (0, 1):
        slope = autodiff.gradient(lambda a, b: ops.sum(a * b), argument)(x, x)
        np.testing.assert_allclose(ops.convert_to_numpy(slope), [3.0])


def test_an_ignored_argument_has_zero_gradient():
    """Zeros of the argument's shape, not None."""
    slopes = autodiff.gradient(lambda pair: ops.sum(pair[0]))([np.ones(2), np.ones(3)])
    np.testing.assert_array_equal(ops.convert_to_numpy(slopes[1]), np.zeros(3))


def test_the_hessian_is_symmetric():
    """u' H v = v' H u."""
    loss, values, inputs, targets = case(small("lenet_300_100"))
    u, v = (direction_like(values, seed) for seed in (4, 5))
    product = autodiff.hvp(loss)
    left, right = (
        sum(np.sum(a * b) for a, b in zip(one, numpy_list(product(values, two, inputs, targets)), strict=True))
        for one, two in itertools.permutations([u, v])
    )
    assert left == pytest.approx(right, rel=1e-9)


def test_the_loss_is_that_of_evaluate():
    """Mean loss in inference mode, without the penalties that evaluate adds; keras Variables are accepted."""
    inputs = keras.Input((4,))
    dense = layers.Dense(CLASSES, kernel_regularizer="l2", name="dense")
    model = keras.Model(inputs, dense(layers.Dropout(0.5, name="dropout")(inputs)))
    loss, _, x, y = case(model)
    model.compile(loss=keras.losses.CategoricalCrossentropy(from_logits=True))
    penalty = 0.01 * np.sum(ops.convert_to_numpy(dense.kernel) ** 2)
    expected = model.evaluate(x, y, verbose=0) - penalty
    assert float(loss(model.trainable_variables, x, y)) == pytest.approx(expected)


def test_a_loss_per_example_is_averaged():
    """A plain function of (targets, outputs) serves as well as a keras.losses.Loss."""
    model = small("convnet")
    loss, values, x, y = case(model)
    plain = autodiff.functional_loss(model, lambda t, p: keras.losses.categorical_crossentropy(t, p, from_logits=True))
    assert float(plain(values, x, y)) == pytest.approx(float(loss(values, x, y)), rel=1e-12)


def test_the_function_is_pure():
    """Neither the model's weights nor later changes of its statistics matter, also after compilation."""
    model = small("resnet10")
    loss, values, x, y = case(model)
    compiled = autodiff.jit(loss)
    before = float(compiled(values, x, y))
    for variable in model.variables:
        variable.assign(ops.ones(variable.shape, variable.dtype) * 0.5)
    assert float(loss(values, x, y)) == pytest.approx(before, rel=1e-12)
    assert float(compiled(values, x, y)) == pytest.approx(before, rel=1e-12)
    assert all(np.all(ops.convert_to_numpy(v) == 0.5) for v in model.variables)


def test_first_derivatives_survive_a_fit():
    """On JAX, fit deletes the buffers of a model's variables: the loss function keeps copies."""
    model = small("resnet10")
    loss, values, x, y = case(model)
    before = float(loss(values, x, y))
    model.compile("sgd", loss="mse")
    model.fit(x, y, verbose=0)
    assert float(loss(values, x, y)) == pytest.approx(before, rel=1e-12)


def test_an_unbuilt_model_is_refused():
    """The error says what to do."""
    with pytest.raises(ValueError, match="call it on data first"):
        autodiff.functional_loss(keras.Sequential([layers.Dense(2)]), keras.losses.MeanSquaredError())


def test_a_backend_without_derivatives_is_refused(monkeypatch):
    """The error names the backends that have them."""
    monkeypatch.setattr(keras.config, "backend", lambda: "numpy")
    with pytest.raises(ValueError, match=r"\['jax', 'tensorflow', 'torch'\]"):
        autodiff.gradient(ops.sum)


def test_gathering_can_be_differentiated_twice():
    """By hand: sum over i of x[p_i]^3 has gradient 3 x^2 and Hessian 6 x, times how often each is taken."""
    chosen = np.array([0, 2, 2])
    point, vector = np.array([1.0, 5.0, 2.0]), np.array([1.0, 1.0, 10.0])

    def cubes(x):
        return ops.sum(ops.take(x, chosen) ** 3)

    np.testing.assert_allclose(ops.convert_to_numpy(autodiff.gradient(cubes)(point) * 2), [6, 0, 48])
    np.testing.assert_allclose(ops.convert_to_numpy(autodiff.hvp(cubes)(point, vector)), [6, 0, 240])
