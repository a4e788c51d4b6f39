"""`kerasticket precision`: the table of two runs of tickets."""

import pytest

from kerasticket.cli import precision
from kerasticket.experiments import run_comparison
from kerasticket.experiments.run_comparison import Comparison

pytestmark = pytest.mark.same_on_every_backend


def test_what_differs_and_a_line_per_kind_and_round(monkeypatch, tmp_path, capsys):
    row = {"kind": "imp", "round": 4, "IoU of the runs": 0.5}
    made = Comparison(["precision", "seed"], (0, 1), [row])
    monkeypatch.setattr(run_comparison, "compare_runs", lambda *paths: made)
    precision.run([str(tmp_path / "float32"), str(tmp_path / "bfloat16"), "--csv", str(tmp_path / "rows.csv")])
    printed = capsys.readouterr().out
    assert printed.startswith("differ in: precision, seed\n")
    assert "float32 and bfloat16, 2 seeds" in printed
    assert "0.500" in printed
