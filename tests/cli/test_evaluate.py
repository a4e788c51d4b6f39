"""`kerasticket evaluate`: it draws the work, and names the file of results."""

import pytest
from said import Study

from kerasticket.cli import evaluate
from kerasticket.experiments.jobs import evaluate as job

pytestmark = pytest.mark.same_on_every_backend


@pytest.mark.parametrize("csv", [[], ["--csv", "rows.csv"]])
def test_the_file_is_named_where_there_is_one(csv, monkeypatch, capsys):
    study = Study([])
    monkeypatch.setattr(job, "evaluate", study)
    evaluate.run(["a.h5", "b.h5", "--nets", "5", *csv])
    assert (study.settings.paths, study.settings.nets) == (("a.h5", "b.h5"), 5)
    printed = capsys.readouterr().out
    assert "this is noted" in printed
    assert ("Results: rows.csv" in printed) == bool(csv)
