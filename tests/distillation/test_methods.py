"""What every distillation method keeps to, run over the dict of methods; and each method's own arithmetic."""

import dataclasses
import functools

import keras
import numpy as np
import pytest
from keras import ops

import kerasticket as kt
from kerasticket.backend import autodiff, fused
from kerasticket.data.augmentation.presets import draw
from kerasticket.distillation import METHODS, OBJECTIVES, SELECTORS, selection, soft_labels, trajectory
from kerasticket.distillation.distribution import _Matcher
from kerasticket.distillation.matching import Matcher
from kerasticket.distillation.networks import fresh_helper, fresh_network, fresh_weights
from kerasticket.distillation.selection import errors, herding, k_center
from kerasticket.files import checkpoint
from kerasticket.layers.convolution import TrainingConv2D
from kerasticket.models import MODELS

pytestmark = pytest.mark.usefixtures("plain_operations")

SMALL = {
    "idc": {"networks": 1, "iterations": 2, "real_batch": 8, "net_images": 32, "net_batch": 16, "width": 4},
    "dm": {"iterations": 3, "real_batch": 8, "width": 4},
    "mtt": {
        "zca": False,
        "iterations": 2,
        "student_steps": 2,
        "start_epochs": 1,
        "experts": 1,
        "epochs": 2,
        "width": 4,
        "matching": kt.data.Augmentation(color=True),
        "expert_augmentation": None,
    },
    "rded": {"net_epochs": 2, "crops": 2, "width": 4},
    "selection": {"networks": 2, "net_epochs": 1, "width": 4},
}


@pytest.fixture(scope="module")
def digits():
    return kt.data.load("digits", "train", images_per_class=12)


def small(name, **options):
    return METHODS[name](**(SMALL[name] | options))


@pytest.fixture(scope="module")
def made(digits):
    """From the name of a method to what it makes of the digits, which is made once."""
    return functools.cache(lambda name: small(name).distill(digits, ipc=2, seed=5))


@pytest.mark.parametrize("name", METHODS)
def test_a_method_is_a_pure_function_of_its_seed(name, digits, made):
    """The same set again, whatever else is trained meanwhile; another one of another seed; told in its settings."""
    method, told, one = small(name), [], made(name)
    other_training = kt.data.pipeline(digits, seed=5)

    def tell(done, images, loss):
        told.append(done)
        other_training.position = 7, 3
        next(iter(other_training))

    two = method.distill(digits, ipc=2, seed=5, progress=tell)
    other = method.distill(digits, ipc=2, seed=6)
    np.testing.assert_array_equal(one.images, two.images)
    assert (one.images != other.images).any()
    assert not hasattr(method, "start") or (one.images != method.start(digits, 2, 5).images).any()
    assert one.images.shape == (20, 16, 16, 1)
    assert one.is_soft == (name == "rded")
    assert one.is_soft or one.labels.tolist() == sorted(list(range(10)) * 2)
    assert 0 <= one.images.min() <= one.images.max() <= 1
    assert told
    assert told == list(range(1, method.steps + 1))
    assert one.settings["width"] == 4
    one.check_matches(digits)


def of_idc(objective, digits):
    matcher = Matcher(small("idc", objective=objective), digits, kt.data.mix(digits, 1, 2).images, 1, 0)
    return lambda weights, images, targets: matcher.compared(weights, images, targets)


def of_mtt(digits):
    return trajectory._Matcher(small("mtt"), small("mtt").start(digits, 1, 0), 0).network_loss


def of_dm(digits):
    matcher = _Matcher(small("dm"), digits, kt.data.mix(digits, 1, 2).images, 1, 0)
    parameters = draw(np, small("dm").matching, lambda *shape: np.zeros(shape, np.float32), 1)
    return lambda weights, images, targets: matcher._class_means(weights, images, parameters, (10,), (0,))


DIFFERENTIATED = {
    **{f"idc, {name}": functools.partial(of_idc, name) for name in OBJECTIVES}, "mtt": of_mtt, "dm": of_dm
}  # fmt: skip


@pytest.mark.same_on_every_backend
@pytest.mark.parametrize("name", DIFFERENTIATED)
def test_what_is_differentiated_goes_through_the_fast_convolution(name, digits, monkeypatch):
    """With all three kernels of a ConvNet-3, once each."""
    function, kernels, convolution = DIFFERENTIATED[name](digits), [], fused.convolution
    weights = [v.value for v in fresh_network("convnet", 4, digits, 0).trainable_variables]
    monkeypatch.setattr(fused, "convolution", lambda x, k: kernels.append(tuple(k.shape)) or convolution(x, k))
    function(weights[:-2] if name == "dm" else weights, digits.to_float(slice(10)), np.eye(10, dtype="float32"))
    assert kernels == [(3, 3, 1, 4), (3, 3, 4, 4), (3, 3, 4, 4)]


@pytest.mark.same_on_every_backend
@pytest.mark.parametrize("model", MODELS)
def test_helpers_have_the_weights_of_fresh_networks(model, digits):
    """And other convolutions."""
    if "imagenet" in model or "ap10" in model:
        pytest.skip("takes larger images")
    plain, helper = (make(model, 4, digits, 3) for make in (fresh_network, fresh_helper))
    for one, other in zip(plain.get_weights(), helper.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    kinds = {type(layer) for layer in helper.layers}
    assert keras.layers.Conv2D not in kinds
    assert (TrainingConv2D in kinds) == any(isinstance(layer, keras.layers.Conv2D) for layer in plain.layers)


@pytest.mark.same_on_every_backend
@pytest.mark.parametrize("name", METHODS)
def test_a_killed_method_goes_on_to_the_same_set(name, digits, made, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    method = small(name)

    def kill(done, images, loss):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        method.distill(digits, ipc=2, seed=5, progress=kill, checkpoint=tmp_path / "state.npz")
    told = []
    again = method.distill(
        digits, ipc=2, seed=5, progress=lambda *state: told.append(state[0]), checkpoint=tmp_path / "state.npz"
    )
    assert told == list(range(2, method.steps + 1))
    np.testing.assert_array_equal(again.images, made(name).images)
    np.testing.assert_array_equal(again.labels, made(name).labels)
    with pytest.raises(ValueError, match="seed was 5, is now 6"):
        method.distill(digits, ipc=2, seed=6, checkpoint=tmp_path / "state.npz")


@pytest.mark.same_on_every_backend
@pytest.mark.parametrize("name", METHODS)
def test_a_method_says_what_it_is_compared_with(name, digits, made):
    start = small(name).start(digits, 2, 5)
    assert start.images.shape == made(name).images.shape
    assert start.method != made(name).method == small(name).name


@pytest.mark.same_on_every_backend
@pytest.mark.parametrize("name", METHODS)
def test_any_method_takes_soft_labels(name, made):
    soft = soft_labels(made(name), kt.models.convnet((16, 16, 1), 10, width=4, seed=0))
    assert soft.decode()[1].shape == (made(name).decoded_count, 10)


@pytest.mark.same_on_every_backend
@pytest.mark.parametrize("name", METHODS)
def test_a_method_refuses_more_images_than_a_class_has(name, digits):
    with pytest.raises(ValueError, match="class '0' has only 12 images"):
        small(name).distill(digits, ipc=13, seed=0)


@pytest.mark.same_on_every_backend
@pytest.mark.parametrize("name", METHODS)
def test_a_method_refuses_data_that_lack_a_class(name, digits):
    without = digits.labels != 3
    few = dataclasses.replace(digits, images=digits.images[without], labels=digits.labels[without])
    with pytest.raises(ValueError, match="class '3' has only 0 images"):
        small(name).distill(few, ipc=1, seed=0)


@pytest.mark.same_on_every_backend
@pytest.mark.parametrize("name", [name for name in METHODS if hasattr(METHODS[name], "factor")])
def test_a_method_refuses_a_factor_that_does_not_fit_the_images(name, digits):
    with pytest.raises(ValueError, match="factor must be at least 1 and leave pixels.*Received: 17"):
        small(name, factor=17).distill(digits, ipc=1, seed=0)


@pytest.mark.same_on_every_backend
@pytest.mark.parametrize("name", [name for name in METHODS if hasattr(METHODS[name], "matching")])
@pytest.mark.parametrize("ignored", [{"jitter": 0.4}, {"cutmix": 0.5}, {"random_resized_crop": (0.5, 1.0)}])
def test_a_method_refuses_an_augmentation_that_matching_would_leave_out(name, ignored):
    with pytest.raises(ValueError, match="operations on normalized images"):
        small(name, matching=kt.data.Augmentation(color=True, siamese=True, **ignored))


@pytest.mark.same_on_every_backend
@pytest.mark.parametrize("name", ["idc", "mtt"])
def test_checkpoints_and_experts_are_of_one_normalization(name, digits, tmp_path):
    """The same pixels, seen by networks in another way."""
    options = {"folder": str(tmp_path / "experts")} if name == "mtt" else {}
    method, other = small(name, **options), dataclasses.replace(digits, mean=(0.5,), std=(0.25,))
    checkpoint = None if name == "mtt" else tmp_path / "state.npz"
    method.distill(digits, ipc=1, seed=0, checkpoint=checkpoint)
    with pytest.raises(ValueError, match="mean was .*, is now"):
        method.distill(other, ipc=1, seed=0, checkpoint=checkpoint)


def test_features_have_no_cosine_of_output_units():
    with pytest.raises(ValueError, match="'mse' or 'l1' for features"):
        small("idc", objective="features", distance="cosine")


@pytest.mark.same_on_every_backend
@pytest.mark.parametrize("name", METHODS)
def test_a_method_refuses_unknown_networks(name):
    with pytest.raises(ValueError, match="Expected model to be one of"):
        small(name, model="perceptron")


@pytest.mark.same_on_every_backend
@pytest.mark.parametrize("by", SELECTORS)
def test_selected_images_are_different_images_of_their_class(by, digits, monkeypatch):
    """Whatever the judge says, which has tests of its own."""
    judged = np.random.default_rng(0).normal(size=(len(digits), 3))
    monkeypatch.setitem(SELECTORS, by, dataclasses.replace(SELECTORS[by], judge=lambda network, images: judged))
    for name in ("train", "renew"):
        monkeypatch.setattr(selection, name, lambda *arguments, **options: None)
    chosen = small("selection", by=by).distill(digits, ipc=3, seed=1)
    for label in range(10):
        own = digits.images[digits.labels == label] / np.float32(255)
        found = [np.flatnonzero((own == image).all(axis=(1, 2, 3))) for image in chosen.images[chosen.labels == label]]
        assert len({int(place[0]) for place in found}) == 3


def test_herding_and_k_center_by_hand():
    """Five points on a line, mean 4: herding takes 4 and keeps the mean; k-center takes 4, then 11, then 0."""
    features = np.array([[0.0], [1.0], [4.0], [4.0], [11.0]])
    assert herding(features, 2, None).tolist() == [2, 3]
    assert k_center(features, 3, None).tolist() == [2, 4, 0]


def test_errors_are_distances_between_probabilities_and_labels(digits):
    """|softmax - one-hot| by hand."""
    network = kt.models.convnet((16, 16, 1), 10, width=4, seed=0)
    prepared = (digits.images / 255 - digits.mean[0]) / digits.std[0]
    logits = network.predict(prepared.astype("float32"), verbose=0)[7].astype("float64")
    softmax = np.exp(logits) / np.exp(logits).sum()
    softmax[digits.labels[7]] -= 1
    assert errors(network, digits)[7, 0] == pytest.approx(np.sqrt((softmax**2).sum()), rel=1e-5)


@pytest.mark.same_on_every_backend
def test_the_hardest_and_the_easiest_images_are_chosen(digits, monkeypatch):
    """Values that two networks give are averaged."""
    values = np.random.default_rng(0).normal(size=(2, len(digits), 1))
    by_network = iter(values.tolist() * 2)
    judge = dataclasses.replace(SELECTORS["el2n"], judge=lambda network, images: np.array(next(by_network)))
    for by, worst in (("el2n", np.argmax), ("el2n_lowest", np.argmin)):
        monkeypatch.setitem(SELECTORS, by, dataclasses.replace(SELECTORS[by], judge=judge.judge))
        chosen = small("selection", by=by, networks=2).distill(digits, ipc=1, seed=0)
        mean = values.mean(axis=(0, 2))
        expected = [np.flatnonzero(digits.labels == c)[worst(mean[digits.labels == c])] for c in range(10)]
        np.testing.assert_array_equal(chosen.images, digits.images[expected] / np.float32(255))


def test_fresh_weights_are_those_of_a_fresh_network(digits):
    """Bit for bit what building the network with that seed gives."""
    one, other = (kt.models.convnet((16, 16, 1), 10, width=4, seed=seed) for seed in (0, 77))
    for drawn, expected in zip(fresh_weights(one, 77), other.trainable_variables, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(drawn), ops.convert_to_numpy(expected))


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("factor", [1, 2])
def test_the_gradient_of_dm_equals_finite_differences(factor, digits):
    """And its value is the distance between class means of features, worked out image by image."""
    method = small("dm", factor=factor, initialization="mix", resize="area")
    matcher = _Matcher(method, digits, method.start(digits, 2, 0).images.astype("float64"), 2, 0)
    rng = np.random.default_rng(0)
    parameters = draw(np, method.matching, lambda *shape: rng.random(shape), 1)
    weights = [ops.cast(value, "float64") for value in fresh_weights(matcher.features, 3)]
    real = np.concatenate([digits.images[digits.labels == label][:3] for label in range(10)]) / 255.0
    images = rng.uniform(0.2, 0.8, (20, 16, 16, 1))
    direction = rng.normal(size=images.shape)
    tensors = autodiff._tensors((images, weights, real, parameters))
    value, gradient = matcher.loss_and_gradient(*tensors)

    def at(offset):
        return float(ops.convert_to_numpy(matcher.loss_and_gradient(images + offset, *tensors[1:])[0]))

    step = 1e-6
    expected = (at(step * direction) - at(-step * direction)) / (2 * step)
    assert np.sum(ops.convert_to_numpy(gradient) * direction) == pytest.approx(expected, rel=1e-5)
    stored = dataclasses.replace(method.start(digits, 2, 0), images=images.astype("float32"))
    decoded, labels = stored.decode()

    def class_mean(pixels):
        mean = matcher._class_means(
            weights, ops.convert_to_tensor(pixels.astype("float64")), tensors[3], (len(pixels),), (0,)
        )
        return ops.convert_to_numpy(mean)

    by_class = [class_mean(real[3 * c : 3 * c + 3]) - class_mean(decoded[labels == c]) for c in range(10)]
    expected = sum((difference**2).sum() for difference in by_class)
    assert float(ops.convert_to_numpy(value)) == pytest.approx(expected, rel=1e-4)


def test_dm_brings_the_features_nearer(digits):
    """The loss on networks that it has not seen falls."""
    method = small("dm", iterations=30, initialization="noise", learning_rate=0.3, width=16)
    losses = []
    method.distill(digits, ipc=1, seed=0, progress=lambda done, images, loss: losses.append(loss))
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])


def test_dm_stops_at_a_loss_that_is_not_finite(digits, monkeypatch):
    monkeypatch.setattr(_Matcher, "step", lambda self, iteration: float("nan") if iteration else 1.0)
    with pytest.raises(FloatingPointError, match="nan at step 1 of 3"):
        small("dm").distill(digits, ipc=1, seed=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"initialization": "zeros"}, "initialization to be one of"),
        ({"learning_rate": 0.0}, "learning_rate > 0"),
        ({"iterations": 0}, "iterations >= 1"),
        ({"matching": kt.data.PAPER_CIFAR}, "siamese"),
    ],
)
def test_dm_refuses_settings_that_make_no_sense(options, message):
    with pytest.raises(ValueError, match=message):
        small("dm", **options)


def test_selection_refuses_settings_that_make_no_sense():
    with pytest.raises(ValueError, match="by to be one of"):
        small("selection", by="beauty")
    with pytest.raises(ValueError, match="networks >= 1"):
        small("selection", networks=0)


@pytest.mark.same_on_every_backend
@pytest.mark.parametrize("name", METHODS)
def test_every_method_takes_a_network_of_the_callers(name, digits):
    """It decides the images: they are finite, and others than with another network or another seed."""
    models = ("own_network:small", "convnet")
    made = {model: small(name, model=model).distill(digits, ipc=1, seed=0).images for model in models}
    again = small(name, model="own_network:small").distill(digits, ipc=1, seed=0)
    np.testing.assert_array_equal(again.images, made["own_network:small"])
    assert np.isfinite(again.images).all()
    if name != "selection":  # may choose the same ones
        assert (made["convnet"] != again.images).any()
    with pytest.raises(ValueError, match="own_network has no such function"):
        small(name, model="own_network:large")
