"""Two runs side by side: means over seeds where there are few."""

import numpy as np
import pytest

from kerasticket.experiments.run_comparison import spread

pytestmark = pytest.mark.same_on_every_backend


def test_spread_of_one_value_is_zero():
    assert spread("a", [2.0]) == {"a": 2.0, "a, std": 0.0}


def test_a_barrier_that_is_missing_stays_so():
    """Runs with one data order have none: NaN, not a crash."""
    assert all(np.isnan(value) for value in spread("a", [float("nan")] * 2).values())
