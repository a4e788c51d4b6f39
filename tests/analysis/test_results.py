"""Records of results: what follows from their numbers, by hand, and their files."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kerasticket.analysis.results import Curve, Diagonal, Instability, Pair, Surface

pytestmark = pytest.mark.same_on_every_backend


curves = st.lists(st.floats(-5, 5), min_size=3, max_size=3)


@given(curves, st.floats(-3, 3))
def test_barriers_do_not_change_with_a_constant_and_order_as_they_must(losses, shift):
    alphas = np.array([0, 0.5, 1])
    curve, moved = (Curve(alphas, np.array(losses) + by, np.ones(3), "none") for by in (0, shift))
    assert curve.barrier == pytest.approx(moved.barrier, abs=1e-9)
    assert curve.chord_barrier == pytest.approx(moved.chord_barrier, abs=1e-9)
    assert curve.barrier >= curve.midpoint_barrier - 1e-12
    assert curve.chord_barrier >= max(0, curve.midpoint_barrier) - 1e-9  # the chord's middle is the mean of the ends


def test_results_are_means_with_sample_deviations():
    def pair(middle: float, accuracy: float) -> Pair:
        return Pair(
            0, (1, 2), Curve(np.array([0, 0.5, 1]), np.array([1, middle, 1]), np.array([0.9, accuracy, 0.9]), "none")
        )

    result = Instability((pair(2, 0.9), pair(4, 0.87)))
    assert result.mean_and_std("barrier") == (2, pytest.approx(2**0.5))
    assert (result.barrier, result.midpoint_barrier) == (2, 2)
    assert result.error_barrier == pytest.approx(0.015)
    assert result.stable
    assert not Instability((pair(2, 0.87),)).stable
    assert np.isnan(Instability((pair(2, 0.87),)).mean_and_std("barrier")[1])


def test_statistics_are_the_papers_columns():
    """By hand, over surviving entries and with pruned ones as zeros; a sample adds zeros in proportion."""
    values = np.array([[1.0, -2.0, 4.0, 0.0, 0.0, 0.0]])
    seen = values != 0
    diagonal = Diagonal({"a": values}, {"a": seen}, {"a": "taylor"}, 3, 3, 64)
    row, diluted = diagonal.statistics(), diagonal.statistics(surviving_only=False)
    assert (row.count, row.minimum, row.maximum, row.mean, row.mean_error) == (3, -2, 4, 1, 0)
    assert (row.magnitude, row.std) == (pytest.approx(7 / 3), pytest.approx(np.std([1, -2, 4])))
    assert (diluted.count, diluted.minimum, diluted.maximum, diluted.mean) == (6, -2, 4, 0.5)
    assert (diluted.magnitude, diluted.std) == (pytest.approx(7 / 6), pytest.approx(np.std(values)))
    sampled = Diagonal({"a": values}, {"a": seen}, {"a": "taylor"}, 30, 30, 64).statistics(surviving_only=False)
    assert (sampled.count, sampled.mean, sampled.std) == (6, 0.5, pytest.approx(np.std(values)))
    assert sampled.mean_error > 0
    positive = Diagonal({"a": np.array([1.0, 2.0, 0.0])}, {"a": np.array([True, True, False])}, {}, 2, 1, 64)
    assert (positive.statistics().minimum, positive.statistics(surviving_only=False).minimum) == (1, 0)


def surface(**changes) -> Surface:
    values = {
        "kind": "paper",
        "statistics": "none",
        "coordinates": np.arange(8.0).reshape(4, 2),
        "loss": np.array([1.0, np.inf, 3, 4]),
        "accuracy": np.ones(4),
        "positions": np.zeros((3, 2)),
        "distances": np.array([0.0, 1e-6, 1.0]),
        "net_loss": np.ones(3),
        "net_accuracy": np.ones(3),
        "lengths": (2.0, 0.5),
        "cosine": 0.25,
        "filter_normalized": True,
    }
    return Surface(**(values | changes))


def test_a_surface_comes_back_with_every_field(tmp_path):
    surface().save(tmp_path / "surface.h5")
    loaded = Surface.load(tmp_path / "surface.h5")
    for field in dataclasses.fields(Surface):
        np.testing.assert_equal(getattr(loaded, field.name), getattr(surface(), field.name))
    assert type(loaded.lengths) is tuple


def test_nets_lie_in_the_plane_up_to_rounding_in_units_of_its_axes():
    assert surface().in_plane.tolist() == [True, True, False]
    assert surface(lengths=(0.1, 0.5)).in_plane.tolist() == [True, False, False]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"accuracy": np.ones(3)}, r"numbers of shape \(4,\) as accuracy.*Received: float64 of shape \(3,\)"),
        ({"positions": np.zeros((3, 3))}, r"shape \(3, 2\) as positions"),
        ({"net_loss": np.ones(2)}, r"as positions in"),
        ({"loss": np.ones(4, bool)}, "as loss.*Received: bool"),
        ({"cosine": "flat"}, "Expected cosine as float"),
    ],
)
def test_arrays_that_do_not_fit_each_other_are_refused(changes, message, tmp_path):
    surface(**changes).save(tmp_path / "surface.h5")
    with pytest.raises(ValueError, match=message):
        Surface.load(tmp_path / "surface.h5")


def diagonal(**changes) -> Diagonal:
    kernel, bias = np.array([[1.0, -2], [0, 4]]), np.array([0.5])
    values = {
        "values": {"a/kernel": kernel, "a/bias": bias},
        "sampled": {"a/kernel": kernel != 0, "a/bias": np.array([True])},
        "methods": {"a/kernel": "hutchinson", "a/bias": "hutchinson"},
        "surviving": 8,
        "pruned": 2,
        "examples": 3,
        "probes": 5,
        "standard_error": {"a/kernel": np.full((2, 2), 0.5), "a/bias": np.array([0.5])},
        "sum_error": 0.2,
    }
    return Diagonal(**(values | changes))


def test_an_estimated_diagonal_comes_back_and_hides_what_noise_inflates(tmp_path):
    diagonal().save(tmp_path / "diagonal.h5")
    loaded = Diagonal.load(tmp_path / "diagonal.h5")
    assert loaded.statistics() == diagonal().statistics()
    assert loaded.sampled["a/kernel"].dtype == bool
    row = loaded.statistics()
    assert row.minimum is row.maximum is row.magnitude is None
    assert (row.count, row.mean, row.noise) == (4, pytest.approx(3.5 / 4), pytest.approx(0.5))
    variance = np.mean([1, 4, 16, 0.25]) - 0.25 - (3.5 / 4) ** 2
    assert row.std == pytest.approx(variance**0.5)
    # Of 8 entries 4 are drawn; and the sum of the drawn ones has an error of .2.
    assert row.mean_error == pytest.approx((0.05**2 + variance / 3 * (1 - 4 / 8)) ** 0.5)
    assert loaded.trace == (pytest.approx(8 * row.mean), pytest.approx(8 * row.mean_error))


def test_a_diagonal_of_other_weights_is_refused(tmp_path):
    for changes, message in (
        ({"methods": {"b/kernel": "taylor"}}, "Expected methods of its weights"),
        ({"sampled": {"a/kernel": np.ones((2, 2)), "a/bias": np.ones(1)}}, "which entries are sampled"),
        ({"sampled": {"a/kernel": np.ones((2, 2), bool)}}, r"Expected 5 values as sampled in .*shape \(4,\)"),
    ):
        diagonal(**changes).save(tmp_path / "diagonal.h5")
        with pytest.raises(ValueError, match=message):
            Diagonal.load(tmp_path / "diagonal.h5")
    surface().save(tmp_path / "surface.h5")
    with pytest.raises(ValueError, match="kerasticket diagonal.*of format 'kerasticket surface'"):
        Diagonal.load(tmp_path / "surface.h5")
