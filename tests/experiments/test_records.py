"""The row of a training: what is written to disk is what is read, and a damaged one is named."""

import dataclasses
import json

import pytest

from kerasticket.experiments import figures
from kerasticket.experiments.records import Trained
from kerasticket.experiments.run import Run
from kerasticket.files.json_files import write_json

pytestmark = pytest.mark.same_on_every_backend
ROW = Trained("imp", 2, 0, 1, 0.36, 0.5, 0.9, 0.4, 9000, 9000, 1.5)


def test_rows_come_back_from_a_run_as_they_were_written(tmp_path):
    run = Run.open(tmp_path, {})
    write_json(run.result(ROW.init_seed, ROW.kind, ROW.round, ROW.data_order), dataclasses.asdict(ROW))
    assert [Trained(**row) for row in run.results()] == [ROW]
    with pytest.raises(dataclasses.FrozenInstanceError):
        ROW.accuracy = 1.0


@pytest.mark.parametrize(("field", "value"), [("accuracy", "high"), ("round", 1.5), ("kind", None), ("stored", True)])
def test_a_field_of_another_type_is_named_with_its_file(field, value, tmp_path):
    run = Run.open(tmp_path, {})
    path = run.result(0, "imp", 2, 1)
    write_json(path, dataclasses.asdict(ROW) | {field: value})
    with pytest.raises(ValueError, match=rf"Expected {field} as \w+ in '{path}'. Received: '{value}'"):
        run.results()


def test_the_figure_of_a_run_takes_them():
    """Every column that `performance` asks for is a field."""
    left, _ = figures.performance([json.loads(json.dumps(dataclasses.asdict(ROW)))]).axes
    (bars,) = left.containers
    assert bars.lines[0].get_xydata().tolist() == [[36.0, 90.0]]
