"""DM where the answer is known: images whose features have the real means stay, and a state goes on as it was."""

import dataclasses

import numpy as np
import pytest

import kerasticket as kt
from kerasticket.distillation.distribution import DistributionMatching, _Matcher

pytestmark = [pytest.mark.same_on_every_backend, pytest.mark.usefixtures("plain_operations")]
SMALL = DistributionMatching(iterations=3, real_batch=3, width=4)


@pytest.fixture(scope="module")
def digits():
    return kt.data.load("digits", images_per_class=3, image_size=8)


def test_all_real_images_match_themselves_and_do_not_move(digits):
    every = kt.data.random_real(digits, 3).images
    matcher = _Matcher(SMALL, digits, every.copy(), ipc=3, seed=0)
    assert matcher.step(0) == pytest.approx(0, abs=1e-6)
    np.testing.assert_allclose(matcher.images, every, atol=1e-4)
    moved = _Matcher(SMALL, digits, 1 - every, ipc=3, seed=0)
    assert moved.step(0) > 0.01
    assert abs(moved.images - (1 - every)).max() > 1e-3
    assert 0 <= moved.images.min() <= moved.images.max() <= 1


def test_a_state_goes_on_as_it_was(digits):
    start = SMALL.start(digits, 1, 0).images
    one, other = (_Matcher(SMALL, digits, start.copy(), ipc=1, seed=5) for _ in range(2))
    one.step(0)
    other.restore({name: array.copy() for name, array in one.state().items()})
    assert one.step(1) == other.step(1)
    np.testing.assert_array_equal(one.images, other.images)
    np.testing.assert_array_equal(one.velocity, other.velocity)


def test_the_smallest_class_sets_the_number_of_real_images(digits):
    few = dataclasses.replace(digits, images=digits.images[1:], labels=digits.labels[1:])
    matcher = _Matcher(dataclasses.replace(SMALL, real_batch=256), few, SMALL.start(digits, 1, 0).images, 1, 0)
    assert matcher.count == 2


def test_networks_with_moving_statistics_are_refused(digits):
    method = dataclasses.replace(SMALL, model="resnet10")
    with pytest.raises(ValueError, match="without moving statistics, such as 'convnet'. Received: model='resnet10'"):
        method.distill(digits, ipc=1, seed=0)
