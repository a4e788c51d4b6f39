"""The limits of a run, on rows made by hand."""

import pytest
from run_rows import ROWS

from kerasticket.experiments import report

pytestmark = pytest.mark.same_on_every_backend


def test_the_limit_is_the_sparsest_round_within_half_a_point_of_the_mean_dense_network():
    assert report.limits(ROWS) == [
        "synthetic  sparsest round within 0.5 points of dense: 1 (sparsity 20.00%)",
        "imp        sparsest round within 0.5 points of dense: 3 (sparsity 48.80%)",
        "random     no round within 0.5 points of dense",
    ]
    assert "within 0.5 points of dense: 1" in report.limits([r for r in ROWS if r["round"] != 3])[1]


def test_without_a_dense_network_there_is_no_limit():
    assert report.limits(ROWS[2:]) == ["No dense network in this run, so no lottery-ticket limit."]
