"""`kerasticket landscape`: its table, of rows made by hand."""

import pytest
from said import Study, outcome

from kerasticket.cli import landscape
from kerasticket.experiments.jobs import plane
from kerasticket.experiments.landscape_report import NUMBERS

pytestmark = pytest.mark.same_on_every_backend


def row(name: str, sparsity: str) -> dict:
    return {"name": name, "sparsity": sparsity, "points": "9"} | dict.fromkeys(NUMBERS, "1.2345")


def test_a_line_per_surface_under_the_progress(monkeypatch, tmp_path, capsys):
    study = Study(outcome(tmp_path, [row("imp_round_04", "0.5904"), row("dense_round_00", "0.0")]))
    monkeypatch.setattr(plane, "landscape", study)
    landscape.run(["runs/digits", "--points", "9"])
    assert (study.settings.paths, study.settings.points) == (("runs/digits",), 9)
    printed = capsys.readouterr().out
    assert printed.index("this is noted") < printed.index("train loss on the plane")
    assert printed.rstrip().endswith(f"lie in {tmp_path}")
    drawn = landscape.table(study.made.rows, "")
    cells = [list(column.cells) for column in drawn.columns]
    assert cells[:3] == [["dense_round_00", "imp_round_04"], ["0.0%", "59.0%"], ["9", "9"]]
    assert cells[3:] == [["1.23", "1.23"]] * len(NUMBERS)
