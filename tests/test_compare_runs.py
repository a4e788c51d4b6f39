"""compare_runs.py: overlap by hand count."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))

import compare_runs

pytestmark = pytest.mark.same_on_every_backend


def test_iou_counts_over_all_kernels():
    """Two kept by both, six by either: over all weights, not a mean over layers."""
    a = {"x": np.array([True, True, False, False]), "y": np.array([True, True])}
    b = {"x": np.array([True, False, True, True]), "y": np.array([True, False])}
    assert compare_runs.iou(a, b) == pytest.approx(2 / 6)


def test_spread_of_one_value_is_zero():
    assert compare_runs.spread("a", [2.0]) == {"a": 2.0, "a, std": 0.0}


def test_a_barrier_that_is_missing_stays_so():
    """Runs with one data order have none: NaN, not a crash."""
    assert all(np.isnan(value) for value in compare_runs.spread("a", [float("nan")] * 2).values())
