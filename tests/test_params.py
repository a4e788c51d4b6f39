"""Arithmetic on params: equal bits, what differs, and sums that keep each array's dtype."""

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from kerasticket.params import combine, differing, dot, interpolate, is_float, is_kernel, mismatch, norm, same_bits

pytestmark = pytest.mark.same_on_every_backend
FINITE = st.floats(-1e3, 1e3)


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        (np.array([np.nan]), np.array([np.nan]), True),
        (np.array([0.0]), np.array([-0.0]), False),
        (np.zeros(2, "float32"), np.zeros(2, "int32"), False),
        (np.zeros((2, 1)), np.zeros((1, 2)), False),
        (np.arange(6).reshape(2, 3), np.arange(6).reshape(3, 2).T[:, :].copy(order="F"), False),
        (np.eye(3)[:, :2], np.asfortranarray(np.eye(3)[:, :2]), True),  # the order in memory is no difference
    ],
)
def test_the_same_bits(a, b, same):
    assert same_bits(a, b) is same


def test_what_differs_is_named_in_the_order_of_the_first_then_the_second():
    a = {"x": np.zeros(1), "y": np.ones(1), "only_a": np.zeros(1)}
    b = {"only_b": np.zeros(1), "y": np.full(1, 1 + 2**-52), "x": np.zeros(1)}
    assert differing(a, b) == ["y", "only_a", "only_b"]


def test_mismatch_names_paths_first_and_shapes_then():
    kernel = {"a/kernel": np.zeros((2, 3))}
    assert mismatch(kernel, {"a/kernel": np.ones((2, 3))}, "the ticket") is None
    said = mismatch({"a/kernel": np.zeros((3, 2))}, kernel, "the ticket")
    assert said == "the ticket has shape (3, 2) at 'a/kernel', the model (2, 3)."
    many = {f"b{i}": np.zeros(1) for i in range(6)}
    said = mismatch(many, {}, "the file")
    assert said == (
        "the file has paths that the model lacks: 'b0', 'b1', 'b2', 'b3' and 2 more; "
        "the model has paths that the file lacks: none."
    )


@given(st.floats(0, 1), *2 * [arrays.arrays("float64", 3, elements=FINITE)])
def test_interpolation_lies_between_its_ends_and_reaches_both(alpha, a, b):
    found = interpolate({"w": a}, {"w": b}, alpha)["w"]
    slack = 1e-9
    assert np.all(found >= np.minimum(a, b) - slack)
    assert np.all(found <= np.maximum(a, b) + slack)
    assert same_bits(interpolate({"w": a}, {"w": b}, 0)["w"], a)
    assert same_bits(interpolate({"w": a}, {"w": b}, 1)["w"], b)


def test_sums_keep_dtypes_and_whole_numbers_are_the_first_nets():
    bfloat16 = ml_dtypes.bfloat16
    a = {"w": np.array([1, 2], "float32"), "half": np.array([3], bfloat16), "count": np.array([7])}
    b = {"w": np.array([10, 20], "float32"), "half": np.array([5], bfloat16), "count": np.array([9])}
    found = combine([a, b], [2, -0.5])
    assert found["w"].dtype == "float32"
    assert found["w"].tolist() == [-3, -6]
    assert found["half"].dtype == bfloat16
    assert float(found["half"][0]) == 3.5
    assert found["count"].tolist() == [7]
    with pytest.raises(ValueError, match="zip"):
        combine([a, b], [1])


def test_lengths_are_summed_in_double_precision_over_floating_arrays():
    a = {"w": np.full(10**5, 0.1, "float32"), "half": np.array([2], ml_dtypes.bfloat16), "count": np.array([10**6])}
    expected = 10**5 * float(np.float32(0.1)) ** 2 + 4
    assert dot(a, a) == pytest.approx(expected, rel=1e-12)
    assert norm(a) == pytest.approx(expected**0.5, rel=1e-12)


def test_kernels_have_two_axes_and_are_no_biases():
    assert is_kernel("a/kernel", np.zeros((1, 1)))
    assert is_kernel("bias/kernel", np.zeros((1, 1)))
    assert not any(is_kernel(f"a/{name}", np.zeros((2, 2))) for name in ("bias", "beta", "gamma"))
    assert not is_kernel("a/kernel", np.zeros(3))
    assert [is_float(np.zeros(1, kind)) for kind in ("float16", ml_dtypes.bfloat16, "int8", "bool")] == [1, 1, 0, 0]
