"""Pipelines feed `fit` on every backend: traced once, and exactly the epochs that callbacks move them to."""

from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest
from numbered_images import numbered, stream

import kerasticket as kt
from kerasticket.data import DIGITS, load, pipeline


class Positioned(keras.callbacks.Callback):
    """What a training callback does."""

    def __init__(self, batches):
        super().__init__()
        self.batches = batches

    def on_epoch_begin(self, epoch, logs=None):
        self.batches.position = 0, epoch


def test_fit_on_this_backend_is_traced_once_and_repeats_itself():
    shapes = []

    class Watched(keras.layers.Flatten):
        def call(self, x):
            shapes.append(tuple(x.shape))
            return super().call(x)

    def weights() -> list[np.ndarray]:
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((16, 16, 1)), Watched(name="flat"), keras.layers.Dense(10, name="head")])
        model.compile(keras.optimizers.SGD(0.01), keras.losses.CategoricalCrossentropy(from_logits=True))
        batches = pipeline(load("digits", images_per_class=7), batch_size=32, passes=2, augmentation=DIGITS)
        model.fit(batches, epochs=3, verbose=0, shuffle=False, callbacks=[Positioned(batches)])
        return model.get_weights()

    first, second = weights(), weights()
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)
    if keras.backend.backend() == "tensorflow":
        assert {shape[0] for shape in shapes} == {None}


def test_fit_sees_exactly_the_epochs_that_its_callback_moves_it_to():
    """Keras may peek at a batch before training; the epochs themselves are those of a fresh pipeline."""
    import tensorflow as tf

    seen: list[float] = []

    def watch(images, labels):
        tf.py_function(lambda values: seen.extend(values.numpy()), [images[:, 0, 0, 0]], [])
        return images, labels

    settings_of_both = {"batch_size": 8, "seed": 4, "passes": 2}
    batches = pipeline(numbered(20), **settings_of_both)
    model = keras.Sequential(
        [keras.Input((4, 4, 3)), keras.layers.Flatten(name="flat"), keras.layers.Dense(3, name="head")]
    )
    model.compile("sgd", "mse")
    model.fit(batches.map(watch), epochs=3, verbose=0, shuffle=False, callbacks=[Positioned(batches)])
    fresh = pipeline(numbered(20), **settings_of_both)
    expected = [value for _ in range(3) for images, _ in stream(fresh) for value in images[:, 0, 0, 0]]
    assert seen[-len(expected) :] == expected


RECIPE = kt.training.Recipe(epochs=4, batch_size=16, augmentation=DIGITS)


def trained(order: int) -> tuple[dict[str, np.ndarray], list[float]]:
    """Weights and losses of a training on a pipeline of its own, the same network each time."""
    images = load("digits", images_per_class=4)
    model = kt.models.lenet_300_100((16, 16, 1), 10, seed=0)
    history = kt.training.train(model, images, RECIPE, data_order=order, round=order)
    return kt.get_params(model), [row["loss"] for row in history.rows]


def assert_same(first, second):
    assert first[1] == second[1]
    for path, array in first[0].items():
        np.testing.assert_array_equal(array, second[0][path])


def test_a_training_within_another_disturbs_nothing():
    """As before: what a callback moves is its own pipeline."""
    alone, inner = trained(1), []

    class Inner(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            inner.append(trained(2))

    images = load("digits", images_per_class=4)
    model = kt.models.lenet_300_100((16, 16, 1), 10, seed=0)
    history = kt.training.train(model, images, RECIPE, data_order=1, round=1, callbacks=[Inner()])
    assert_same((kt.get_params(model), [row["loss"] for row in history.rows]), alone)
    for each in inner[1:]:
        assert_same(each, inner[0])


def test_trainings_in_two_threads_disturb_nothing():
    alone = [trained(order) for order in (1, 2)]
    with ThreadPoolExecutor(2) as threads:
        together = list(threads.map(trained, (1, 2)))
    for one, other in zip(alone, together, strict=True):
        assert_same(one, other)


def test_iterative_pruning_moves_what_it_is_given_alone():
    """A derived dataset too; on all backends the same places, though some peek at a batch before."""
    batches, other = pipeline(numbered(20), batch_size=8), pipeline(numbered(20))
    flat = batches.map(lambda images, labels: (images, labels))
    model = kt.masked(kt.models.lenet_300_100((4, 4, 3), 3, seed=0))
    model.compile("sgd", keras.losses.CategoricalCrossentropy(from_logits=True))
    imp = kt.callbacks.IterativeMagnitudePruning(rounds=2, epochs_per_round=2, rewind_epoch=1, pipeline=flat)
    places = []
    seen = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: places.append(tuple(batches.position)))
    model.fit(flat, epochs=imp.total_epochs, callbacks=[seen, imp], shuffle=False, verbose=0)
    assert places == [(0, 1), (0, 2), (1, 2)]
    assert other.position == (0, 0)


def test_what_is_no_pipeline_is_refused():
    with pytest.raises(ValueError, match=r"`pipeline` must be made by kerasticket\.data\.pipeline.*Received: list"):
        kt.callbacks.IterativeMagnitudePruning(pipeline=[1, 2])
