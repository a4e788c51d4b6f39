"""Networks of a study: by name, by import, of the caller's own function; what it gets and what it must give."""

import random
import sys

import keras
import numpy as np
import pytest

import kerasticket as kt
from kerasticket.models import own
from kerasticket.params import differing

pytestmark = pytest.mark.same_on_every_backend

SHAPE = (4, 4, 1)


def network(input_shape, num_classes, seed=0, width=3):
    """A network of the caller's, with all that it can get."""
    start = keras.initializers.GlorotUniform(seed=seed)
    layers = [keras.layers.Flatten(name="flat"), keras.layers.Dense(width, name="dense", kernel_initializer=start)]
    return keras.Sequential([keras.Input(input_shape), *layers, keras.layers.Dense(num_classes, name="logits")])


def drawn_by_the_function(input_shape):
    """A network whose weights come of global generators: of Keras, NumPy and Python."""
    model = network(input_shape, 2)
    model.set_weights([np.random.normal(size=w.shape) + random.random() for w in model.get_weights()])  # noqa: NPY002
    return model


def test_a_function_gets_what_its_parameters_name():
    given = {}

    def builder(num_classes, width=7):
        given.update(num_classes=num_classes, width=width)
        return network(SHAPE, num_classes)

    own.build(builder, SHAPE, 2, seed=0, width=None)
    assert given == {"num_classes": 2, "width": 7}  # no width: the function's own
    own.build(builder, SHAPE, 2, seed=0, width=5)
    assert given == {"num_classes": 2, "width": 5}


def test_the_seed_decides_the_weights_and_the_callers_generators_are_left_alone():
    np.random.seed(5)  # noqa: NPY002
    random.seed(5)
    expected = np.random.random(), random.random()  # noqa: NPY002
    np.random.seed(5)  # noqa: NPY002
    random.seed(5)
    params = [kt.get_params(own.build(drawn_by_the_function, SHAPE, 2, seed, None)) for seed in (0, 0, 1)]
    assert not differing(params[0], params[1])
    assert differing(params[0], params[2])
    assert (np.random.random(), random.random()) == expected  # noqa: NPY002


def subclassed():
    """A model that knows neither its inputs nor its outputs."""

    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(2, name="dense")

        def call(self, x):
            return self.dense(keras.ops.reshape(x, (-1, 16)))

    model = Own()
    model(np.zeros((1, *SHAPE)))
    return model


def any_size(num_classes):
    inputs = keras.Input((None, None, 1))
    pooled = keras.layers.GlobalAveragePooling2D(name="pool")(inputs)
    return keras.Model(inputs, keras.layers.Dense(num_classes, name="logits")(pooled))


@pytest.mark.parametrize("builder", [subclassed, any_size])
def test_what_a_network_does_not_say_of_its_shapes_is_no_error(builder):
    assert own.build(builder, SHAPE, 2, 0, None).built


@pytest.mark.parametrize(
    ("builder", "message"),
    [
        (lambda: "a model", "built keras.Model from the function '<lambda>'. Received: str"),
        (lambda: keras.Sequential([keras.layers.Dense(2)]), "Received: one that is not built"),
        (lambda: network((5, 4, 1), 2), r"takes the images, \(4, 4, 1\). Received: one of \(5, 4, 1\)"),
        (lambda: network((16,), 2), r"takes the images, \(4, 4, 1\). Received: one of \(16,\)"),
        (lambda: network(SHAPE, 3), "an output for each of 2 classes. Received: 3"),
    ],
)
def test_what_is_no_network_for_the_images_is_refused(builder, message):
    with pytest.raises(ValueError, match=message):
        own.build(builder, SHAPE, 2, 0, None)


def test_names_import_the_function_also_from_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "networks_of_a_test.py").write_text("def build():\n    return 3\n")
    monkeypatch.chdir(tmp_path)
    found = own.imported("networks_of_a_test:build")
    assert found() == 3
    assert own.name_of(found) == "networks_of_a_test:build"
    assert own.builder_of("networks_of_a_test:build") is found
    assert own.builder_of("convnet") is kt.models.convnet


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("no_such_module:build", "a module that can be imported. Received: 'no_such_module:build'"),
        ("json:build", "Received: 'json:build', and json has no such function"),
        ("json:__doc__", "json has no such function"),
        ("convnets", "Did you mean 'convnet'"),
    ],
)
def test_names_of_nothing_are_refused(model, message, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    with pytest.raises(ValueError, match=message):
        own.builder_of(model)
