"""Masks against each other, against chance and against other allocations; by hand, by simulation, by scipy."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from kerasticket import masks
from kerasticket.analysis.mask_statistics import Overlap, layer_sparsity, layer_sparsity_difference, mask_overlap
from kerasticket.masks import dead_units


def mask_of(**layers: str) -> dict:
    """Masks written as "1100", each a kernel of one row."""
    return {f"{name}/kernel": np.array([[digit == "1" for digit in digits]]) for name, digits in layers.items()}


def random_mask(rng, sizes: dict, kept: dict) -> dict:
    """A mask that keeps an exact number of weights in each layer, anywhere."""
    return {path: rng.permutation(np.arange(size) < kept[path]) for path, size in sizes.items()}


def test_overlap_by_hand():
    """x: a keeps 3 of 6, b keeps 2, both 1. y: a keeps 3 of 4, b keeps 1, both 1."""
    overlap = mask_overlap(mask_of(x="111000", y="1110"), mask_of(x="001100", y="1000"))
    x, y = overlap.layers["x/kernel"], overlap.layers["y/kernel"]
    assert (x.size, x.kept_a, x.kept_b, x.both) == (6, 3, 2, 1)
    assert (x.iou, x.share_of_a, x.share_of_b, x.expected) == pytest.approx((1 / 4, 1 / 3, 1 / 2, 1))
    assert (x.phi, x.z, x.expected_iou) == pytest.approx((0, 0, 1 / 4))
    assert x.variance == pytest.approx(6 * (1 / 2 * 1 / 2) * (1 / 3 * 2 / 3) * 6 / 5)
    assert (y.expected, y.variance) == pytest.approx((3 / 4, 4 * (3 / 4 * 1 / 4) * (1 / 4 * 3 / 4) * 4 / 3))
    assert y.phi == pytest.approx((1 / 4 - 3 / 4 * 1 / 4) / math.sqrt(3 / 4 * 1 / 4 * 1 / 4 * 3 / 4))
    assert overlap.overall == Overlap(10, 6, 3, 2)
    assert (overlap.iou, overlap.overall.share_of_a, overlap.overall.share_of_b) == pytest.approx((2 / 7, 2 / 6, 2 / 3))
    assert overlap.expected == pytest.approx(1 + 3 / 4)
    assert overlap.expected_iou == pytest.approx(1.75 / (9 - 1.75))
    assert overlap.z == pytest.approx((0 + 1 / 4) / math.sqrt(x.variance + y.variance))
    assert overlap.phi_std == pytest.approx(overlap.phi / overlap.z)
    assert overlap.phi == pytest.approx((1 / 4) / (6 * math.sqrt(1 / 4 * 2 / 9) + 4 * 3 / 16))


@settings(max_examples=200, deadline=None)
@given(st.integers(2, 500).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(0, n))))
def test_chance_is_hypergeometric(counts):
    size, kept_a, kept_b = counts
    chance = stats.hypergeom(size, kept_a, kept_b)
    overlap = Overlap(size, kept_a, kept_b, 0)
    with np.errstate(all="ignore"):  # scipy works out the kurtosis too
        mean, variance = chance.mean(), chance.var()
    assert (overlap.expected, overlap.variance) == pytest.approx((mean, variance))


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 60), st.floats(0.1, 0.9), st.floats(0.1, 0.9))
def test_phi_is_the_correlation_and_z_follows_from_counts(seed, size, density_a, density_b):
    rng = np.random.default_rng(seed)
    a, b = ({"k": rng.random((size, 2)) < density} for density in (density_a, density_b))
    layer, back = mask_overlap(a, b).layers["k"], mask_overlap(b, a).layers["k"]
    other = mask_overlap(a, {"k": ~b["k"]}).layers["k"]
    if layer.variance == 0:
        assert math.isnan(layer.phi)
        assert math.isnan(layer.z)
        return
    assert layer.phi == pytest.approx(np.corrcoef(a["k"].ravel(), b["k"].ravel())[0, 1])
    assert layer.z == pytest.approx((layer.both - layer.expected) / math.sqrt(layer.variance))
    assert layer.phi_std == pytest.approx(1 / math.sqrt(layer.size - 1))
    assert (back.phi, back.z, back.iou, back.share_of_a) == (layer.phi, layer.z, layer.iou, layer.share_of_b)
    assert other.phi == pytest.approx(-layer.phi)


def test_z_of_independent_masks_is_standard_normal():
    """Over 3,000 pairs; layers as one would call these masks alike, as both are sparse in the same layer."""
    rng = np.random.default_rng(0)
    sizes = {"wide": 600, "narrow": 200, "whole": 50}
    kept = {"wide": 60, "narrow": 150, "whole": 50}
    pairs = [mask_overlap(random_mask(rng, sizes, kept), random_mask(rng, sizes, kept)) for _ in range(3000)]
    for values in ([pair.z for pair in pairs], [pair.layers["wide"].z for pair in pairs]):
        assert abs(np.mean(values)) < 4 / math.sqrt(3000)
        assert np.std(values) == pytest.approx(1, abs=4 / math.sqrt(2 * 3000))
        assert np.mean(np.abs(values) > 1.96) == pytest.approx(0.05, abs=0.02)
    assert np.mean([pair.both for pair in (each.overall for each in pairs)]) == pytest.approx(
        pairs[0].expected, rel=0.01
    )
    assert min(pair.overall.z for pair in pairs) > 10


@settings(max_examples=30, deadline=None, derandomize=True)  # a check of moments must not fail by chance
@given(
    st.integers(0, 10**6),
    st.lists(st.tuples(st.integers(20, 200), st.floats(0.1, 0.9), st.floats(0.1, 0.9)), min_size=1, max_size=4),
)
def test_z_has_mean_zero_and_variance_one_whatever_the_densities(seed, layers):
    """Shuffling one mask within its layers: the mean over shuffles of z, and of its square."""
    rng = np.random.default_rng(seed)
    sizes = {str(i): size for i, (size, _, _) in enumerate(layers)}
    a, b = (
        random_mask(rng, sizes, {str(i): int(layer[0] * layer[side]) for i, layer in enumerate(layers)})
        for side in (1, 2)
    )
    z = np.array([mask_overlap(a, {path: rng.permutation(b[path]) for path in b}).z for _ in range(400)])
    assert abs(z.mean()) < 5 / math.sqrt(400)
    assert (z**2).mean() == pytest.approx(1, abs=0.5)


def test_equal_and_complementary_masks():
    a = mask_of(x="110100", y="10")
    same = mask_overlap(a, a)
    assert (same.iou, same.phi, same.overall.share_of_a) == (1, 1, 1)
    assert [layer.phi for layer in same.layers.values()] == [1, 1]
    opposite = mask_overlap(a, {path: ~array for path, array in a.items()})
    assert (opposite.iou, opposite.phi, opposite.layers["x/kernel"].phi) == (0, -1, -1)


def test_layers_that_leave_nothing_to_chance_have_no_z():
    """All kept, all pruned, one weight: NaN without a warning, and no part in the pooled numbers."""
    a = mask_of(all="1111", none="0000", one="1", x="110000")
    b = mask_of(all="1100", none="0000", one="1", x="101000")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        overlap = mask_overlap(a, b)
        for name in ("all", "none", "one"):
            layer = overlap.layers[f"{name}/kernel"]
            assert math.isnan(layer.z)
            assert math.isnan(layer.phi)
            assert layer.variance == 0
        empty = overlap.layers["none/kernel"]
        assert all(math.isnan(v) for v in (empty.iou, empty.share_of_a, empty.share_of_b, empty.expected_iou))
        x = overlap.layers["x/kernel"]
        assert (overlap.z, overlap.phi) == pytest.approx((x.z, x.phi))
        nothing = mask_overlap(mask_of(all="11"), mask_of(all="11"))
        assert math.isnan(nothing.z)
        assert math.isnan(nothing.phi)
        assert math.isnan(nothing.phi_std)
        assert nothing.iou == 1


def test_within_a_common_mask_only_what_it_keeps_counts():
    """Two masks drawn from a sparser one are independent there, and far from it over all weights."""
    rng = np.random.default_rng(1)
    within = {"k": rng.random(4000) < 0.2, "gone": np.zeros(5, bool)}
    a, b = ({path: array & (rng.random(array.size) < 0.5) for path, array in within.items()} for _ in range(2))
    inner = mask_overlap(a, b, within=within)
    assert inner.layers["k"] == mask_overlap({"k": a["k"][within["k"]]}, {"k": b["k"][within["k"]]}).layers["k"]
    assert math.isnan(inner.layers["gone"].z)
    assert abs(inner.z) < 4 < 20 < mask_overlap(a, b).z
    with pytest.raises(ValueError, match="nested in `within`"):
        mask_overlap(within, b, within=a)


@pytest.mark.parametrize(
    ("b", "message"),
    [
        (mask_of(x="11"), r"only in `a`: \['y/kernel'\]"),
        (mask_of(x="11", y="11", z="1"), r"only in `b`: \['z/kernel'\]"),
        (mask_of(x="11", y="111"), r"shapes \(1, 2\) and \(1, 3\) at 'y/kernel'"),
        ({path: array.astype(int) for path, array in mask_of(x="11", y="11").items()}, "`b` as boolean.*int64"),
        ({}, "`b` as boolean arrays by path, at least one"),
    ],
)
@pytest.mark.parametrize("function", [mask_overlap, layer_sparsity_difference])
def test_masks_of_different_models_are_refused(function, b, message):
    with pytest.raises(ValueError, match=message):
        function(mask_of(x="11", y="10"), b)


def test_layer_sparsity_beside_uniform_and_erk():
    """24 of 110 weights; sides 20 and 11 share them as 24 / 31 each, of which 8.5 fit into 10."""
    mask = {"wide": np.arange(100).reshape(10, 10) < 22, "narrow": np.arange(10).reshape(10, 1) < 2}
    layers = layer_sparsity(mask)
    assert (layers["wide"].size, layers["wide"].kept, layers["wide"].sparsity) == (100, 22, pytest.approx(0.78))
    assert layers["wide"].uniform == layers["narrow"].uniform == pytest.approx(24 / 110)
    assert layers["wide"].erk == pytest.approx(20 * 24 / 31 / 100)
    assert layers["narrow"].erk == pytest.approx(11 * 24 / 31 / 10)
    for allocation in ("density", "erk", "uniform"):
        assert sum(getattr(layer, allocation) * layer.size for layer in layers.values()) == pytest.approx(
            masks.kept(mask)
        )


def test_difference_of_layer_sparsities_by_hand():
    """.25 in the layer of 4, -.5 in that of 2: (1 + 1) of 6 weights."""
    a, b = mask_of(x="1100", y="11"), mask_of(x="1110", y="10")
    difference = layer_sparsity_difference(a, b)
    assert difference.layers == pytest.approx({"x/kernel": 0.25, "y/kernel": -0.5})
    assert (difference.mean, difference.largest) == pytest.approx((2 / 6, 0.5))


def test_dead_units_by_hand():
    kernel = np.zeros((3, 3, 2, 3), bool)
    kernel[0, 1, 0, 0] = kernel[2, 2, 0, 2] = True
    units = dead_units({"conv/kernel": kernel, "dense/kernel": np.eye(3, 2, dtype=bool), "scale": np.zeros(4, bool)})
    assert list(units) == ["conv/kernel", "dense/kernel"]
    assert units["conv/kernel"].outputs.tolist() == [False, True, False]
    assert units["conv/kernel"].inputs.tolist() == [False, True]
    assert units["dense/kernel"].outputs.tolist() == [False, False]
    assert units["dense/kernel"].inputs.tolist() == [False, False, True]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 4), min_size=2, max_size=5), st.integers(0, 10**6), st.floats(0, 1))
def test_dead_units_are_those_without_a_kept_weight(shape, seed, density):
    mask = np.random.default_rng(seed).random(shape) < density
    units = dead_units({"k": mask})["k"]
    assert units.outputs.tolist() == [not mask[..., index].any() for index in range(shape[-1])]
    assert units.inputs.tolist() == [not mask[..., index, :].any() for index in range(shape[-2])]


def test_masks_that_are_not_boolean_have_no_dead_units():
    with pytest.raises(ValueError, match="`mask` as boolean.*float64"):
        dead_units({"k": np.ones((2, 2))})
