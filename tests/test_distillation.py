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
from kerasticket.distillation.starts import INITIALISATIONS

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


@pytest.mark.parametrize("initialisation", INITIALISATIONS)
def test_starting_images_are_a_pure_function_of_their_seed_and_in_range(digits, initialisation):
    method = dataclasses.replace(SMALL, initialisation=initialisation)
    one, two, other = (method.start(digits, 1, seed).images for seed in (5, 5, 6))
    np.testing.assert_array_equal(one, two)
    assert (one != other).any() != (initialisation == "mix")  # IDC's mix takes the first images
    assert one.shape == (10, 16, 16, 1)
    assert 0 <= one.min() <= one.max() <= 1


def test_a_set_is_a_pure_function_of_its_seed_and_stays_in_range(digits):
    one = SMALL.distill(digits, ipc=1, seed=5)
    two = SMALL.distill(digits, ipc=1, seed=5, progress=lambda *state: kt.data.seek(7, 3))  # as other trainings do
    other = SMALL.distill(digits, ipc=1, seed=6)
    np.testing.assert_array_equal(one.images, two.images)
    assert (one.images != other.images).any()
    assert (one.images != SMALL.start(digits, 1, 5).images).any()
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


def test_a_step_is_sgd_with_momentum_on_the_gradient_of_the_right_class(digits, monkeypatch):
    """Two steps of two classes by hand; the other classes coast on their momentum."""
    method = dataclasses.replace(SMALL, learning_rate=0.1, momentum=0.5)
    start = method.start(digits, 1, 0).images
    matcher = _Matcher(method, digits, start.copy(), 1, 0)
    real_of, gradients = [], []

    def step(images, kept, weights, real, one_hot, parameters):
        real_of.append((int(np.argmax(one_hot)), real))
        gradients.append(np.full(images.shape, len(gradients) + 1.0, "float32"))
        return ops.convert_to_tensor(0.0), ops.convert_to_tensor(gradients[-1])

    monkeypatch.setattr(matcher, "step", step)
    rng = np.random.default_rng(0)
    matcher._match(3, rng)
    matcher._match(4, rng)
    velocity_3, velocity_4 = 0.5 * gradients[0], gradients[1]
    np.testing.assert_allclose(matcher.images[3], (start[3] - 0.1 * gradients[0] - 0.1 * velocity_3)[0], rtol=1e-6)
    np.testing.assert_allclose(matcher.images[4], (start[4] - 0.1 * velocity_4)[0], rtol=1e-6)
    np.testing.assert_array_equal(matcher.images[5], start[5])
    for label, real in real_of:
        own = digits.images[digits.labels == label] / np.float32(255)
        assert all(any((image == candidate).all() for candidate in own) for image in real)


def test_matching_brings_the_gradients_nearer(digits):
    """On one network that stays as it is, the matching loss falls."""
    method = dataclasses.replace(SMALL, learning_rate=1e-3, networks=1, iterations=12, real_batch=10)
    matcher = _Matcher(method, digits, method.start(digits, 1, 0).images.copy(), 1, 0)
    losses = [np.mean([matcher._match(label, np.random.default_rng(label)) for label in range(10)]) for _ in range(12)]
    assert losses[-1] < 0.9 * losses[0]


def test_networks_are_trained_between_the_steps(digits):
    matcher = _Matcher(SMALL, digits, SMALL.start(digits, 1, 0).images.copy(), 1, 0)
    before = kt.get_params(matcher.network)
    matcher._train_network()
    assert any((before[path] != after).any() for path, after in kt.get_params(matcher.network).items())


def test_the_batches_of_a_matcher_are_its_own(digits):
    """Another training moves every pipeline; here before the first epoch and within each."""
    streams = []
    for disturbed in (False, True):
        matcher = _Matcher(SMALL, digits, SMALL.start(digits, 1, 0).images.copy(), 1, 0)
        taken = []
        for _ in range(2 * 64 * 7 + 1):  # 100 images, 7 batches a pass, 64 passes an epoch: into the third epoch
            if disturbed:
                kt.data.seek(7, 3)
            taken.append(next(matcher.batches)[0].numpy())
        streams.append(taken)
    assert all((alone == beside).all() for alone, beside in zip(*streams, strict=True))
    assert (streams[0][0] != streams[0][64 * 7]).any()


def test_networks_with_statistics_or_without_convolutions_are_refused(digits):
    for model in ("resnet10", "lenet_300_100"):
        with pytest.raises(ValueError, match="convolutions and without moving statistics"):
            dataclasses.replace(SMALL, model=model).distill(digits, ipc=1, seed=0)


def test_evaluate_trains_one_network_per_seed(digits):
    def build(seed):
        return kt.models.convnet((16, 16, 1), 10, width=4, seed=seed)

    recipe = kt.training.Recipe(4, learning_rate=0.05)
    data = kt.data.random_real(digits, 5)
    together = kt.distillation.evaluate(data, digits, build=build, recipe=recipe, seeds=(1, 2))
    apart = []
    for seed in (1, 2):
        model = build(seed)
        kt.training.train(model, data, recipe, data_order=seed)
        apart.append(kt.training.evaluate(model, digits)["accuracy"])
    assert together.accuracies == pytest.approx(apart, abs=1e-6)
    assert apart[0] != apart[1]


def test_bad_settings_are_refused(digits):
    for options, message in (
        ({"net_images": 8}, "net_images >= net_batch"),
        ({"learning_rate": -1.0}, "learning_rate > 0"),
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
