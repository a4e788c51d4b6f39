"""Pipelines feed `fit` on every backend: traced once, and exactly the epochs that callbacks seek."""

import keras
import numpy as np
from numbered_images import numbered, stream

from kerasticket.data import DIGITS, load, pipeline, seek


class Positioned(keras.callbacks.Callback):
    """What a training callback does."""

    def on_epoch_begin(self, epoch, logs=None):
        seek(round=0, epoch=epoch)


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
        model.fit(batches, epochs=3, verbose=0, shuffle=False, callbacks=[Positioned()])
        return model.get_weights()

    first, second = weights(), weights()
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)
    if keras.backend.backend() == "tensorflow":
        assert {shape[0] for shape in shapes} == {None}


def test_fit_sees_exactly_the_epochs_that_its_callback_seeks():
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
    model.fit(batches.map(watch), epochs=3, verbose=0, shuffle=False, callbacks=[Positioned()])
    fresh = pipeline(numbered(20), **settings_of_both)
    expected = [value for _ in range(3) for images, _ in stream(fresh) for value in images[:, 0, 0, 0]]
    assert seen[-len(expected) :] == expected
