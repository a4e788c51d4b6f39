"""What a set is measured against: as many images of each class, in the same form and space."""

import dataclasses

import numpy as np
import pytest

import kerasticket as kt
from kerasticket.distillation.controls import controls, hardened, label_robust_score, thinned

pytestmark = pytest.mark.same_on_every_backend
COUNTS = [1, 3, *[2] * 8]


@pytest.fixture(scope="module")
def digits():
    return kt.data.load("digits", images_per_class=12, image_size=8)


def test_images_are_thinned_to_the_counts_of_each_class(digits):
    few = thinned(digits, np.array(COUNTS))
    assert np.bincount(few.labels).tolist() == COUNTS
    real = {(image.tobytes(), label) for image, label in zip(digits.images, digits.labels, strict=True)}
    assert {(image.tobytes(), label) for image, label in zip(few.images, few.labels, strict=True)} <= real
    assert thinned(few, np.array(COUNTS)) is few


def test_controls_are_as_many_as_the_set_has_and_of_its_factor(digits):
    plain = thinned(kt.data.random_real(digits, 3, seed=7), np.array(COUNTS))
    found = controls(plain, digits)
    assert list(found) == ["random_real"]
    assert np.bincount(found["random_real"].labels).tolist() == COUNTS
    found = controls(dataclasses.replace(plain, factor=2), digits)
    assert list(found) == ["random_real", "mix"]
    assert (found["mix"].factor, np.bincount(found["mix"].labels).tolist()) == (2, COUNTS)
    assert controls(plain, None) == {}


def test_controls_of_whitened_sets_are_whitened(digits):
    zca = kt.data.ZCA.fit(digits)
    found = controls(zca.whiten(digits.subset(2, 0)), digits, zca)
    assert list(found) == ["random_real"]
    assert found["random_real"].space == "zca"
    assert np.bincount(found["random_real"].labels).tolist() == [2] * 10


def test_soft_labels_are_measured_against_hard_ones(digits):
    soft = np.full((10, 10), 0.05, np.float32) + 0.5 * np.eye(10, dtype=np.float32)[::-1]
    data = dataclasses.replace(kt.data.random_real(digits, 1), labels=soft)
    assert hardened(data).labels.tolist() == list(range(9, -1, -1))
    found = controls(data, None)
    assert list(found) == ["hard_labels"]
    np.testing.assert_array_equal(found["hard_labels"].images, data.images)


@pytest.mark.parametrize("name", ["full", "hard", "distilled", "random", "weight"])
def test_scores_take_shares_and_no_percents(name):
    values = {"full": 0.9, "hard": 0.7, "distilled": 0.8, "random": 0.5, "weight": 0.5}
    with pytest.raises(ValueError, match=rf"Expected {name} in \[0, 1\]. Received: {name}=90"):
        label_robust_score(**(values | {name: 90}))


def test_the_score_rises_with_the_set_from_0_to_1():
    assert label_robust_score(full=1, hard=0, distilled=0, random=0, weight=0) == pytest.approx(0)
    assert label_robust_score(full=1, hard=1, distilled=1, random=0, weight=1) == pytest.approx(1)
    better, worse = (label_robust_score(full=0.9, hard=0.7, distilled=accuracy, random=0.5) for accuracy in (0.8, 0.6))
    assert better > worse
