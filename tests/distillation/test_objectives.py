"""Distances between what is compared, by hand; their derivatives are tested with the method."""

import numpy as np
import pytest
from keras import ops

from kerasticket.distillation.objectives import DISTANCES, cosine


@pytest.mark.parametrize("name", DISTANCES)
def test_a_distance_is_zero_of_equals_alone(name):
    one, other = np.random.default_rng(0).normal(size=(2, 3, 3, 2, 4)).astype("float32")
    distances = [float(DISTANCES[name](*map(ops.convert_to_tensor, pair))) for pair in ((one, one), (one, other))]
    assert distances[0] == pytest.approx(0, abs=1e-5)
    assert distances[1] > 0.5


def test_squared_and_absolute_distances_by_hand():
    real, synthetic = np.array([[1.0, 2.0], [0.0, 2.0]]), np.array([[0.0, 5.0], [3.0, 2.0]])
    for name, expected in (("mse", 19), ("l1", 7)):
        assert float(DISTANCES[name](ops.convert_to_tensor(real), ops.convert_to_tensor(synthetic))) == expected


def test_the_cosine_distance_by_hand():
    """Two output units: gradients at right angles count 1, parallel ones 0, whatever their lengths."""
    real, synthetic = np.array([[1.0, 2.0], [0.0, 2.0]]), np.array([[0.0, 5.0], [3.0, 5.0]])
    assert float(cosine(ops.convert_to_tensor(real), ops.convert_to_tensor(synthetic))) == pytest.approx(1, abs=1e-5)
