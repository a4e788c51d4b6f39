"""Barriers and the figure of an instability analysis, on curves made by hand."""

import pytest

from kerasticket.experiments import stability_report
from kerasticket.experiments.stability_report import write_report
from kerasticket.files.rows import read_rows

pytestmark = pytest.mark.same_on_every_backend


def point(alpha: float, loss: float, seed: int = 0, **others) -> dict:
    base = {"kind": "imp", "round": 4, "init_seed": seed, "sparsity": 0.59, "first_order": 1, "second_order": 2}
    base |= {"split": "train", "statistics": "none", "mask_overlap": 1.0}
    return base | {"alpha": alpha, "loss": loss, "accuracy": 1 - loss / 10} | others


def test_barriers_are_means_over_lines():
    lines = ((0, (1.0, 2.0, 1.0)), (1, (1.0, 4.0, 3.0)))
    rows = [point(alpha, loss, seed) for seed, losses in lines for alpha, loss in zip((0, 0.5, 1), losses, strict=True)]
    (found,) = stability_report.barriers(rows)
    assert (found["inits"], found["pairs"]) == (2, 2)
    assert (found["midpoint_barrier"], found["barrier"]) == (1.5, 1.5)
    assert found["midpoint_barrier_std"] == pytest.approx(0.5**0.5)
    assert found["error_barrier"] == pytest.approx(0.15)
    assert not found["stable"]
    assert found["accuracy_ends"] == pytest.approx(1 - (1 + 2) / 20)


def test_all_ways_with_statistics_are_written_and_one_is_shown(tmp_path):
    losses, ways = zip((0, 0.5, 1), (1.0, 2.0, 1.0), strict=True), ("interpolate", "reestimate")
    points = list(losses)
    rows = [
        {name: str(value) for name, value in point(alpha, loss, split=split, statistics=way).items()}
        for way in ways
        for split in ("train", "test")
        for alpha, loss in points
    ]
    shown = write_report(rows, tmp_path, "digits", "reestimate")
    assert [(row["statistics"], row["split"]) for row in shown] == [("reestimate", "test"), ("reestimate", "train")]
    written = read_rows(tmp_path / "barriers.csv", None)
    assert [row["statistics"] for row in written] == ["interpolate", "interpolate", "reestimate", "reestimate"]
    assert {path.name for path in tmp_path.glob("figure.*")} == {"figure.png", "figure.pdf"}
