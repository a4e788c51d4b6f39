"""`kerasticket hessian`: its two tables, of rows made by hand."""

import pytest
from said import Study, outcome

from kerasticket.cli import hessian
from kerasticket.experiments.jobs import curvature

pytestmark = pytest.mark.same_on_every_backend


def row(entries: str, kind: str = "imp", mean: float = 0.5, minimum: float = -1.0) -> dict:
    return {"kind": kind, "round": 4, "entries": entries, "minimum": minimum, "maximum": 2.0} | {
        "mean": mean,
        "std": 0.25,
        "magnitude": 0.125,
    }


def test_both_tables_are_printed(monkeypatch, tmp_path, capsys):
    study = Study(outcome(tmp_path, [row("surviving"), row("all")]))
    monkeypatch.setattr(curvature, "hessian", study)
    hessian.run(["runs/digits", "--coordinates", "7"])
    assert study.settings.coordinates == 7
    printed = capsys.readouterr().out
    assert "Hessian diagonal, surviving entries" in printed
    assert "Hessian diagonal, all entries" in printed
    assert str(tmp_path) in printed


def test_a_line_has_the_extremes_of_its_networks_and_their_means():
    drawn = hessian.table([row("all", "dense"), row("all"), row("all", mean=1.5, minimum=-3.0)], "")
    cells = {column.header: list(column.cells) for column in drawn.columns}
    assert cells["kind"] == ["dense", "imp"]
    assert cells["networks"] == ["1", "2"]
    assert cells["min / max"] == ["-1.000 / 2.000", "-3.000 / 2.000"]
    assert cells["mean"] == ["0.50000", "1.00000 ± 0.70711"]
