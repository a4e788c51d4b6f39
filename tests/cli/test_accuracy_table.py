"""The table of a run, on rows made by hand."""

import pytest
from run_rows import ROWS

from kerasticket.cli.accuracy_table import show, table

pytestmark = pytest.mark.same_on_every_backend


def test_cells_hold_mean_and_sample_deviation():
    cells = {column.header: list(column.cells) for column in table(ROWS, "").columns}
    assert cells["round"] == ["dense", "1", "2", "3"]
    assert cells["imp (%)"] == ["91.00 ± 1.41", "91.50 ± 2.12", "90.45 ± 0.64", "90.50 ± 0.71"]
    assert cells["synthetic (%)"] == ["91.00 ± 1.41", "95.00", "-", "-"]
    assert cells["synthetic: stored"] == ["0", "10", "-", "-"]
    assert cells["imp: images used"] == ["0", "5,000", "9,000", "12,000"]


def test_table_and_limits_are_printed(capsys):
    show(ROWS, "digits, convnet")
    printed = capsys.readouterr().out
    assert "digits, convnet, 2 initializations" in printed
    assert "within 0.5 points of dense: 3 (sparsity 48.80%)" in printed
