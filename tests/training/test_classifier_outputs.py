"""What networks end in, and that none is trained or judged by the loss of another end."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import kerasticket as kt
from kerasticket.analysis import Objective
from kerasticket.data.images import ImageSet
from kerasticket.training import classifier_outputs
from kerasticket.training.recipe import Recipe, evaluate, train

SHAPE = (4, 4, 1)


@keras.saving.register_keras_serializable("test_ends")
class Own(keras.Model):
    """A subclassed network, whose end no layer tells."""

    def __init__(self, end="softmax", **options):
        super().__init__(**options)
        self.end, self.flat, self.dense = end, layers.Flatten(name="flat"), layers.Dense(3, name="out")

    def call(self, inputs):
        return getattr(ops, self.end)(self.dense(self.flat(inputs)))


def net(*last: keras.Layer) -> keras.Model:
    return keras.Sequential([keras.Input(SHAPE), layers.Flatten(name="flat"), *last], name="net")


def functional(end) -> keras.Model:
    inputs = keras.Input(SHAPE)
    return keras.Model(inputs, end(layers.Dense(3, name="out")(layers.Flatten(name="flat")(inputs))), name="net")


def dense(activation=None, units=3, **options) -> keras.Layer:
    return layers.Dense(units, activation=activation, name="out", **options)


NETS = {
    "linear": (lambda: net(dense()), classifier_outputs.LOGITS),
    "log-softmax leaves a softmax as it is": (lambda: net(dense("log_softmax")), classifier_outputs.LOGITS),
    "relu": (lambda: net(dense("relu")), classifier_outputs.LOGITS),
    "zeros": (lambda: functional(ops.abs), classifier_outputs.LOGITS),
    "softmax": (lambda: net(dense("softmax")), classifier_outputs.SOFTMAX),
    "Softmax": (lambda: net(dense(), layers.Softmax(name="last")), classifier_outputs.SOFTMAX),
    "Activation": (lambda: net(dense(), layers.Activation("softmax", name="last")), classifier_outputs.SOFTMAX),
    "a function": (lambda: net(dense(lambda x: ops.softmax(x))), classifier_outputs.SOFTMAX),
    "an operation": (lambda: functional(ops.softmax), classifier_outputs.SOFTMAX),
    "reshaped": (lambda: net(dense("softmax"), layers.Reshape((3,), name="last")), classifier_outputs.SOFTMAX),
    "in a model": (lambda: keras.Sequential([keras.Input(SHAPE), net(dense("softmax"))]), classifier_outputs.SOFTMAX),
    "half precision": (
        lambda: net(dense(lambda x: ops.softmax(x), dtype="mixed_bfloat16")),
        classifier_outputs.SOFTMAX,
    ),
    "subclassed": (Own, classifier_outputs.SOFTMAX),
    "masked": (lambda: kt.masked(net(dense("softmax"))), classifier_outputs.SOFTMAX),
    "sigmoids": (lambda: net(dense("sigmoid")), classifier_outputs.SIGMOIDS),
    "sigmoid operation": (lambda: functional(ops.sigmoid), classifier_outputs.SIGMOIDS),
    "one sigmoid": (lambda: net(dense("sigmoid", 1)), classifier_outputs.SIGMOIDS),
}


@pytest.mark.parametrize("name", NETS)
def test_what_a_network_ends_in(name):
    build, expected = NETS[name]
    assert classifier_outputs.end_of(build(), SHAPE) == expected


@pytest.fixture(scope="module")
def images() -> ImageSet:
    rng = np.random.default_rng(0)
    labels = np.arange(30) % 3
    pixels = rng.integers(0, 90, (30, *SHAPE)).astype(np.uint8)
    pixels[np.arange(30), labels] += 150
    return ImageSet(pixels, labels.astype(np.int64), ("a", "b", "c"), mean=(0.4,), std=(0.3,), source="test")


@pytest.mark.parametrize("build", [lambda: net(dense("softmax")), lambda: functional(ops.softmax), Own])
def test_probabilities_are_trained_as_their_logits_are(build, images):
    recipe, weights = Recipe(3, batch_size=8, learning_rate=0.1), None
    losses = []
    for model in (build(), net(dense())):
        model(np.zeros((1, *SHAPE), "float32"))
        weights = [np.array(w) for w in model.get_weights()] if weights is None else weights
        model.set_weights(weights)
        history = train(model, images, recipe)
        losses.append([row["loss"] for row in history.rows] + [evaluate(model, images)["loss"]])
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)


def test_instability_of_a_softmax_is_that_of_its_logits(images):
    found = []
    for activation in ("softmax", None):
        model = net(layers.Dense(3, activation=activation, name="out", kernel_initializer="ones"))
        ticket = kt.Ticket.dense(kt.masked(model))
        found.append(kt.analysis.instability(ticket, images, Recipe(2, batch_size=8), alphas=3).pairs[0].train)
    np.testing.assert_allclose(found[0].loss, found[1].loss, rtol=1e-4)
    np.testing.assert_array_equal(found[0].accuracy, found[1].accuracy)


@pytest.mark.parametrize("activation", ["softmax", None])
def test_a_loss_of_the_other_end_is_refused_by_name(activation, images):
    wrong = activation == "softmax"
    model = net(dense(activation))
    model.compile(loss=keras.losses.CategoricalCrossentropy(from_logits=wrong), metrics=["accuracy"])
    message = rf"'net', which ends in (a softmax|logits), .*from_logits={wrong}.*with from_logits={not wrong}"
    with pytest.raises(ValueError, match=message):
        train(model, images, Recipe(1))
    with pytest.raises(ValueError, match=message):
        evaluate(model, images)


def test_other_ends_are_refused_before_training(images):
    with pytest.raises(ValueError, match=r"ends in logits or in a softmax. Received: 'net'.*sigmoids"):
        train(net(dense("sigmoid")), images, Recipe(1))
    with pytest.raises(ValueError, match=r"an output for each of the 3 classes. Received: 'net' with.*\(None, 1\)"):
        train(net(dense("sigmoid", 1)), images, Recipe(1))
    with pytest.raises(ValueError, match=r"compiled model. Received: 'net'"):
        evaluate(net(dense()), images)
    model = net(dense())
    model.compile(loss=keras.losses.CategoricalCrossentropy(from_logits=True))
    with pytest.raises(ValueError, match=r"metrics=\['accuracy'\]. Received: 'net' with \['loss'\]"):
        evaluate(model, images)


@pytest.mark.parametrize("logits", [False, True])
@pytest.mark.parametrize("axes", [(4,), (4, 1)])
def test_one_sigmoid_has_an_accuracy(logits, axes):
    model = keras.Sequential(
        [keras.Input((1,)), layers.Dense(1, activation=None if logits else "sigmoid", use_bias=False, name="out")]
    )
    model.compile(loss=keras.losses.BinaryCrossentropy(from_logits=logits))
    data = (np.array([[1.0], [0.2], [-0.2], [-3.0]], "float32"), np.array([1, 0, 0, 0], "float32").reshape(axes))
    found = Objective(model, data)({"out/kernel": np.array([[2.0]], "float32")})
    assert found.accuracy == 0.75
    probability = 1 / (1 + np.exp(-2.0 * data[0][:, 0]))
    expected = -np.log(np.where([True, False, False, False], probability, 1 - probability)).mean()
    assert found.loss == pytest.approx(expected, rel=1e-5)
