"""Evaluation of distilled sets: networks, controls, and DD-Ranking's score."""

import dataclasses
import math

import numpy as np
import pytest

import kerasticket as kt
from kerasticket.distillation import evaluate
from kerasticket.distillation.controls import FULL_ACCURACY, controls, full_accuracy, hardened, label_robust_score
from kerasticket.distillation.evaluation import ARCHITECTURES, Accuracy, Comparison, builder
from kerasticket.layers.convolution import TrainingConv2D

pytestmark = pytest.mark.usefixtures("plain_operations")


@pytest.fixture(scope="module")
def digits():
    return kt.data.load("digits", "train", images_per_class=12)


@pytest.mark.same_on_every_backend
def test_evaluate_compares_architectures_with_controls(digits):
    """Each architecture is that of `accuracy_of`; ResNets are as published, whatever the width of ConvNets."""
    data = kt.data.mix(digits, 2, 2)
    recipe = kt.training.Recipe(1)
    found = evaluate(data, digits, 2, ("convnet3", "lenet_300_100"), real=digits, recipe=recipe, width=4)
    assert list(found) == ["convnet3", "lenet_300_100"]
    alone = evaluate(data, digits, build=builder("convnet3", digits, 4), recipe=recipe, seeds=range(2))
    assert found["convnet3"].distilled.accuracies == alone.accuracies
    assert list(found["convnet3"].controls) == ["random_real", "mix"]
    assert found["convnet3"].controls["mix"].accuracies == alone.accuracies  # the set is the control here
    assert "random_real" in str(found["lenet_300_100"])
    assert TrainingConv2D in {type(layer) for layer in builder("convnet3", digits, 4)(0).layers}
    assert builder("resnet10", digits, 4)(0).count_params() == kt.models.resnet10((16, 16, 1), 10).count_params()
    with pytest.raises(ValueError, match="Expected architecture to be one of .*convnet3.*Received: architecture='vit'"):
        evaluate(data, digits, architectures=("vit",))
    with pytest.raises(ValueError, match="at least one seed"):
        evaluate(data, digits, 0, recipe=recipe)


@pytest.mark.parametrize("name", [name for name in ARCHITECTURES if "imagenet" not in name and "ap10" not in name])
def test_architectures_give_fresh_networks_of_a_seed(name):
    images = kt.data.random_real(kt.data.load("digits"), 1)
    images = dataclasses.replace(images, images=np.tile(images.images, (1, 2, 2, 1)))  # ConvNet-5 needs 32 pixels
    one, same, other = (builder(name, images, 4)(seed).get_weights() for seed in (1, 1, 2))
    assert all((a == b).all() for a, b in zip(one, same, strict=True))
    assert any((a != b).any() for a, b in zip(one, other, strict=True))


def test_label_robust_score_by_hand():
    """a = .5 * (.8 - .5) - .5 * (.9 - .7) = .05; perfect recovery of everything from nothing gives a = .5."""
    score = label_robust_score(full=0.9, hard=0.7, distilled=0.8, random=0.5)
    assert score == pytest.approx((1.0512710964 - 0.3678794412) / (2.7182818285 - 0.3678794412))
    assert label_robust_score(full=1, hard=1, distilled=1, random=0) == pytest.approx(
        (math.exp(0.5) - math.exp(-1)) / (math.e - math.exp(-1))
    )
    only_random = label_robust_score(full=0.9, hard=0.7, distilled=0.8, random=0.5, weight=1)
    assert only_random == pytest.approx((1.3498588076 - 0.3678794412) / 2.3504023873)
    with pytest.raises(ValueError, match=r"Expected full in \[0, 1\]. Received: full=84.8"):
        label_robust_score(full=84.8, hard=0.5, distilled=0.5, random=0.5)


def test_the_score_of_a_comparison_is_by_hard_labels():
    """And is None where a part of it is unknown."""
    one, hard, random = (Accuracy((value, value)) for value in (0.8, 0.7, 0.5))
    both = Comparison(one, {"random_real": random, "hard_labels": hard}, full=0.9)
    assert both.label_robust_score == label_robust_score(full=0.9, hard=0.7, distilled=0.7, random=0.5)
    assert Comparison(one, {"random_real": random}, 0.9).label_robust_score == pytest.approx(
        label_robust_score(full=0.9, hard=0.8, distilled=0.8, random=0.5)
    )
    assert Comparison(one, {}, 0.9).label_robust_score is None
    assert Comparison(one, {"random_real": random}).label_robust_score is None
    assert "label-robust" in str(both)


def test_full_accuracy_is_that_of_the_data_set_architecture_and_width():
    assert full_accuracy("cifar10:3.0.2/train", "convnet3", 128) == 0.848
    assert full_accuracy("cifar10:3.0.2/train", "convnet3", 32) is None
    assert all(0 < value < 1 for value in FULL_ACCURACY.values())


@pytest.mark.same_on_every_backend
@pytest.mark.parametrize("cells", [False, True])
def test_soft_labels_are_hardened(cells, digits):
    """To the most probable class, as long as the images stay the same."""
    data = kt.data.mix(digits, 2, 2)
    soft = np.eye(10, dtype="float32")[data.labels] * np.float32(0.7) + np.float32(0.03)
    labels = np.repeat(soft[:, None], 4, axis=1) if cells else soft
    hard = hardened(dataclasses.replace(data, labels=labels))
    np.testing.assert_array_equal(hard.labels, data.labels)
    np.testing.assert_array_equal(hard.images, data.images)
    found = controls(dataclasses.replace(data, labels=labels), digits)
    assert list(found) == ["hard_labels", "random_real", "mix"]
    assert controls(data, None) == {}


def test_real_images_have_no_controls(digits):
    with pytest.raises(ValueError, match=r"Expected a DistilledSet; for real images pass build=. Received: ImageSet"):
        evaluate(digits, digits)


@pytest.mark.same_on_every_backend
def test_classes_of_different_numbers_have_controls_of_the_same(digits):
    data = kt.data.mix(digits, 3, 2)
    counts = np.array([3, 1, 2, 3, 3, 1, 2, 3, 3, 0])
    chosen = np.concatenate([np.flatnonzero(data.labels == label)[:count] for label, count in enumerate(counts)])
    unequal = dataclasses.replace(data, images=data.images[chosen], labels=data.labels[chosen])
    beside = controls(unequal, digits)
    assert list(beside) == ["random_real", "mix"]
    for control in beside.values():
        np.testing.assert_array_equal(np.bincount(control.labels, minlength=10), counts)
        real = {
            image.tobytes() for image in (kt.data.random_real(digits, 3, 0) if control.factor == 1 else data).images
        }
        assert all(image.tobytes() in real for image in control.images)
