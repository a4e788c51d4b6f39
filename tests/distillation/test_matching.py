"""Gradient matching: right derivatives, repeatable, and better than what it started from."""

import dataclasses
import types

import numpy as np
import pytest
from keras import ops

import kerasticket as kt
from kerasticket.backend import autodiff
from kerasticket.data.augmentation.presets import draw
from kerasticket.distillation import OBJECTIVES, GradientMatching, dc, dsa
from kerasticket.distillation.initialization import INITIALIZATIONS
from kerasticket.distillation.matching import Matcher
from kerasticket.distillation.objectives import DISTANCES
from kerasticket.files import checkpoint

pytestmark = pytest.mark.usefixtures("plain_operations")

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


@pytest.mark.parametrize("initialization", INITIALIZATIONS)
def test_starting_images_are_a_pure_function_of_their_seed_and_in_range(digits, initialization):
    method = dataclasses.replace(SMALL, initialization=initialization)
    one, two, other = (method.start(digits, 1, seed).images for seed in (5, 5, 6))
    np.testing.assert_array_equal(one, two)
    assert (one != other).any() != (initialization == "mix")  # IDC's mix takes the first images
    assert one.shape == (10, 16, 16, 1)
    assert 0 <= one.min() <= one.max() <= 1


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    ("objective", "distance", "classifier"),
    [
        *(("gradients", distance, True) for distance in DISTANCES),
        *((objective, "mse", False) for objective in OBJECTIVES),
    ],
)
def test_the_gradient_in_the_images_equals_finite_differences(digits, distance, objective, classifier):
    options = {"distance": distance, "objective": objective, "classifier": classifier}
    method = dataclasses.replace(SMALL, matching=kt.data.MATCHING, **options)
    matcher = Matcher(method, digits, method.start(digits, 1, 0).images.astype("float64"), 1, 0)
    rng = np.random.default_rng(0)
    parameters = draw(np, method.matching, lambda *shape: rng.random(shape), 1)
    weights = [ops.cast(v.value, "float64") for v in matcher.network.trainable_variables]
    real = digits.images[:8] / 255.0
    one_hot = np.eye(10)[3]
    direction = rng.normal(size=(1, 16, 16, 1))

    images = rng.uniform(0.2, 0.8, (1, 16, 16, 1))
    tensors = autodiff._tensors((images, np.arange(4), weights, real, one_hot, parameters))
    gradient = ops.convert_to_numpy(matcher.distance_and_gradient(*tensors)[1])
    step = 1e-6

    def at(offset):
        return float(matcher.distance_and_gradient(images + offset, *tensors[1:])[0])

    expected = (at(step * direction) - at(-step * direction)) / (2 * step)
    assert np.sum(gradient * direction) == pytest.approx(expected, rel=1e-5)


def recorded(matcher, monkeypatch) -> list:
    """Replaces the derivative of class c by c + 1; what the calls got."""
    calls = []

    def step(images, kept, weights, real, one_hot, parameters):
        label = int(np.argmax(one_hot))
        calls.append((label, images.copy(), real))
        return ops.convert_to_tensor(0.0), ops.full(images.shape, label + 1.0)

    monkeypatch.setattr(matcher, "distance_and_gradient", step)
    return calls


def test_classes_take_turns_and_coast_on_their_momentum(digits, monkeypatch):
    """One step by hand: class c moves by rate * (c + 1), and by half of that at each later turn, and so on."""
    method = dataclasses.replace(SMALL, learning_rate=0.01, momentum=0.5)
    start = method.start(digits, 1, 0).images
    matcher = Matcher(method, digits, start.copy(), 1, 0)
    calls = recorded(matcher, monkeypatch)
    matcher._match(np.random.default_rng(0))
    for label in range(10):
        turns = sum(0.5**later for later in range(10 - label))
        np.testing.assert_allclose(matcher.images[label], start[label] - 0.01 * (label + 1) * turns, rtol=1e-4)
    for turn, (label, images, real) in enumerate(calls):
        assert label == turn
        np.testing.assert_array_equal(images[0], start[label])  # no earlier class has moved it
        own = digits.images[digits.labels == label] / np.float32(255)
        assert all(any((image == candidate).all() for candidate in own) for image in real)


def test_classes_step_together_in_dc_with_a_rate_of_normalized_pixels(digits, monkeypatch):
    method = dataclasses.replace(SMALL, learning_rate=0.1, momentum=0.5, together=True, normalized_rate=True)
    start = method.start(digits, 1, 0).images
    matcher = Matcher(method, digits, start.copy(), 1, 0)
    recorded(matcher, monkeypatch)
    matcher._match(np.random.default_rng(0))
    matcher._match(np.random.default_rng(0))
    rate = 0.1 * digits.std[0] ** 2
    for label in range(10):  # velocities g, then 1.5 g
        np.testing.assert_allclose(matcher.images[label], start[label] - rate * 2.5 * (label + 1), rtol=1e-4, atol=1e-6)


def test_matching_brings_the_gradients_nearer(digits):
    """On one network that stays as it is, the matching loss falls."""
    method = dataclasses.replace(SMALL, learning_rate=1e-3, networks=1, iterations=12, real_batch=10)
    matcher = Matcher(method, digits, method.start(digits, 1, 0).images.copy(), 1, 0)
    losses = [matcher._match(np.random.default_rng(0)) for _ in range(12)]
    assert losses[-1] < 0.9 * losses[0]


def changed_by(digits, **options) -> bool:
    """Whether training in a step changes the network, with the images left as they are."""
    matcher = Matcher(dataclasses.replace(SMALL, **options), digits, SMALL.start(digits, 1, 0).images.copy(), 1, 0)
    matcher._match = lambda rng: 0.0
    fresh = kt.get_params(matcher._fresh_network(0))
    matcher.step(0)
    return any((fresh[path] != after).any() for path, after in kt.get_params(matcher.network).items())


def test_networks_are_trained_as_the_settings_say(digits):
    assert not changed_by(digits, net_images=0)
    assert changed_by(digits, net_images=32)
    assert changed_by(digits, net_images=0, early_images=32)
    assert changed_by(digits, net_images=0, synthetic_passes=1)


@pytest.mark.same_on_every_backend
def test_every_step_trains_on_batches_of_its_own(digits, monkeypatch):
    """Early ones before each network, then two a step; none twice, whatever else moves the pipelines."""
    method = dataclasses.replace(SMALL, early_images=48)
    matcher, taken = Matcher(method, digits, SMALL.start(digits, 1, 0).images.copy(), 1, 0), []
    monkeypatch.setattr(matcher, "_match", lambda rng: 0.0)
    monkeypatch.setattr(matcher.batches, "batch", lambda round, number, end: taken.append(number) or (nothing, nothing))
    monkeypatch.setattr(matcher.network, "train_on_batch", lambda images, labels: None)
    nothing = types.SimpleNamespace(numpy=lambda: None)
    for index in range(4):
        matcher.step(index)
    assert taken == list(range(2 * 3 + 4 * 2))


@pytest.mark.slow
@pytest.mark.parametrize("method", [SMALL, dc(1, networks=4, width=4), dsa(1, networks=4, width=4)])
def test_a_killed_distillation_goes_on_to_the_same_images(digits, method, tmp_path, monkeypatch):
    """Killed after every step in turn; the file is written after each."""
    monkeypatch.setattr(checkpoint, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    expected = method.distill(digits, ipc=1, seed=3).images
    for killed_after in range(1, 4):
        path = tmp_path / f"{killed_after}.npz"

        def kill(done, images, loss, last=killed_after):
            if done == last:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            method.distill(digits, ipc=1, seed=3, progress=kill, checkpoint=path)
        told = []
        again = method.distill(
            digits, ipc=1, seed=3, progress=lambda *state, told=told: told.append(state[0]), checkpoint=path
        )
        assert told == list(range(killed_after + 1, 5))
        np.testing.assert_array_equal(again.images, expected)


def test_networks_with_statistics_or_without_convolutions_are_refused(digits):
    for model, message in (("resnet10", "without moving statistics"), ("lenet_300_100", "with convolutions")):
        with pytest.raises(ValueError, match=message):
            dataclasses.replace(SMALL, model=model).distill(digits, ipc=1, seed=0)


@pytest.mark.same_on_every_backend
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
        ({"net_images": 8}, "net_images of 0, or at least net_batch=16"),
        ({"early_images": -1}, "early_images of 0"),
        ({"synthetic_passes": -1}, "synthetic_passes >= 0"),
        ({"momentum": 1.0}, "momentum in"),
        ({"objective": "hessians"}, "objective to be one of"),
        ({"learning_rate": -1.0}, "learning_rate > 0"),
        ({"distance": "l3"}, "distance to be one of"),
        ({"initialization": "mixed"}, "initialization to be one of"),
        ({"model": "vit"}, "model to be one of"),
        ({"factor": 0}, "factor >= 1"),
        ({"matching": kt.data.DIGITS}, "siamese=True"),
    ):
        with pytest.raises(ValueError, match=message):
            dataclasses.replace(SMALL, **options)
    with pytest.raises(ValueError, match="has only 10 images"):
        SMALL.distill(digits, ipc=3, seed=0)  # factor 2 needs 12 real images of each class
    with pytest.raises(ValueError, match="factor"):
        dataclasses.replace(SMALL, factor=17).distill(digits, ipc=1, seed=0)


@pytest.mark.same_on_every_backend
def test_a_diverging_distillation_stops(digits):
    with pytest.raises(FloatingPointError, match="matching loss is"):
        dataclasses.replace(SMALL, learning_rate=1e30, networks=3).distill(digits, ipc=1, seed=0)


@pytest.mark.same_on_every_backend
def test_evaluate_refuses_a_set_of_other_classes(digits):
    other = dataclasses.replace(kt.data.random_real(digits, 1), class_names=tuple("abcdefghij"))
    with pytest.raises(ValueError, match="class"):
        kt.distillation.evaluate(
            other,
            digits,
            build=lambda seed: kt.models.lenet_300_100((16, 16, 1), 10, seed=seed),
            recipe=kt.training.Recipe(1),
        )
