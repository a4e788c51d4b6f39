"""The table and the limits of a run, on rows made by hand."""

import pytest

from kerasticket.experiments import report

pytestmark = pytest.mark.same_on_every_backend


def row(kind: str, round: int, accuracy: float, seed: int = 0, **images) -> dict:
    sparsity = 1 - 0.8**round
    return {"kind": kind, "round": round, "init_seed": seed, "sparsity": sparsity, "accuracy": accuracy} | {
        "stored": images.get("stored", 0),
        "decoded": images.get("decoded", 0),
    }


ROWS = [
    *(row("dense", 0, accuracy, seed) for seed, accuracy in enumerate((0.90, 0.92))),
    *(row("imp", 1, accuracy, seed, stored=5000, decoded=5000) for seed, accuracy in enumerate((0.90, 0.93))),
    *(row("imp", 2, accuracy, seed, stored=9000, decoded=9000) for seed, accuracy in enumerate((0.90, 0.909))),
    *(row("imp", 3, accuracy, seed, stored=12000, decoded=12000) for seed, accuracy in enumerate((0.91, 0.90))),
    row("synthetic", 1, 0.95, stored=10, decoded=40),
    row("random", 1, 0.5),
]


def test_the_limit_is_the_sparsest_round_within_half_a_point_of_the_mean_dense_network():
    assert report.limits(ROWS) == [
        "synthetic  sparsest round within 0.5 points of dense: 1 (sparsity 20.00%)",
        "imp        sparsest round within 0.5 points of dense: 3 (sparsity 48.80%)",
        "random     no round within 0.5 points of dense",
    ]
    assert "within 0.5 points of dense: 1" in report.limits([r for r in ROWS if r["round"] != 3])[1]


def test_without_a_dense_network_there_is_no_limit():
    assert report.limits(ROWS[2:]) == ["No dense network in this run, so no lottery-ticket limit."]


def test_cells_hold_mean_and_sample_deviation():
    cells = {column.header: list(column.cells) for column in report.table(ROWS, "").columns}
    assert cells["round"] == ["dense", "1", "2", "3"]
    assert cells["imp (%)"] == ["91.00 ± 1.41", "91.50 ± 2.12", "90.45 ± 0.64", "90.50 ± 0.71"]
    assert cells["synthetic (%)"] == ["91.00 ± 1.41", "95.00", "-", "-"]
    assert cells["synthetic: stored"] == ["0", "10", "-", "-"]
    assert cells["imp: images used"] == ["0", "5,000", "9,000", "12,000"]
