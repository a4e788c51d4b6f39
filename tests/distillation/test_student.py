"""A student's steps on a loss whose every step is known: where it ends, and both derivatives, in closed form."""

import numpy as np
import pytest
from keras import ops

from kerasticket.distillation.student import FORMS, Student, distance

START, TARGET, IMAGES = np.array([1.0, -2.0, 0.5]), np.array([0.0, 1.0, 2.0]), np.array([3.0, 0.0, -1.0])
RATE, STEPS = 0.2, 4


def half_square(weights, images, batch):
    """Its gradient is batch (w - images)."""
    return batch * ops.sum(ops.square(weights[0] - images)) / 2


def tensors(*arrays):
    return [ops.convert_to_tensor(array.astype("float32")) for array in arrays]


def matched(form: str, batches) -> tuple[float, np.ndarray, float]:
    start, target, images = tensors(START, TARGET, IMAGES)
    scales = [ops.convert_to_tensor(np.float32(batch)) for batch in batches]
    rate = ops.convert_to_tensor(np.float32(RATE))
    value, in_images, in_rate = Student(half_square, form).match([start], [target], images, rate, scales)
    return float(value), ops.convert_to_numpy(in_images), float(in_rate)


def ends() -> list[np.ndarray]:
    """w_i = (1 - rate)^i start + (1 - (1 - rate)^i) images."""
    left = [(1 - RATE) ** i for i in range(STEPS + 1)]
    return [share * START + (1 - share) * IMAGES for share in left]


LENGTH = np.sum((START - TARGET) ** 2)
SLOPE = 2 * (ends()[-1] - TARGET) / LENGTH  # of the distance in the end


def test_the_whole_chain_is_differentiated():
    value, in_images, in_rate = matched("unrolled", [1] * STEPS)
    assert value == pytest.approx(np.sum((ends()[-1] - TARGET) ** 2) / LENGTH, rel=1e-5)
    np.testing.assert_allclose(in_images, SLOPE * (1 - (1 - RATE) ** STEPS), rtol=1e-4)
    assert in_rate == pytest.approx(np.sum(SLOPE * STEPS * (1 - RATE) ** (STEPS - 1) * (IMAGES - START)), rel=1e-4)


def test_constant_memory_leaves_out_what_a_step_does_to_later_ones():
    value, in_images, in_rate = matched("constant-memory", [1] * STEPS)
    assert value == pytest.approx(matched("unrolled", [1] * STEPS)[0], rel=1e-6)
    np.testing.assert_allclose(in_images, SLOPE * STEPS * RATE, rtol=1e-4)
    total = sum(end - IMAGES for end in ends()[:-1])
    closed = 2 * np.sum(total * (RATE * total + TARGET - START)) / LENGTH  # as its paper has it
    assert in_rate == pytest.approx(closed, rel=1e-4)


@pytest.mark.parametrize("form", FORMS)
def test_each_step_has_its_batch_and_no_steps_change_nothing(form):
    value, in_images, in_rate = matched(form, [0, 1, 0])
    once = matched(form, [1])
    assert (value, in_rate) == pytest.approx((once[0], once[2]), rel=1e-4)
    np.testing.assert_allclose(in_images, once[1], rtol=1e-4)
    assert matched(form, [])[0] == pytest.approx(1)


def test_the_distance_is_over_all_weights_together():
    start, target, other = tensors(START, TARGET, IMAGES)
    found = float(distance([other, start], [start, other], [target, target]))
    expected = np.sum((IMAGES - TARGET) ** 2) + np.sum((START - TARGET) ** 2)
    assert found == pytest.approx(1)
    assert float(distance([other, other], [start, other], [target, target])) == pytest.approx(
        2 * np.sum((IMAGES - TARGET) ** 2) / expected, rel=1e-5
    )
