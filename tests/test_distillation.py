"""Gradient matching: right derivatives, repeatable, and better than what it started from."""

import dataclasses

import numpy as np
import pytest
from keras import ops

import kerasticket as kt
from kerasticket import autodiff
from kerasticket.data.recipes import draw
from kerasticket.distillation import DISTANCES, GradientMatching
from kerasticket.distillation.matching import _Matcher

SMALL = GradientMatching(
    networks=2,
    iterations=2,
    learning_rate=0.01,
    real_batch=8,
    net_images=32,
    net_batch=16,
    width=4,
    distance="l1",
    resize="area",
    training=kt.data.DIGITS,
)


@pytest.fixture(scope="module")
def digits():
    return kt.data.load("digits", "train", images_per_class=10)


@pytest.mark.parametrize("initialisation", ["mix", "random", "noise"])
def test_a_set_is_a_pure_function_of_its_seed_and_stays_in_range(digits, initialisation):
    method = dataclasses.replace(SMALL, initialisation=initialisation)
    one, two = (method.distill(digits, ipc=1, seed=5) for _ in range(2))
    other = method.distill(digits, ipc=1, seed=6)
    np.testing.assert_array_equal(one.images, two.images)
    assert (one.images != other.images).any()
    assert (one.images != method.start(digits, 1, 5).images).any()
    assert 0 <= one.images.min() <= one.images.max() <= 1
    assert one.images.shape == (10, 16, 16, 1)
    assert one.settings["networks"] == 2
    one.check_matches(digits)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("distance", DISTANCES)
def test_the_gradient_in_the_images_equals_finite_differences(digits, distance):
    method = dataclasses.replace(SMALL, distance=distance, matching=kt.data.MATCHING)
    matcher = _Matcher(method, digits, method.start(digits, 1, 0).images.astype("float64"), 1, 0)
    rng = np.random.default_rng(0)
    parameters = draw(np, method.matching, lambda *shape: rng.random(shape), 1)
    weights = [ops.cast(v.value, "float64") for v in matcher.network.trainable_variables]
    real = digits.images[:8] / 255.0
    one_hot = np.eye(10)[3]
    direction = rng.normal(size=(1, 16, 16, 1))

    images = rng.uniform(0.2, 0.8, (1, 16, 16, 1))
    tensors = autodiff._tensors((images, np.arange(4), weights, real, one_hot, parameters))
    gradient = ops.convert_to_numpy(matcher._distance_and_gradient(*tensors)[1])
    step = 1e-6

    def at(offset):
        return float(matcher._distance_and_gradient(ops.convert_to_tensor(images + offset), *tensors[1:])[0])

    expected = (at(step * direction) - at(-step * direction)) / (2 * step)
    assert np.sum(gradient * direction) == pytest.approx(expected, rel=1e-5)


def test_bad_settings_are_refused(digits):
    for options, message in (
        ({"distance": "l3"}, "distance among"),
        ({"initialisation": "mixed"}, "initialisation among"),
        ({"model": "vit"}, "model among"),
        ({"factor": 0}, "factor >= 1"),
        ({"matching": kt.data.DIGITS}, "siamese=True"),
    ):
        with pytest.raises(ValueError, match=message):
            dataclasses.replace(SMALL, **options)
    with pytest.raises(ValueError, match="has only 10 images"):
        SMALL.distill(digits, ipc=3, seed=0)  # factor 2 needs 12 real images of each class
    with pytest.raises(ValueError, match="factor"):
        dataclasses.replace(SMALL, factor=17).distill(digits, ipc=1, seed=0)


def test_a_diverging_distillation_stops(digits):
    with pytest.raises(FloatingPointError, match="matching loss is"):
        dataclasses.replace(SMALL, learning_rate=1e30, networks=3).distill(digits, ipc=1, seed=0)


def test_evaluate_refuses_a_set_of_other_classes(digits):
    other = dataclasses.replace(kt.data.random_real(digits, 1), class_names=tuple("abcdefghij"))
    with pytest.raises(ValueError, match="class"):
        kt.distillation.evaluate(
            other,
            digits,
            build=lambda seed: kt.models.lenet_300_100((16, 16, 1), 10, seed=seed),
            recipe=kt.training.Recipe(1),
        )
