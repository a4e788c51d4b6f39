"""`kerasticket ratios`: a line per run and round, and the reason where one is not drawn."""

import pytest
from said import outcome

from kerasticket.cli import ratios
from kerasticket.experiments import ratios as study

pytestmark = pytest.mark.same_on_every_backend


def test_lines_say_what_is_not_drawn(monkeypatch, tmp_path, capsys):
    row = {"run": "cifar", "round": 4, "accuracy_ratio": 0.9, "barrier_ratio": 0.2, "imp_barrier": 0.5}
    row |= {"compression": 100.0, "drawn": True}
    rows = [row, row | {"round": 9, "imp_barrier": 0.004, "drawn": False}]
    monkeypatch.setattr(study, "stability_ratios", lambda settings: outcome(tmp_path, rows))
    ratios.run(["runs/cifar"])
    first, second, last = capsys.readouterr().out.splitlines()
    assert first == f"{'cifar':24} round  4  accuracy x0.900  barrier x0.20  compression x100"
    assert second.endswith("compression x100   not drawn: IMP's barrier is 0.004")
    assert last == f"ratios.csv and the figure lie in {tmp_path}"
    monkeypatch.setattr(study, "stability_ratios", lambda settings: outcome(tmp_path, rows[1:]))
    ratios.run(["runs/cifar"])
    assert capsys.readouterr().out.endswith(f"ratios.csv, and nothing is drawn. It lies in {tmp_path}\n")
