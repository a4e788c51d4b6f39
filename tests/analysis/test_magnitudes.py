"""Initial magnitudes of pruned weights: histograms by hand, distances by scipy."""

import dataclasses
import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nets import half_mask, small_convnet
from scipy import stats

import kerasticket as kt
from kerasticket.analysis.magnitudes import KolmogorovSmirnov, pruned_magnitude_distance, pruned_magnitudes
from kerasticket.tickets.ticket import Ticket


def ticket_of(weights: dict, mask: dict, **options) -> Ticket:
    """A ticket made of arrays alone; pruned weights are zero, as in any ticket."""
    params = {path: np.where(mask[path], array, 0).astype(array.dtype) for path, array in weights.items()}
    return Ticket(params, mask, {}, None, **options)


def kept_all(weights: dict) -> dict:
    return {path: np.ones(array.shape, bool) for path, array in weights.items()}


WEIGHTS = {"x": np.array([[1.0, -2.0, 3.0, -4.0]]), "y": np.array([[10.0], [-30.0]])}
DENSE = ticket_of(WEIGHTS, kept_all(WEIGHTS))
PRUNED = ticket_of(WEIGHTS, {"x": np.array([[False, True, False, True]]), "y": np.array([[False], [True]])})


def random_tickets(rng, few_values: bool = False) -> tuple[Ticket, Ticket, Ticket]:
    """A dense ticket of three layers of unequal scales, and two that prune about half of it at random."""
    weights = {str(i): scale * rng.normal(size=(40, 5)) for i, scale in enumerate((1, 0.1, 7))}
    if few_values:
        weights = {path: np.round(array / array.std()) for path, array in weights.items()}
    drawn = [{path: rng.random(array.shape) < 0.5 for path, array in weights.items()} for _ in range(2)]
    return ticket_of(weights, kept_all(weights)), *(ticket_of(weights, mask) for mask in drawn)


def test_histograms_by_hand():
    found = pruned_magnitudes(PRUNED, DENSE, bins=2)
    x, y = found.layers["x"], found.layers["y"]
    assert (x.edges.tolist(), x.pruned.tolist(), x.total.tolist()) == ([0, 2, 4], [1, 1], [1, 3])
    assert (y.edges.tolist(), y.pruned.tolist(), y.total.tolist()) == ([0, 15, 30], [1, 0], [1, 1])
    assert y.share.tolist() == [1, 0]


def test_pooled_magnitudes_are_in_units_of_each_layers_deviation():
    """x has a deviation of sqrt(7.25) = 2.69, y one of 20; the largest scaled one is 30 / 20, or 4 / 2.69 = 1.486."""
    pooled = pruned_magnitudes(PRUNED, DENSE, bins=3).pooled
    assert pooled.edges.tolist() == pytest.approx([0, 0.5, 1, 1.5])
    # pruned: 1 / 2.69 = .37, 10 / 20 = .5, 3 / 2.69 = 1.11; kept: .74, 1.49, 1.5
    assert (pooled.pruned.tolist(), pooled.total.tolist()) == ([1, 1, 1], [1, 2, 3])


def test_tickets_of_a_real_model():
    """A masked net, its dense ticket, a pruned one: the histogram counts what the ticket has lost."""
    model = kt.masked(small_convnet())
    dense = Ticket.dense(model)
    pruned = dense.pruned(half_mask(model), {"name": "half"})
    found = pruned_magnitudes(pruned, dense)
    for path, mask in pruned.mask.items():
        assert found.layers[path].pruned.sum() == np.count_nonzero(~mask)
        assert found.layers[path].total.sum() == mask.size
        expected, _ = np.histogram(np.abs(dense.params[path].astype(float)[~mask]), found.layers[path].edges)
        np.testing.assert_array_equal(found.layers[path].pruned, expected)
    assert found.pooled.pruned.sum() == pruned.total - pruned.kept
    again = pruned_magnitudes(dataclasses.replace(pruned, rewind_epoch=3), dense)
    np.testing.assert_array_equal(again.pooled.pruned, found.pooled.pruned)


def apart(left: np.ndarray, right: np.ndarray) -> float:
    """The Kolmogorov-Smirnov distance by its definition."""
    return max(abs(np.mean(left <= value) - np.mean(right <= value)) for value in np.concatenate([left, right]))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.booleans())
def test_distances_are_the_largest_difference_of_the_shares_below(seed, few_values):
    """Counted at each value, in each layer and pooled, with many ties too."""
    dense, a, b = random_tickets(np.random.default_rng(seed), few_values)
    found = pruned_magnitude_distance(a, b, dense)
    samples: list[list] = [[], []]
    for path, weights in dense.params.items():
        pruned = [np.abs(weights[~ticket.mask[path]]) for ticket in (a, b)]
        assert found.layers[path].distance == pytest.approx(apart(*pruned))
        for sample, values in zip(samples, pruned, strict=True):
            sample.extend(values / weights.std())
    assert found.pooled.distance == pytest.approx(apart(*map(np.array, samples)))
    assert (found.pooled.size_a, found.pooled.size_b) == (len(samples[0]), len(samples[1]))


def test_noise_is_smirnovs_and_seldom_exceeded():
    """Of 400 pairs of independent samples 5% exceed it; of pruned sets of one net, which share members, fewer."""
    rng = np.random.default_rng(0)
    assert KolmogorovSmirnov(0, 10**6, 10**6, 10**7).noise == pytest.approx(
        stats.kstwobign.ppf(0.95) * math.sqrt(2e-6), rel=1e-3
    )
    samples = [(rng.normal(size=300), rng.normal(size=200)) for _ in range(400)]
    noise = KolmogorovSmirnov(0, 300, 200, 10**7).noise
    assert np.mean([stats.ks_2samp(*pair).statistic > noise for pair in samples]) == pytest.approx(0.05, abs=0.04)
    found = [pruned_magnitude_distance(a, b, dense).pooled for dense, a, b in (random_tickets(rng) for _ in range(200))]
    assert np.mean([each.distance > each.noise for each in found]) < 0.05


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 12), st.integers(0, 10**6))
def test_no_two_sets_are_farther_apart_than_possible(size_a, size_b, more, seed):
    """The smallest weights against the largest are as far apart; sets at random are not farther."""
    weights = {"k": np.arange(1.0, max(size_a, size_b) + more + 2).reshape(1, -1)}
    count, rng = weights["k"].size, np.random.default_rng(seed)
    dense = ticket_of(weights, kept_all(weights))
    small, large = np.arange(count) >= size_a, np.arange(count) < count - size_b
    a, b = (ticket_of(weights, {"k": mask.reshape(1, -1)}) for mask in (small, large))
    found = pruned_magnitude_distance(a, b, dense).pooled
    assert found.distance == pytest.approx(found.possible)
    a, b = (ticket_of(weights, {"k": rng.permutation(mask).reshape(1, -1)}) for mask in (small, large))
    assert pruned_magnitude_distance(a, b, dense).pooled.distance <= found.possible + 1e-12


def test_distance_over_possible_is_that_of_the_kept_weights():
    """For masks that keep as many: 30% of 200 each."""
    rng = np.random.default_rng(3)
    weights = {"k": rng.normal(size=(20, 10))}
    masks = [{"k": rng.permutation(200).reshape(20, 10) < 60} for _ in range(2)]
    found = pruned_magnitude_distance(*(ticket_of(weights, m) for m in masks), ticket_of(weights, kept_all(weights)))
    kept = [np.abs(weights["k"][mask["k"]]) for mask in masks]
    assert found.pooled.distance / found.pooled.possible == pytest.approx(stats.ks_2samp(*kept).statistic)


def test_pruning_by_size_is_told_from_pruning_at_random():
    rng = np.random.default_rng(2)
    dense, random, _ = random_tickets(rng)
    small = ticket_of(dense.params, {path: np.abs(a) > np.median(np.abs(a)) for path, a in dense.params.items()})
    assert pruned_magnitude_distance(small, random, dense).pooled.distance > 0.4
    assert pruned_magnitude_distance(small, small, dense).pooled.distance == 0


def test_layers_without_pruned_weights_or_without_scale():
    """NaN without a warning; a layer of equal weights has its histogram, but no part in the pooled numbers."""
    weights = WEIGHTS | {"whole": np.array([[1.0, 2.0]]), "equal": np.ones((1, 2)), "zeros": np.zeros((1, 2))}
    mask = PRUNED.mask | {"whole": np.ones((1, 2), bool), "equal": np.eye(1, 2, dtype=bool)}
    dense, ticket = (
        ticket_of(weights, kept_all(weights)),
        ticket_of(weights, mask | {"zeros": np.eye(1, 2, dtype=bool)}),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        histograms, found = pruned_magnitudes(ticket, dense, bins=3), pruned_magnitude_distance(ticket, ticket, dense)
    assert math.isnan(found.layers["whole"].distance)
    assert math.isnan(found.layers["whole"].noise)
    assert math.isnan(found.layers["whole"].possible)
    assert found.layers["equal"].distance == 0
    assert histograms.layers["equal"].pruned.tolist() == [0, 0, 1]
    assert histograms.layers["zeros"].total.tolist() == [2, 0, 0]
    assert np.isnan(histograms.layers["zeros"].share[1:]).all()
    assert (found.pooled.size_a, histograms.pooled.total.sum()) == (3, 8)


def test_a_start_that_was_pruned_already_counts_for_what_it_keeps():
    later = ticket_of(WEIGHTS, {"x": np.array([[False, False, False, True]]), "y": np.array([[False], [True]])})
    found = pruned_magnitudes(later, PRUNED, bins=2)
    assert (found.layers["x"].pruned.tolist(), found.layers["x"].total.tolist()) == ([0, 1], [0, 2])
    assert found.layers["y"].pruned.sum() == 0


NOT_FINITE = {"x": np.array([[1.0, np.nan, 3.0, 4.0]]), "y": WEIGHTS["y"]}
EQUAL = {"x": np.ones((1, 4)), "y": np.ones((2, 1))}


@pytest.mark.parametrize(
    ("ticket", "start", "message"),
    [
        (DENSE, DENSE, "prune weights that `start` keeps"),
        (DENSE, PRUNED, "Pass the ticket that pruning started from, usually dense"),
        (PRUNED, dataclasses.replace(DENSE, rewind_epoch=3), "at initialization.*epoch 3"),
        (PRUNED, ticket_of(EQUAL, kept_all(EQUAL)), "of one initialization.*'x'"),
        (ticket_of(EQUAL, PRUNED.mask), ticket_of(EQUAL, kept_all(EQUAL)), "layers of equal weights only"),
        (ticket_of(NOT_FINITE, PRUNED.mask), ticket_of(NOT_FINITE, DENSE.mask), "NaN or infinity in `start` at 'x'"),
        (dataclasses.replace(PRUNED, mask={"x": PRUNED.mask["x"]}), DENSE, "only in `start`"),
    ],
)
def test_a_start_that_does_not_fit_is_refused(ticket, start, message):
    with pytest.raises(ValueError, match=message):
        pruned_magnitudes(ticket, start)
    if ticket is not DENSE:
        with pytest.raises(ValueError, match=message):
            pruned_magnitude_distance(ticket, ticket, start)


def test_bins_are_checked():
    with pytest.raises(ValueError, match="bins=0"):
        pruned_magnitudes(PRUNED, DENSE, bins=0)
