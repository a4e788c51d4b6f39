"""Digits that a computation keeps, on this backend."""

import keras
import numpy as np
import pytest
from keras import ops

from kerasticket.backend.precision import at_least_float32, double_precision


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_low_precision_becomes_float32_with_the_same_values(dtype):
    given = ops.cast(ops.convert_to_tensor(np.array([1 / 3, -2.5, 0], "float32")), dtype)
    found = at_least_float32(given)
    assert keras.backend.standardize_dtype(found.dtype) == "float32"
    np.testing.assert_array_equal(ops.convert_to_numpy(found), ops.convert_to_numpy(ops.cast(given, "float32")))
    assert (found is given) == (dtype == "float32")


def smallest_step() -> float:
    """What is left of 1e-12 beside 1, by an operation whose result Keras gives a dtype."""
    ones = ops.convert_to_tensor(np.ones(2), dtype="float64")
    return float(ops.convert_to_numpy(ops.mean(ops.multiply(ones, 1.0) + 1e-12 * ones, axis=0))) - 1


@pytest.mark.filterwarnings("ignore:Explicitly requested dtype")  # of JAX, afterwards
def test_float64_is_kept_while_it_is_open():
    with double_precision():
        assert smallest_step() == pytest.approx(1e-12, rel=1e-3)
        with double_precision():
            pass
        assert smallest_step() == pytest.approx(1e-12, rel=1e-3)
    if keras.backend.backend() != "tensorflow":
        assert smallest_step() == 0
