"""Frames of a run's files, against numbers by hand."""

import dataclasses
import math

import pytest

from kerasticket.experiments.frames import COLUMNS, barriers, results, summary
from kerasticket.experiments.records import Trained
from kerasticket.experiments.run import Run
from kerasticket.files.json_files import write_json

pytestmark = pytest.mark.same_on_every_backend

ROWS = [
    Trained("dense", 0, 0, 1, 0.0, 0.4, 0.9, 0.3, 0, 0, 2.0),
    Trained("imp", 1, 0, 1, 0.2, 0.5, 0.5, 0.4, 100, 100, 1.0),
    Trained("imp", 1, 0, 2, 0.2, 0.7, 0.7, 0.4, 100, 100, 3.0),
    Trained("imp", 2, 0, 1, 0.36, 0.5, 0.6, 0.4, 200, 200, 1.0),
]


@pytest.fixture
def run(tmp_path):
    made = Run.open(tmp_path, {})
    for row in ROWS:
        write_json(made.result(0, row.kind, row.round, row.data_order), dataclasses.asdict(row))
    return made


def test_results_have_a_row_for_each_training(run):
    frame = results(run.folder)
    assert list(frame.columns) == list(COLUMNS)
    assert [Trained(**row) for row in frame.to_dict("records")] == ROWS
    assert frame["round"].dtype.kind == frame.stored.dtype.kind == "i"


def test_a_run_without_results_has_the_same_columns(tmp_path):
    Run.open(tmp_path, {})
    frame = results(tmp_path)
    assert (len(frame), list(frame.columns), frame["round"].dtype.kind) == (0, list(COLUMNS), "i")


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(ValueError, match="Expected the folder of a run. Received: '.*', which has no config.json"):
        results(tmp_path / "absent")


def test_the_summary_has_mean_and_sample_deviation_of_kind_and_round(run):
    table = summary(results(run.folder))
    assert list(table.index) == [("dense", 0), ("imp", 1), ("imp", 2)]
    assert table["mean"].round(12).tolist() == [0.9, 0.6, 0.6]
    assert table["std"].loc[("imp", 1)] == pytest.approx(math.sqrt(0.02))  # ((.1)^2 + (.1)^2) / (2 - 1)
    assert table["std"].isna().tolist() == [True, False, True]
    assert table["count"].tolist() == [1, 2, 1]
    assert table.sparsity.tolist() == [0.0, 0.2, 0.36]
    assert table.stored.tolist() == [0, 100, 200]


def test_barriers_have_a_row_for_each_pair(run):
    assert len(barriers(run.folder)) == 0
    heights = {"barrier": 0.5, "midpoint_barrier": 0.25, "error_barrier": 0.1}
    for first, second in ((1, 2), (1, 3)):
        of = {"kind": "imp", "round": 1, "init_seed": 0, "first_order": first, "second_order": second}
        write_json(run.barrier(0, "imp", 1, first, second), of | heights)
    frame = barriers(run.folder)
    assert frame[["first_order", "second_order"]].to_numpy().tolist() == [[1, 2], [1, 3]]
    assert frame[list(heights)].to_numpy().tolist() == [list(heights.values())] * 2
