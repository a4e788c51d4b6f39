"""Surfaces of a small run of digits: what it writes, what it skips, how it goes on, what it refuses."""

import csv
import dataclasses
from pathlib import Path

import numpy as np
import pytest
from small_runs import SMALL

import kerasticket as kt
from kerasticket import analysis
from kerasticket.analysis.results import Surface
from kerasticket.cli import prune
from kerasticket.experiments import landscape_report, trained_run
from kerasticket.experiments.jobs import plane
from kerasticket.experiments.jobs.plane import landscape
from kerasticket.experiments.settings import PlaneSettings

pytestmark = pytest.mark.same_on_every_backend

RUN = dataclasses.replace(SMALL, data_orders=(1, 0, 2, 3), batch_size=8)
NAMES = ("dense_round_00_seed_0", "imp_round_01_seed_0")


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory) -> Path:
    """Dense and IMP networks of one pruning round, trained in four data orders."""
    folder = tmp_path_factory.mktemp("runs") / "digits"
    prune.main(dataclasses.replace(RUN, out=str(folder)))
    return folder


@pytest.fixture
def undrawn(monkeypatch) -> None:
    """Leaves out the figures, which take most of the time here."""
    monkeypatch.setattr(landscape_report, "draw", lambda *_: None)


def small(folder: Path, out: Path, **options) -> PlaneSettings:
    defaults = {"points": 9, "layout": "grid", "images_per_class": 2, "out": str(out)}
    return PlaneSettings((str(folder),), **defaults | options)


def rows_of(path: Path) -> list[dict]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_surfaces_are_those_of_the_networks_on_disk(run_folder, tmp_path, monkeypatch):
    out = tmp_path / "out"
    config = small(run_folder, out)
    made = landscape(config)
    quantities, endings = ("loss", "accuracy"), ("png", "pdf")
    figure_files = {f"{quantity}_round_01_seed_0.{ending}" for quantity in quantities for ending in endings}
    surface_files = {f"{name}{ending}" for name in NAMES for ending in (".h5", "_points.csv", "_networks.csv")}
    assert {path.name for path in out.iterdir() if path.suffix != ".sha256"} == figure_files | surface_files | {
        "surfaces.csv",
        "config.json",
        "environment.json",
    }
    run = trained_run.TrainedRun.open(str(run_folder))
    of = next(of for of in run.trainings if of.kind == "imp")
    model = run.model(of)
    images = run.images("train", 2)
    rows = rows_of(out / f"{NAMES[1]}_networks.csv")
    assert [row["network"] for row in rows] == ["0", "1", "2", "3"]
    for row in rows:
        kt.set_params(model, run.params(of, int(row["network"])))
        assert float(row["loss"]) == pytest.approx(kt.training.evaluate(model, images)["loss"], rel=1e-5)
    surface = Surface.load(out / f"{NAMES[1]}.h5")
    points = rows_of(out / f"{NAMES[1]}_points.csv")
    assert [float(row["loss"]) for row in points] == surface.loss.tolist()
    for row, place in zip(points[:2], ((1, 0), (-1, 0)), strict=True):
        assert (float(row["x"]), float(row["y"])) == pytest.approx(place, abs=1e-12)
    assert [row["name"] for row in rows_of(out / "surfaces.csv")] == list(NAMES)
    assert [row["name"] for row in made.rows] == list(NAMES)
    monkeypatch.setattr(plane, "evaluate", lambda *_: pytest.fail("evaluated again"))
    (out / "loss_round_01_seed_0.pdf").unlink()
    landscape(config)  # draws from the files alone
    assert (out / "loss_round_01_seed_0.pdf").exists()


def test_a_killed_call_goes_on_to_the_same_surface(run_folder, tmp_path, monkeypatch, undrawn):
    whole, killed = (small(run_folder, tmp_path / name, plane="random") for name in ("whole", "killed"))
    landscape(whole)
    loss_plane, seen = analysis.loss_plane, []

    def dying(*arguments, progress, **options):
        def tell(done: int) -> None:
            seen.append(done)
            if len(seen) == 9 + 4:  # in the second surface
                raise KeyboardInterrupt
            progress(done)

        return loss_plane(*arguments, progress=tell, **options)

    monkeypatch.setattr(analysis, "loss_plane", dying)
    with pytest.raises(KeyboardInterrupt):
        landscape(killed)
    assert (tmp_path / "killed" / f"{NAMES[1]}.unfinished.npz").exists()
    landscape(killed)
    assert seen == [*range(1, 10), 1, 2, 3, 4, 5, 6, 7, 8, 9]
    for name in NAMES:
        first, second = (Surface.load(tmp_path / folder / f"{name}.h5") for folder in ("whole", "killed"))
        assert np.array_equal(first.loss, second.loss)
    assert not list((tmp_path / "killed").glob("*unfinished*"))


def test_networks_in_files_of_their_own(run_folder, tmp_path):
    paths = tuple(str(run_folder / f"seed_0/imp/round_01/order_{order}/trained.keras") for order in (0, 1, 2))
    config = dataclasses.replace(small(run_folder, tmp_path / "out", plane="through_three"), paths=paths)
    landscape(config)
    surface = Surface.load(tmp_path / "out" / "networks.h5")
    assert surface.in_plane.tolist() == [True] * 3
    assert [row["network"] for row in rows_of(tmp_path / "out" / "networks_networks.csv")] == list(paths)
    assert (tmp_path / "out" / "loss_round_00_seed_0.png").exists()
    with pytest.raises(ValueError, match="sha256 was"):
        landscape(dataclasses.replace(config, paths=paths[::-1]))


def test_networks_that_the_run_lacks_come_with_the_command_that_trains_them(run_folder, tmp_path):
    config = small(run_folder, tmp_path / "out", data_orders=(0, 1, 2, 9))
    with pytest.raises(ValueError, match=r"Received: 0 1 2 9, of which 0 1 2 3.*--data-orders 1 0 2 3 9; what is"):
        landscape(config)
    with pytest.raises(ValueError, match=r"at least 4 data orders of: dense.*Received: 0 1.*--data-orders 1 0 2 3;"):
        landscape(small(run_folder, tmp_path / "out", data_orders=(0, 1)))
    assert not (tmp_path / "out").exists()


def test_a_folder_holds_one_kind_of_surfaces(run_folder, tmp_path, undrawn):
    config = small(run_folder, tmp_path / "out", kinds=("imp",), plane="random", points=4)
    landscape(config)
    with pytest.raises(ValueError, match="points was 4, is now 9"):
        landscape(dataclasses.replace(config, points=9))
    with pytest.raises(ValueError, match="data_orders was \\[\\], is now \\[1\\]"):
        landscape(dataclasses.replace(config, data_orders=(1,)))
    with pytest.raises(ValueError, match="holds imp_round_01_seed_0 of networks 0, not 3"):
        landscape_report.check_networks(tmp_path / "out", {NAMES[1]: "3"})
    landscape(dataclasses.replace(config, points=9, force=True))
    assert rows_of(tmp_path / "out" / "surfaces.csv")[0]["points"] == "10"


def test_settings_that_fail_leave_no_folder_behind(run_folder, tmp_path):
    config = small(run_folder, tmp_path / "out", plane="random")
    for options, match in (
        ({"images_per_class": 99}, "images_per_class=99"),
        ({"plane": "cube"}, "kind='cube'"),
        ({"points": 10}, "square number"),
        ({"statistics": "none"}, "statistics"),
        ({"kinds": ("synthetic",)}, "--kinds among"),
        ({"paths": ()}, "Received: nothing"),
        ({"paths": (str(tmp_path / "absent"),)}, "that exist. Received: .*absent"),
        ({"paths": (str(run_folder), str(run_folder))}, "one run, or .keras files alone"),
        ({"paths": (str(run_folder / "config.json"),), "out": None}, "--out FOLDER"),
    ):
        with pytest.raises(ValueError, match=match):
            landscape(dataclasses.replace(config, **options))
    assert not (tmp_path / "out").exists()
