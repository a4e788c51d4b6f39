"""Synthetic over IMP tickets, from tables made by hand."""

import csv
from pathlib import Path

import pytest

from kerasticket.experiments.ratios import ratios, stability_ratios
from kerasticket.experiments.settings import RatioSettings

pytestmark = pytest.mark.same_on_every_backend


def rows_of(path: Path) -> list[dict]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_ratios_of_synthetic_over_imp_tickets(tmp_path):
    run = tmp_path / "cifar"
    (run / "instability").mkdir(parents=True)
    (run / "config.json").write_text('{"epochs": 10, "distilled_epochs": 100}')
    results = [
        "kind,round,accuracy,stored",
        "imp,4,0.6,4000",
        "imp,4,0.8,4000",
        "synthetic,4,0.63,400",
        "imp,9,0.5,9000",
    ]
    (run / "results.csv").write_text("\n".join(results))
    heads = ["kind,round,split,sparsity,statistics,midpoint_barrier"]
    barriers = ["imp,4,train,0.59,interpolate,0.5", "synthetic,4,train,0.59,interpolate,0.1"]
    (run / "instability" / "barriers.csv").write_text("\n".join([*heads, *barriers, "imp,4,test,0.59,interpolate,9"]))
    made = stability_ratios(RatioSettings((str(run),), out=str(tmp_path / "out")))
    assert [(row["run"], row["drawn"]) for row in made.rows] == [("cifar", True)]
    (row,) = rows_of(tmp_path / "out" / "ratios.csv")
    assert float(row["accuracy_ratio"]) == pytest.approx(0.9)
    assert float(row["barrier_ratio"]) == pytest.approx(0.2)
    assert float(row["compression"]) == pytest.approx((4000 / 10) / (400 / 100))
    assert (tmp_path / "out" / "figure.png").exists()
    low = [row.replace("0.5", "0.001") for row in barriers]
    (run / "instability" / "barriers.csv").write_text("\n".join([*heads, *low]))
    (row,) = stability_ratios(RatioSettings((str(run),), out=str(tmp_path / "out"))).rows
    assert not row["drawn"]
    assert {path.name for path in (tmp_path / "out").glob("*.*")} >= {"ratios.csv"}
    assert not (tmp_path / "out" / "figure.png").exists()
    anew = [row.replace("interpolate", "reestimate").replace("0.1", "0.4") for row in barriers]
    (run / "instability" / "barriers.csv").write_text("\n".join([*heads, *barriers, *anew]))
    with pytest.raises(ValueError, match="--statistics among"):
        stability_ratios(RatioSettings((str(run),)))
    (row,) = ratios(run, (), "reestimate")
    assert row["barrier_ratio"] == pytest.approx(0.8)
    (run / "results.csv").unlink()
    with pytest.raises(ValueError, match="without results.csv"):
        stability_ratios(RatioSettings((str(run),)))
