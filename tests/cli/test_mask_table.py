"""The table of masks and what it says of the claims."""

from pathlib import Path

import pytest
from small_runs import run_of_tickets

from kerasticket.cli.mask_table import show, table
from kerasticket.experiments import mask_report
from kerasticket.experiments.jobs.masks import mask_statistics
from kerasticket.experiments.settings import MaskSettings

pytestmark = pytest.mark.same_on_every_backend


@pytest.fixture(scope="module")
def out(tmp_path_factory) -> Path:
    """The tables of a run, without figures."""
    run = run_of_tickets(tmp_path_factory.mktemp("runs") / "run")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(mask_report, "draw", lambda folder: None)
        return mask_statistics(MaskSettings((run.folder,)))


def test_the_table_names_chance_and_seeds(out):
    pairs = [row for row in mask_report.read(out / "pairs.csv") if row["layer"] == "all"]
    drawn = table(pairs, mask_report.read(out / "distances.csv"))
    cells = {column.header: list(column.cells) for column in drawn.columns}
    assert cells["round"] == ["1", "2", "2", "2"]
    assert cells["sparsity"] == ["20.05%", "35.99%", "35.99%", "35.99%"]  # 291 and 233 of 364
    assert all("±" in cell for cell in cells["phi"])
    assert cells["cosine, trained"][0] == cells["cosine, trained"][2] == "-"


def test_table_and_claims_are_printed(out, capsys):
    show(out)
    printed = capsys.readouterr().out
    assert "kept weights of two masks" in printed
    assert "imp and synthetic are here at round 2" in printed
    assert "KS / possible" in printed
