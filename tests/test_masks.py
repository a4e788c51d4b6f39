"""Exact counts, ties by position, nesting: the arithmetic on masks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasticket import masks

pytestmark = pytest.mark.same_on_every_backend

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


def test_erdos_renyi_kernel_by_hand():
    """Factors of size: 22 = e (20 + 11), so the 100 weights keep 20 e and the 10 keep 11 e."""
    densities = masks.erdos_renyi_kernel({"a": (10, 10), "b": (10, 1)}, 0.2)
    assert densities == pytest.approx({"a": 20 / 100 * 22 / 31, "b": 11 / 10 * 22 / 31})


def test_all_sides_of_a_kernel_count():
    """3 + 3 + 2 + 4 = 12 of 72, and 1 + 1 + 2 + 4 = 8 of 8: the 3x3 window makes its kernel sparser."""
    densities = masks.erdos_renyi_kernel({"three": (3, 3, 2, 4), "one": (1, 1, 2, 4)}, 0.2)
    assert densities == pytest.approx({"three": 12 / 72 * 16 / 20, "one": 8 / 8 * 16 / 20})


def test_a_layer_that_would_exceed_one_is_kept_whole_and_the_others_share_the_rest():
    """At half of 110, 11 e = 19.5 of 10 weights: they are kept, and 45 are left for the 100."""
    assert masks.erdos_renyi_kernel({"a": (10, 10), "b": (10, 1)}, 0.5) == pytest.approx({"a": 0.45, "b": 1})


def test_a_second_layer_may_exceed_one_once_the_first_is_whole():
    """Sides 3 + 5 + 20, budget 32.4 of 108: 3.5 of 2, but 5.8 of 6. With 2 kept, 30.4 / 5 = 6.1 of 6; 24.4 stay."""
    shapes = {"first": (1, 2), "second": (2, 3), "wide": (10, 10)}
    assert masks.erdos_renyi_kernel(shapes, 0.3) == pytest.approx({"first": 1, "second": 1, "wide": 0.244})


def by_water_level(shapes: dict, density: float) -> dict:
    """The same allocation another way: the level at which min(1, level x factor) keeps the budget, by bisection."""
    sizes = {path: np.prod(shape) for path, shape in shapes.items()}
    factors = {path: sum(shape) / sizes[path] for path, shape in shapes.items()}
    low, high = 0.0, 1 / min(factors.values())
    for _ in range(200):
        level = (low + high) / 2
        kept = sum(min(1, level * factors[path]) * sizes[path] for path in shapes)
        low, high = (level, high) if kept < density * sum(sizes.values()) else (low, level)
    return {path: min(1, high * factors[path]) for path in shapes}


SHAPES = st.lists(st.lists(st.integers(1, 12), min_size=1, max_size=4).map(tuple), min_size=1, max_size=6).map(
    lambda shapes: {f"layer_{i}/kernel": shape for i, shape in enumerate(shapes)}
)


@settings(max_examples=200, deadline=None)
@given(SHAPES, st.floats(0, 1))
def test_erdos_renyi_kernel_keeps_the_budget_and_equals_a_water_level(shapes, density):
    densities = masks.erdos_renyi_kernel(shapes, density)
    sizes = {path: np.prod(shape) for path, shape in shapes.items()}
    kept = sum(densities[path] * sizes[path] for path in shapes)
    assert kept == pytest.approx(density * sum(sizes.values()), abs=1e-9)
    assert list(densities) == list(shapes)
    assert all(0 <= value <= 1 for value in densities.values())
    assert densities == pytest.approx(by_water_level(shapes, density), abs=1e-9)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(*[st.integers(1, 8)] * 3), min_size=1, max_size=5), st.integers(2, 5), st.floats(0, 1))
def test_erdos_renyi_kernel_is_that_of_a_net_scaled_on_all_sides(shapes, factor, density):
    small = masks.erdos_renyi_kernel(dict(enumerate(shapes)), density)
    large = masks.erdos_renyi_kernel(
        {i: tuple(factor * side for side in shape) for i, shape in enumerate(shapes)}, density
    )
    assert large == pytest.approx(small, abs=1e-9)


@pytest.mark.parametrize("shapes", [{"a": (4, 5)}, {"a": (3, 3, 2, 4), "b": (7, 1), "c": (1, 1, 5, 5)}])
def test_a_density_of_one_keeps_all_and_of_zero_nothing(shapes):
    assert masks.erdos_renyi_kernel(shapes, 1) == pytest.approx(dict.fromkeys(shapes, 1))
    assert masks.erdos_renyi_kernel(shapes, 0) == dict.fromkeys(shapes, 0)


@pytest.mark.parametrize(
    ("shapes", "density", "message"),
    [
        ({"a": (2, 2)}, 1.5, "density=1.5"),
        ({"a": (2, 2)}, -0.1, "density=-0.1"),
        ({"a": (2, 2)}, float("nan"), "density=nan"),
        ({}, 0.5, "at least one kernel"),
        ({"a": (2, 2), "b": ()}, 0.5, "at least one kernel"),
        ({"a": (2, 0)}, 0.5, "all sides 1 or more"),
    ],
)
def test_allocations_without_sense_are_refused(shapes, density, message):
    with pytest.raises(ValueError, match=message):
        masks.erdos_renyi_kernel(shapes, density)
