"""Allocation: exact counts by hand and as a property, targets by pattern, layers that would be emptied."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasticket import masks
from kerasticket.pruning.allocation import EMPTY_LAYERS, Allocation, match
from kerasticket.pruning.criteria import lamp
from kerasticket.pruning.scopes import EACH_ON_ITS_OWN, SCOPES

SHAPES = {"conv_1/kernel": (3, 3, 2, 4), "hidden/kernel": (12, 8), "logits/kernel": (8, 3)}


def whole() -> masks.Mask:
    return {path: np.ones(shape, bool) for path, shape in SHAPES.items()}


def drawn(seed: int, few_values: bool = False) -> masks.Scores:
    rng = np.random.default_rng(seed)
    scores = {path: rng.random(shape) * (path == "hidden/kernel" or 2) for path, shape in SHAPES.items()}
    return {path: np.round(2 * array) for path, array in scores.items()} if few_values else scores


def counts(mask: masks.Mask) -> list[int]:
    return [int(array.sum()) for array in mask.values()]


@pytest.mark.parametrize("scope", SCOPES)
@given(seed=st.integers(0, 99), few_values=st.booleans(), share=st.floats(0.0, 0.9), first=st.floats(0.0, 0.8))
@settings(max_examples=25, deadline=None)
def test_masks_are_nested_exact_repeatable_and_keep_the_highest(scope, seed, few_values, share, first):
    allocation, scores = Allocation(scope), drawn(seed, few_values)
    before = allocation.by_fraction(None, drawn(seed + 100), whole(), first)
    after = allocation.by_fraction(None, scores, before, share)
    assert masks.is_nested(after, before)
    if scope not in EACH_ON_ITS_OWN:
        assert masks.kept(after) == masks.kept(before) - masks.number_to_prune(masks.kept(before), share)
    assert min(counts(after)) >= 1
    again = allocation.by_fraction(None, scores, before, share)
    assert all(np.array_equal(after[path], again[path]) for path in after)
    if scope != "unit":
        for path, kept in after.items():  # within a layer, nothing that went scores higher than what stayed
            gone = before[path] & ~kept
            assert not gone.any() or scores[path][gone].max() <= scores[path][kept].min()


def test_counts_by_hand():
    """72, 96 and 24 weights, of which a quarter stays: 48."""
    found = {scope: counts(Allocation(scope).by_fraction(None, drawn(0), whole(), 0.75)) for scope in SCOPES}
    assert found["layer"] == [18, 24, 6]
    assert found["uniform"] == [18, 24, 6]
    assert found["unit"] == [4 * 4, 8 * 3, 3 * 2]  # 18 - round(13.5), 12 - 9, 8 - 6
    # ERK: 48 = e (12 + 20 + 11), shares of 12/43, 20/43, 11/43: 13.4, 22.3, 12.3; the largest remainder is the first
    assert found["erk"] == [14, 22, 12]
    assert sum(found["global"]) == 48
    assert found["global"][1] < 24  # its scores are half as large


def test_uniform_evens_out_what_is_uneven():
    uneven = {path: np.arange(mask.size).reshape(mask.shape) < mask.size * share
              for (path, mask), share in zip(whole().items(), (1, 0.5, 0.75), strict=True)}  # fmt: skip
    pruned = Allocation("uniform").by_fraction(None, drawn(0), uneven, 1 - 48 / masks.kept(uneven))
    assert counts(pruned) == [18, 24, 6]


def test_the_lamp_scope_on_magnitudes_is_the_lamp_criterion():
    rng = np.random.default_rng(0)
    params = {path: rng.normal(size=shape) for path, shape in SHAPES.items()}
    by_scope = Allocation("lamp").by_fraction(None, {p: np.abs(a) for p, a in params.items()}, whole(), 0.8)
    by_criterion = Allocation("global").by_fraction(None, lamp(None, params, whole(), None, rng), whole(), 0.8)
    assert all(np.array_equal(by_scope[path], by_criterion[path]) for path in SHAPES)


def test_targets_count_all_weights_and_are_reached_in_any_number_of_steps():
    allocation, mask = Allocation("global"), whole()
    for target in (0.1, 0.5, 0.5, 0.9):
        mask = allocation.to_sparsity(None, drawn(0), mask, target)
        assert masks.kept(mask) == 192 - round(192 * target)


@pytest.mark.parametrize("scope", ["layer", "unit"])
def test_layers_on_their_own_each_reach_the_target_in_any_number_of_steps(scope):
    allocation, mask = Allocation(scope), whole()
    for target in (0.2, 0.4, 0.5):
        mask = allocation.to_sparsity(None, drawn(0), mask, target)
    assert counts(mask) == [36, 48, 12]
    sparser = mask | {"logits/kernel": np.arange(24).reshape(8, 3) < 2}
    with pytest.raises(ValueError, match=r"the sparsity that 'logits/kernel' has, 0\.9167.*target=0\.75"):
        allocation.to_sparsity(None, drawn(0), sparser, 0.75)


def test_ties_go_by_position():
    same = {path: np.zeros(shape) for path, shape in SHAPES.items()}
    assert counts(Allocation("global").by_fraction(None, same, whole(), 0.25)) == [72, 71, 1]  # 72, 72, 0 by position
    kept = Allocation("layer").by_fraction(None, same, whole(), 0.75)
    assert all(array.ravel()[: array.sum()].all() for array in kept.values())


def test_patterns_name_layers_or_paths_and_the_first_counts():
    allocation = Allocation("layer")
    pruned = allocation.to_sparsity(None, drawn(0), whole(), {"conv_*": 0.5, "hidden/kernel": 0.75, "*": 0.0})
    assert counts(pruned) == [36, 24, 24]
    untouched = allocation.to_sparsity(None, drawn(0), whole(), {"hidden": 0.5})
    assert counts(untouched) == [72, 48, 24]


def test_a_pattern_that_matches_nothing_is_refused_with_names_near_it():
    with pytest.raises(ValueError, match=r"'hiden', which matches none. Did you mean 'hidden'"):
        match({"hiden": 0.5}, SHAPES)
    with pytest.raises(ValueError, match="scope='erk' with it.*'layer'"):
        Allocation("erk").to_sparsity(None, drawn(0), whole(), {"hidden": 0.5})


def skewed() -> masks.Scores:
    """Scores under which a global ranking would empty the first and the last layer."""
    return drawn(0) | {path: -1 - drawn(0)[path] for path in ("conv_1/kernel", "logits/kernel")}


def test_a_layer_that_would_be_emptied_keeps_its_best_weight_and_the_total_stays_exact():
    pruned = Allocation("global").to_sparsity(None, skewed(), whole(), 0.9)
    assert counts(pruned) == [1, 17, 1]
    for path in ("conv_1/kernel", "logits/kernel"):
        assert pruned[path].ravel()[np.argmax(skewed()[path])]
    alone = masks.keep_top({"h": skewed()["hidden/kernel"]}, {"h": np.ones((12, 8), bool)}, 17)["h"]
    np.testing.assert_array_equal(pruned["hidden/kernel"], alone)


def test_a_layer_on_its_own_keeps_one_weight_more():
    assert counts(Allocation("layer").by_fraction(None, drawn(0), whole(), 0.99)) == [1, 1, 1]


def test_emptied_layers_are_refused_or_told_by_option():
    with pytest.raises(ValueError, match=r"empties \['conv_1/kernel', 'logits/kernel'\].*empty_layers='keep'"):
        Allocation("global", empty_layers="refuse").to_sparsity(None, skewed(), whole(), 0.9)
    with pytest.warns(UserWarning, match=r"empties the layers \['conv_1/kernel', 'logits/kernel'\]"):
        pruned = Allocation("global", empty_layers="warn").to_sparsity(None, skewed(), whole(), 0.9)
    assert counts(pruned) == [0, 19, 0]


def test_layers_that_are_empty_already_are_let_be():
    mask = whole() | {"logits/kernel": np.zeros((8, 3), bool)}
    for option in EMPTY_LAYERS:
        assert counts(Allocation("global", empty_layers=option).by_fraction(None, drawn(0), mask, 0.5))[2] == 0


@pytest.mark.parametrize(
    ("allocation", "target", "message"),
    [
        (Allocation("global"), 0.99, "leaves each of the 3 layers a weight.*leaves 2 in all"),
        (Allocation("global"), 1.0, r"a sparsity in \[0, 1\).*1\.0"),
        (Allocation("global"), -0.1, r"a sparsity in \[0, 1\).*-0\.1"),
        (Allocation("global"), "0.5", r"a sparsity in \[0, 1\).*'0\.5'"),
        (Allocation("layer"), {"hidden": 2}, r"a sparsity in \[0, 1\).*2"),
    ],
)
def test_targets_that_cannot_be_met_are_refused(allocation, target, message):
    with pytest.raises(ValueError, match=message):
        allocation.to_sparsity(None, drawn(0), whole(), target)


def test_a_target_that_is_passed_already_is_refused():
    mask = Allocation("global").to_sparsity(None, drawn(0), whole(), 0.5)
    with pytest.raises(ValueError, match=r"the sparsity that the mask has, 0\.5000.*target=0\.4"):
        Allocation("global").to_sparsity(None, drawn(0), mask, 0.4)


def test_a_density_that_the_mask_has_no_weights_for_is_refused():
    mask = whole() | {"logits/kernel": np.arange(24).reshape(8, 3) < 2}
    for scope in ("uniform", "erk"):
        with pytest.raises(ValueError, match=f"'{scope}' leaves .* at 'logits/kernel'.*a mask with 2 there"):
            Allocation(scope).by_fraction(None, drawn(0), mask, 0.5)


def test_the_lamp_scope_refuses_signed_scores():
    with pytest.raises(ValueError, match=r"scores of at least 0.*conv_1/kernel"):
        Allocation("lamp").by_fraction(None, skewed(), whole(), 0.5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scope": "globl"}, "Did you mean 'global'"),
        ({"structure": "filter"}, "Did you mean 'filters'"),
        ({"empty_layers": "drop"}, "keep.*refuse.*warn.*'drop'"),
        ({"scope": "erk", "structure": "filters"}, "not at groups of weights.*global.*uniform"),
    ],
)
def test_unknown_names_are_refused_at_once(options, message):
    with pytest.raises(ValueError, match=message):
        Allocation(**options)
