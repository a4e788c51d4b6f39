"""Diagonals of the Hessian of a small run of digits: what is written, what is skipped, what is refused."""

import csv
from pathlib import Path

import pytest
from small_runs import trained_in_two_orders

import kerasticket as kt
from kerasticket.experiments import trained_run
from kerasticket.experiments.jobs.curvature import chosen_images, hessian
from kerasticket.experiments.settings import CurvatureSettings

pytestmark = pytest.mark.same_on_every_backend


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory) -> Path:
    return trained_in_two_orders(tmp_path_factory.mktemp("runs") / "digits")


def rows_of(path: Path) -> list[dict]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_hessian_table_is_of_the_networks_on_disk(run_folder, tmp_path):
    config = CurvatureSettings(str(run_folder), coordinates=20, images=16, data_orders=(2,), out=str(tmp_path))
    made = hessian(config)
    assert [row["entries"] for row in made.rows] == ["surviving", "all"] * 2
    rows = rows_of(tmp_path / "hessian.csv")
    assert [(row["kind"], row["entries"], row["data_order"]) for row in rows] == [
        *(("dense", entries, "2") for entries in ("surviving", "all")),
        *(("imp", entries, "2") for entries in ("surviving", "all")),
    ]
    run = trained_run.TrainedRun.open(str(run_folder))
    of = next(of for of in run.trainings if of.kind == "imp")
    model = run.model(of)
    kt.set_params(model, run.params(of, 2))
    images = chosen_images(config, run)
    expected = kt.analysis.hessian_diagonal(model, images, coordinates=20, seed=0).statistics()
    assert float(rows[2]["mean"]) == pytest.approx(expected.mean, rel=1e-4)
    assert float(rows[2]["std"]) == pytest.approx(expected.std, rel=1e-4)
    assert 0 < float(rows[3]["mean"]) / float(rows[2]["mean"]) < 1  # pruned entries dilute it
    files = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.h5")}
    hessian(config)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.h5")} == files


def test_hessian_settings_are_refused_before_any_work(run_folder, tmp_path):
    for options, match in (
        ({"coordinates": 0}, "--coordinates of at least 1"),
        ({"images": 1000}, "--images of at most 40"),
        ({"data_orders": (9,)}, "--data-orders among \\[1, 2\\]"),
    ):
        with pytest.raises(ValueError, match=match):
            hessian(CurvatureSettings(str(run_folder), out=str(tmp_path), **options))
    assert not list(tmp_path.iterdir())
