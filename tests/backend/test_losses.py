"""The loss that analysis and criteria differentiate is the one that Keras trains: shapes, types, padding, precision."""

import keras
import nets
import numpy as np
import pytest
from keras import layers, ops

import kerasticket as kt
from kerasticket.analysis import Objective, hessian_diagonal, hessian_trace
from kerasticket.backend.autodiff import mean_of_loss
from kerasticket.masks import keep_top
from kerasticket.pruning import criteria
from kerasticket.pruning.criteria import CRITERIA

RNG = np.random.default_rng(0)
X = RNG.normal(size=(12, 4)).astype("float32")
BINARY = RNG.integers(0, 2, 12)


def own_loss(targets, outputs):
    return ops.mean(ops.square(targets - outputs), -1)


LOSSES = {
    "hinge": "hinge",
    "poisson": "poisson",
    "binary_crossentropy": "binary_crossentropy",
    "kl_divergence": "kl_divergence",
    "own": own_loss,
    "object": keras.losses.BinaryCrossentropy(),
}


def binary_net(loss, seed: int = 0) -> keras.Model:
    keras.utils.set_random_seed(seed)
    hidden, out = layers.Dense(5, activation="tanh", name="hidden"), layers.Dense(1, activation="sigmoid", name="out")
    model = kt.masked(keras.Sequential([keras.Input((4,)), hidden, out]))
    model.compile("sgd", loss)
    return model


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("form", ["float", "int", "column"])
def test_the_loss_is_that_of_fit(loss, form):
    targets = {"float": BINARY.astype("float32"), "int": BINARY, "column": BINARY[:, None].astype("float32")}[form]
    model = binary_net(LOSSES[loss])
    expected = float(np.ravel(model.evaluate(X, targets, batch_size=12, verbose=0))[0])
    np.testing.assert_allclose(Objective(model, (X, targets))(kt.get_params(model)).loss, expected, rtol=1e-5)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("criterion", ["snip", "movement"])
def test_scores_do_not_depend_on_the_form_of_the_targets(loss, criterion):
    model = binary_net(LOSSES[loss])
    arguments = model, kt.get_params(model), kt.get_mask(model)
    forms = (BINARY, BINARY.astype("float32"), BINARY[:, None].astype("float32"))
    found = [CRITERIA[criterion](*arguments, (X, targets), np.random.default_rng(0)) for targets in forms]
    for path in found[0]:
        np.testing.assert_allclose(found[1][path], found[0][path], rtol=1e-5)
        np.testing.assert_allclose(found[2][path], found[0][path], rtol=1e-5)


def steps_net(loss) -> keras.Model:
    keras.utils.set_random_seed(0)
    tokens = keras.Input((5,), dtype="int32")
    x = layers.LSTM(4, return_sequences=True, name="read")(layers.Embedding(9, 4, mask_zero=True, name="words")(tokens))
    model = kt.masked(keras.Model(tokens, layers.Dense(3, name="out")(x)))
    model.compile("sgd", loss)
    return model


TOKENS = np.array([[1, 2, 3, 0, 0], [4, 5, 0, 0, 0], [6, 7, 8, 1, 2]], "int32")
CLASSES = np.array([[0, 1, 2, 0, 0], [1, 1, 0, 0, 0], [2, 0, 1, 1, 2]])


def test_padded_steps_do_not_count():
    model = steps_net(keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    others = np.where(TOKENS == 0, 2, CLASSES)
    losses = [Objective(model, (TOKENS, y))(kt.get_params(model)).loss for y in (CLASSES, others)]
    expected = float(np.ravel(model.evaluate(TOKENS, CLASSES, verbose=0))[0])
    np.testing.assert_allclose(losses, [expected, expected], rtol=1e-5)
    arguments = model, kt.get_params(model), kt.get_mask(model)
    first, second = (CRITERIA["snip"](*arguments, (TOKENS, y), np.random.default_rng(0)) for y in (CLASSES, others))
    for path in first:
        np.testing.assert_allclose(second[path], first[path], rtol=1e-4, atol=1e-7)


def test_a_class_that_the_loss_ignores_does_not_count():
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=2)
    model = nets.mlp()
    model.compile("sgd", loss)
    x, _ = nets.batch(model)
    y = np.arange(len(x)) % 3
    expected = float(np.ravel(model.evaluate(x, y, batch_size=len(x), verbose=0))[0])
    np.testing.assert_allclose(Objective(model, (x, y))(kt.get_params(model)).loss, expected, rtol=1e-5)


def test_one_loss_in_a_list_is_one_loss():
    model = binary_net([keras.losses.BinaryCrossentropy()])
    assert Objective(model, (X, BINARY))(kt.get_params(model)).loss > 0


class WithoutTraining(keras.Model):
    """The commonest form: `call` knows no `training`."""

    def __init__(self):
        super().__init__()
        self.hidden, self.out = layers.Dense(5, activation="tanh", name="hidden"), layers.Dense(3, name="out")

    def call(self, x):
        return self.out(self.hidden(x))


@pytest.mark.parametrize("criterion", ["snip", "grasp", "wanda"])
def test_a_call_without_training_will_do(criterion):
    model = WithoutTraining()
    model(X)
    kt.masked(model).compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    data = X, RNG.integers(0, 3, len(X))
    scores = CRITERIA[criterion](model, kt.get_params(model), kt.get_mask(model), data, np.random.default_rng(0))
    assert all(np.isfinite(array).all() and array.any() for array in scores.values())
    assert np.isfinite(hessian_trace(model, data, probes=2).value)
    a = kt.get_params(model)
    assert np.isfinite(kt.analysis.linear_path(model, a, a, data, alphas=3).loss).all()


@pytest.mark.parametrize("last", ["softmax", "sigmoid"])
def test_exact_diagonals_of_saturated_probabilities_are_those_of_products(last):
    keras.utils.set_random_seed(1)
    units = 3 if last == "softmax" else 1
    hidden, out = layers.Dense(4, activation="tanh", name="hidden"), layers.Dense(units, activation=last, name="out")
    model = keras.Sequential([keras.Input((4,)), hidden, out])
    model.compile("sgd", "sparse_categorical_crossentropy" if last == "softmax" else "binary_crossentropy")
    kt.set_params(model, {path: 6 * array for path, array in kt.get_params(model).items()})
    data = 3 * X, RNG.integers(0, max(2, units), len(X))
    exact = hessian_diagonal(model, data)
    one = {path: np.zeros(array.shape, bool) for path, array in exact.values.items()}
    products = kt.analysis.curvature.Curvature(model, data)
    for path, position in (("hidden/kernel", (0, 1)), ("out/kernel", (2, 0))):
        one[path][position] = True
        vector = products.join({name: flags.astype(float) for name, flags in one.items()})
        expected = vector @ products.product(vector)
        np.testing.assert_allclose(exact.values[path][position], expected, rtol=1e-3, atol=1e-5)
        one[path][position] = False


def low_precision_net(policy: str) -> keras.Model:
    keras.utils.set_random_seed(0)
    x = images = keras.Input((16, 16, 3), dtype="float32")
    for index in range(3):
        x = layers.Conv2D(8, 3, strides=2, activation="relu", dtype=policy, name=f"conv_{index}")(x)
    x = layers.GlobalAveragePooling2D(dtype=policy, name="pool")(x)
    model = kt.masked(keras.Model(images, layers.Dense(3, dtype="float32", name="out")(x)))
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


@pytest.mark.parametrize("criterion", ["grasp", "snip", "wanda"])
def test_float16_ranks_as_float32_does(criterion):
    images, labels = 255 * RNG.random((4, 16, 16, 3)), RNG.integers(0, 3, 4)
    images = images.astype("float32") if criterion == "wanda" else (images / 255).astype("float32")
    exact = low_precision_net("float32")
    params, mask = kt.get_params(exact), kt.get_mask(exact)
    low = low_precision_net("mixed_float16")
    policies = [layer.dtype_policy.name for layer in low.layers]
    tops = []
    for model in (exact, low):
        scores = CRITERIA[criterion](model, params, mask, (images, labels), np.random.default_rng(0))
        assert all(np.isfinite(array).all() for array in scores.values())
        tops.append(keep_top(scores, mask, 60))
    shared = sum((tops[0][path] & tops[1][path]).sum() for path in mask)
    assert shared >= 57
    assert [layer.dtype_policy.name for layer in low.layers] == policies


def test_synflow_of_a_bfloat16_model_is_that_of_absolute_weights():
    keras.utils.set_random_seed(0)
    stack = [
        keras.Input((4,)),
        layers.Dense(5, dtype="bfloat16", name="a"),
        layers.Dense(2, dtype="bfloat16", name="b"),
    ]
    model = kt.masked(keras.Sequential(stack))
    scores = CRITERIA["synflow"](model, kt.get_params(model), kt.get_mask(model), None, np.random.default_rng(0))
    assert all((array >= 0).all() for array in scores.values())
    np.testing.assert_allclose([array.sum() for array in scores.values()], 1, rtol=5e-3)


def test_inputs_may_be_several():
    keras.utils.set_random_seed(0)
    left, right = keras.Input((4,), name="left"), keras.Input((4,), name="right")
    both = layers.Concatenate(name="both")([layers.Dense(3, name="a")(left), layers.Dense(3, name="b")(right)])
    model = kt.masked(keras.Model([left, right], layers.Dense(3, name="out")(both)))
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    labels = RNG.integers(0, 3, len(X))
    arguments = model, kt.get_params(model), kt.get_mask(model)
    found = CRITERIA["snip"](*arguments, ((X, 2 * X), labels), np.random.default_rng(0))
    assert all(array.any() for array in found.values())
    with pytest.raises(ValueError, match="one input"):
        Objective(model, ((X, 2 * X), labels))


def test_lists_of_numbers_are_arrays():
    model = binary_net("hinge")
    arguments = model, kt.get_params(model), kt.get_mask(model)
    found = [CRITERIA["snip"](*arguments, data, RNG) for data in ((X, BINARY), (X.tolist(), BINARY.tolist()))]
    for path in found[0]:
        np.testing.assert_allclose(found[1][path], found[0][path], rtol=1e-4)
    with pytest.raises(ValueError, match="arrays of equal length"):
        CRITERIA["snip"](*arguments, ("images", "labels"), RNG)


def test_batches_of_three_are_refused():
    model = binary_net("binary_crossentropy")
    data = iter([(X, BINARY, np.ones(len(X)))])
    with pytest.raises(ValueError, match="pairs.*batches of 3"):
        CRITERIA["snip"](model, kt.get_params(model), kt.get_mask(model), data, np.random.default_rng(0))


@pytest.mark.parametrize("loss", [keras.losses.KLDivergence(), "kl_divergence", "poisson"])
def test_grasp_refuses_losses_of_probabilities(loss):
    model = binary_net(loss)
    with pytest.raises(ValueError, match="takes probabilities"):
        criteria.grasp(model, kt.get_params(model), kt.get_mask(model), (X, BINARY), np.random.default_rng(0))


def test_the_mean_of_a_loss_takes_a_mask():
    targets, outputs = ops.zeros((2, 3)), ops.convert_to_tensor([[[1.0], [2.0], [9.0]], [[3.0], [9.0], [9.0]]])
    padding = np.array([[True, True, False], [True, False, False]])
    value = mean_of_loss(lambda y, p: ops.square(y - p), targets, outputs, padding)
    np.testing.assert_allclose(float(value), (1 + 4 + 9) / 3)
