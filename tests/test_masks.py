"""Exact counts, ties by position, nesting: the arithmetic on masks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasticket import masks

# Pruned weights after rounds 1, 2, ... (protocol of the paper: each round takes 20% of what remains).
ZERO_COUNTS = {
    318_848: [63770, 114786, 155598, 188248, 214368, 235264, 251981, 265354, 276053, 284612, 291459, 296937],
    1_226_080: [245216, 441389, 598327, 723878, 824318, 904670, 968952, 1020378, 1061518, 1094430, 1120760, 1141824],
    2_792_800: [
        558560, 1005408, 1362886, 1648869, 1877655, 2060684, 2207107, 2324246, 2417957, 2492926, 2552901, 2600881,
    ],
}  # fmt: skip


@pytest.mark.parametrize("total", ZERO_COUNTS)
def test_zero_counts_are_those_of_the_paper(total):
    remaining, zeros = total, []
    for _ in range(12):
        remaining -= masks.number_to_prune(remaining, 0.2)
        zeros.append(total - remaining)
    assert zeros == ZERO_COUNTS[total]


def arrays(draw) -> tuple[dict, dict]:
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    shapes = draw(st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5)), min_size=1, max_size=4))
    few_values = draw(st.booleans())  # few distinct values: many ties
    mask = {f"layer_{i}/kernel": rng.random(shape) < 0.7 for i, shape in enumerate(shapes)}
    scores = {
        path: rng.integers(0, 3, array.shape).astype(float) if few_values else rng.normal(size=array.shape)
        for path, array in mask.items()
    }
    return scores, mask


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_keep_top_is_exact_nested_and_keeps_the_best(data):
    scores, mask = arrays(data.draw)
    keep = data.draw(st.integers(0, masks.kept(mask)))
    chosen = masks.keep_top(scores, mask, keep)
    assert masks.kept(chosen) == keep
    assert masks.is_nested(chosen, mask)
    kept = [value for path in mask for value in scores[path][chosen[path]]]
    dropped = [value for path in mask for value in scores[path][mask[path] & ~chosen[path]]]
    assert not kept or not dropped or min(kept) >= max(dropped)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_keep_top_equals_a_stable_sort(data):
    scores, mask = arrays(data.draw)
    keep = data.draw(st.integers(0, masks.kept(mask)))
    flat_mask = np.concatenate([array.ravel() for array in mask.values()])
    flat = np.where(flat_mask, np.concatenate([scores[path].ravel() for path in mask]), -np.inf)
    expected = np.zeros(flat.size, bool)
    expected[np.argsort(-flat, kind="stable")[:keep]] = True
    chosen = masks.keep_top(scores, mask, keep)
    np.testing.assert_array_equal(np.concatenate([chosen[path].ravel() for path in mask]), expected)


def test_of_equal_scores_the_earlier_position_is_kept():
    mask = {"b": np.ones(2, bool), "a": np.ones(2, bool)}
    chosen = masks.keep_top({"a": np.ones(2), "b": np.ones(2)}, mask, 3)
    np.testing.assert_array_equal(chosen["b"], [True, True])
    np.testing.assert_array_equal(chosen["a"], [True, False])


def test_pruned_scores_are_ignored_even_if_nan():
    mask = {"a": np.array([True, False, True])}
    chosen = masks.keep_top({"a": np.array([1.0, np.nan, 2.0])}, mask, 1)
    np.testing.assert_array_equal(chosen["a"], [False, False, True])


@pytest.mark.parametrize(
    ("scores", "keep", "message"),
    [
        ({"a": np.array([np.nan, 1.0])}, 1, "contain NaN"),
        ({"a": np.ones(3)}, 1, "have shape"),
        ({"b": np.ones(2)}, 1, "one array per path"),
        ({"a": np.ones(2)}, 3, "between 0 and the 2"),
    ],
)
def test_bad_scores_are_refused(scores, keep, message):
    with pytest.raises(ValueError, match=message):
        masks.keep_top(scores, {"a": np.ones(2, bool)}, keep)
