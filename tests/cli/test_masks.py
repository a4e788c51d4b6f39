"""`kerasticket masks`: what it says of magnitudes and where everything lies."""

import pytest
from said import Study

from kerasticket.cli import mask_table, masks
from kerasticket.experiments.jobs import masks as job

pytestmark = pytest.mark.same_on_every_backend


@pytest.mark.parametrize("measured", [True, False])
def test_magnitudes_that_are_not_measured_are_said(measured, monkeypatch, tmp_path, capsys):
    if measured:
        (tmp_path / "magnitudes.csv").touch()
    shown = []
    monkeypatch.setattr(job, "mask_statistics", Study(tmp_path))
    monkeypatch.setattr(mask_table, "show", shown.append)
    masks.run(["runs/digits", "--bins", "3"])
    printed = capsys.readouterr().out
    assert shown == [tmp_path]
    assert ("pass --start" in printed) is not measured
    assert printed.endswith(f"\nTables and figures: {tmp_path}\n")
