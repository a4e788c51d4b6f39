"""What distillations begin with, and the augmentations that real and synthetic images can share."""

import numpy as np
import pytest

import kerasticket as kt
from kerasticket.data import Augmentation
from kerasticket.distillation.initialization import INITIALIZATIONS, check_matching, starting_images

pytestmark = pytest.mark.same_on_every_backend


@pytest.fixture(scope="module")
def digits():
    return kt.data.load("digits", images_per_class=12)


@pytest.mark.parametrize("initialization", INITIALIZATIONS)
def test_each_has_as_many_images_of_each_class_and_says_its_name(initialization, digits):
    start = starting_images(digits, 2, 0, initialization=initialization, factor=2)
    assert start.labels.tolist() == [label for label in range(10) for _ in range(2)]
    assert start.factor == 2
    assert start.method == {"random": "random_real"}.get(initialization, initialization)


def test_random_images_are_real_and_noise_is_of_no_image(digits):
    real = digits.to_float()
    chosen = starting_images(digits, 2, 3, initialization="random").images
    assert all((real == image).all((1, 2, 3)).any() for image in chosen)
    noise = starting_images(digits, 5, 3, initialization="noise").images
    assert noise.mean() == pytest.approx(0.5, abs=0.01)
    assert noise.std() == pytest.approx(0.24, abs=0.01)  # .25, but for what is cut off
    assert (noise.min(), noise.max()) == (0, 1)
    again, other = (starting_images(digits, 5, seed, initialization="noise").images for seed in (3, 4))
    np.testing.assert_array_equal(noise, again)
    assert (noise != other).any()


def test_mixed_images_are_the_first_ones_shrunk(digits):
    start = starting_images(digits, 1, 0, initialization="mix", factor=2, resize="area")
    first = digits.to_float()[digits.labels == 0][0, ..., 0]
    shrunk = first.reshape(8, 2, 8, 2).mean((1, 3))
    np.testing.assert_allclose(start.images[0, :8, :8, 0], shrunk, atol=1e-6)
    np.testing.assert_array_equal(start.images, starting_images(digits, 1, 9, factor=2, resize="area").images)


def test_an_unknown_one_is_refused(digits):
    with pytest.raises(
        ValueError, match=r"to be one of \['mix', 'noise', 'random'\]. Received: initialization='zeros'"
    ):
        starting_images(digits, 1, 0, initialization="zeros")


def test_only_what_acts_on_normalized_images_alike_is_shared():
    check_matching(Augmentation(flip=True, color=True, one_of=("crop",), cutout=True, siamese=True))
    check_matching(Augmentation(color=True), siamese=False)
    with pytest.raises(ValueError, match="one draw for real and synthetic images: pass siamese=True"):
        check_matching(Augmentation(color=True))
    for left_out in ({"cutmix": 0.5}, {"jitter": 0.1}, {"lighting": 0.1}):
        with pytest.raises(ValueError, match="operations on normalized images. Received: Augmentation"):
            check_matching(Augmentation(siamese=True, **left_out))
