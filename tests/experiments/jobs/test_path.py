"""Lines between networks of a small run of digits: what is written, what is skipped, what is refused."""

import csv
import errno
import os
import shutil
from pathlib import Path

import pytest
from small_runs import trained_in_two_orders

import kerasticket as kt
from kerasticket.experiments import trained_run
from kerasticket.experiments.events import Event
from kerasticket.experiments.jobs import path
from kerasticket.experiments.jobs.curvature import hessian
from kerasticket.experiments.jobs.path import stability
from kerasticket.experiments.settings import CurvatureSettings, PathSettings
from kerasticket.files.json_files import read_json, write_json

pytestmark = pytest.mark.same_on_every_backend


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory) -> Path:
    return trained_in_two_orders(tmp_path_factory.mktemp("runs") / "digits")


def rows_of(file: Path) -> list[dict]:
    with open(file, newline="") as file:
        return list(csv.DictReader(file))


def test_curves_are_those_of_the_networks_on_disk(run_folder, tmp_path):
    config = PathSettings(str(run_folder), alphas=2, out=str(tmp_path))
    told: list[Event] = []
    made = stability(config, told.append)
    assert made.title == "digits, lenet_300_100"
    assert [(row["kind"], row["split"]) for row in made.rows] == [
        (kind, split) for kind in ("dense", "imp") for split in ("test", "train")
    ]
    rows = rows_of(tmp_path / "curves.csv")
    assert len(rows) == 2 * 2 * 3  # dense and imp, train and test, alphas 0, .5 and 1
    run = trained_run.TrainedRun.open(str(run_folder))
    assert [of.kind for of in run.trainings] == ["dense", "imp"]
    of = next(of for of in run.trainings if of.kind == "imp")
    model = run.model(of)
    kt.set_params(model, run.params(of, 2))
    expected = kt.training.evaluate(model, run.images("test"))["loss"]
    (end,) = [row for row in rows if (row["kind"], row["split"], row["alpha"]) == ("imp", "test", "1.0")]
    assert float(end["loss"]) == pytest.approx(expected, rel=1e-5)
    before = (tmp_path / "curves.csv").read_bytes()
    monkey = path.Lines.between
    path.Lines.between = lambda *_: pytest.fail("evaluated again")
    try:
        stability(config)
    finally:
        path.Lines.between = monkey
    assert (tmp_path / "curves.csv").read_bytes() == before
    assert {"barriers.csv", "figure.png", "figure.pdf"} <= {path.name for path in tmp_path.iterdir()}
    assert "midpoint barrier" in next(event.text for event in told if event.kind == "note")
    assert [event.kind for event in told if event.kind in ("begin", "done")] == ["begin", "done"]
    assert sum(event.amount for event in told if event.kind == "advance") == told[0].amount


def test_what_a_run_lacks_is_refused(run_folder, tmp_path):
    for options, match in (
        ({"kinds": ("synthetic",)}, "--kinds among \\['dense', 'imp'\\]"),
        ({"rounds": (7,)}, "--rounds among \\[0, 1\\]"),
        ({"init_seeds": (3,)}, "--init-seeds among \\[0\\]"),
        ({"statistics": "none"}, "statistics"),
        ({"alphas": 1}, "alphas"),
    ):
        with pytest.raises(ValueError, match=match):
            stability(PathSettings(str(run_folder), out=str(tmp_path), **options))
    with pytest.raises(ValueError, match="run of distilled_pruning"):
        stability(PathSettings(str(tmp_path)))


@pytest.mark.parametrize(("study", "settings"), [(stability, PathSettings), (hessian, CurvatureSettings)])
def test_results_of_another_run_are_not_taken_for_those_of_this(study, settings, run_folder, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(run_folder, other)
    stored = read_json(other / "config.json")
    write_json(other / "config.json", stored | {"learning_rate": 0.5})
    options = {"alphas": 2} if study is stability else {"coordinates": 2, "images": 4}
    study(settings(str(run_folder), out=str(tmp_path / "out"), **options))
    with pytest.raises(ValueError, match="another learning_rate"):
        study(settings(str(other), out=str(tmp_path / "out"), **options))


@pytest.mark.parametrize(
    ("study", "settings", "options", "result"),
    [
        (stability, PathSettings, {"alphas": 2}, "curves.csv"),
        (hessian, CurvatureSettings, {"coordinates": 3, "images": 8}, "hessian.csv"),
    ],
)
def test_a_full_disk_is_said_and_the_same_command_goes_on(
    study, settings, options, result, run_folder, tmp_path, monkeypatch
):
    wanted, config = tmp_path / "whole", settings(str(run_folder), out=str(tmp_path / "out"), **options)
    study(settings(str(run_folder), out=str(wanted), **options))
    writes, replace = [], os.replace

    def full(*paths):
        writes.append(paths)
        if len(writes) > 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(*paths)

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", full)
        with pytest.raises(OSError, match=r"The disk is full: '.*' could not be written.*the same command again"):
            study(config)
    study(config)
    assert (tmp_path / "out" / result).read_text() == (wanted / result).read_text()
    assert sorted(path.name for path in wanted.iterdir()) == sorted(path.name for path in (tmp_path / "out").iterdir())


def test_results_that_are_deleted_on_the_way_are_missed(run_folder, tmp_path, monkeypatch):
    config = PathSettings(str(run_folder), alphas=2, out=str(tmp_path / "out"))
    between = path.Lines.between

    def deleted(*arguments):
        shutil.rmtree(tmp_path / "out")
        return between(*arguments)

    monkeypatch.setattr(path.Lines, "between", deleted)
    with pytest.raises(FileNotFoundError, match=r"out' was deleted, moved or emptied.*Run the same command again"):
        stability(config)
    assert not (tmp_path / "out").exists()
