"""`kerasticket stability`: its table, of rows made by hand."""

import math

import pytest
from said import Study, outcome

from kerasticket.cli import stability
from kerasticket.experiments.jobs import path

pytestmark = pytest.mark.same_on_every_backend


def row(split: str, std: float = math.nan) -> dict:
    numbers = {"midpoint_barrier": 0.25, "barrier": 0.5, "error_barrier": 0.031}
    stds = {f"{name}_std": std for name in numbers}
    about = {"kind": "imp", "round": 4, "statistics": "interpolate", "split": split, "inits": 2, "pairs": 6}
    return about | numbers | stds | {"stable": False, "accuracy_ends": 0.9, "accuracy_middle": 0.8}


def test_the_table_stands_under_the_progress(monkeypatch, tmp_path, capsys):
    study = Study(outcome(tmp_path, [row("test"), row("train")]))
    monkeypatch.setattr(path, "stability", study)
    stability.run(["runs/digits", "--rounds", "4"])
    assert (study.settings.run, study.settings.rounds) == ("runs/digits", (4,))
    printed = capsys.readouterr().out
    assert printed.index("this is noted") < printed.index("digits, convnet: barriers between data orders")
    assert printed.rstrip().endswith(f"the figure lie in {tmp_path}")


def test_cells_are_of_train_but_for_the_accuracy():
    drawn = stability.table([row("test") | {"accuracy_ends": 0.7}, row("train", std=0.01)], "")
    cells = [next(iter(column.cells)) for column in drawn.columns]
    assert cells == ["imp", "4", "2 x 3", "0.250 ± 0.010", "0.500 ± 0.010", "3.1 ± 1.0", "no", "70.0", "80.0"]
