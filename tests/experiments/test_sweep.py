"""A sweep on small digits: what points share is done once, each point is a run of its own, kills change nothing."""

import dataclasses
import pickle
import shutil
import sys
from pathlib import Path

import keras
import pandas as pd
import pytest
from run_files import made

import kerasticket as kt
from kerasticket.experiments.events import Event
from kerasticket.experiments.executors.link import packed
from kerasticket.experiments.job import Job
from kerasticket.experiments.plan import Sizes, plan
from kerasticket.experiments.points import points
from kerasticket.experiments.sweep import Sweep, SweepSettings, finish, sweep
from kerasticket.files.json_files import read_json

pytestmark = pytest.mark.same_on_every_backend

ROOT = Path(__file__).parents[2]
SMALL = kt.experiments.Config(
    distilled=str(ROOT / "assets/distilled/digits_ipc1.h5"),
    images_per_class=4,
    model="lenet_300_100",
    width=None,
    rounds=1,
    epochs=1,
    init_seeds=(0,),
    data_orders=(1, 2),
    kinds=("imp", "synthetic"),
    augmentation="none",
)
VALUES = {"distilled_epochs": (2, 4)}
FIRST, SECOND = "distilled_epochs=2", "distilled_epochs=4"
SIZES = Sizes(train=40, distilled=40)
LEFT_OUT = {"order_2", "barrier_1_2.json"}  # parts of the names of what a run in one data order does not have
OWN = {  # what the second point has to do itself
    f"{SECOND}  seed 0  synthetic  {what}" for what in ("search 1", "round 1  order 1", "round 1  order 2")
} | {f"{SECOND}  seed 0  synthetic  round 1  barrier 1 2"}


class Counted:
    """Counts what is loaded."""

    def __init__(self, load):
        self.load, self.calls = load, 0

    def __call__(self, *given):
        self.calls += 1
        return self.load(*given)


@dataclasses.dataclass
class Whole:
    """A sweep that was killed once and is finished now.

    Attributes:
        jobs: that were planned at first.
        before: files that were there after the kill, and when they were written.
        loaded: how often data were loaded, by both calls.
    """

    folder: Path
    config: kt.experiments.Config
    jobs: list
    before: dict[Path, int]
    table: pd.DataFrame
    loaded: int

    def files(self, point: str) -> dict:
        return made(self.folder / point)


def times(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.glob("*/seed_*/**/*.*")}


def kill_in_the_second_search(event: Event) -> None:
    if (event.kind, event.job) == ("advance", f"{SECOND}  seed 0  synthetic  search 1"):
        raise KeyboardInterrupt


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Whole:
    config = SMALL.replace(out=str(tmp_path_factory.mktemp("sweeps") / "whole"))
    module = sys.modules[Sweep.__module__]  # its name in the package is the function's
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "load_data", Counted(module.load_data))
        study = Sweep.open(config, VALUES)
        jobs = study.jobs()
        with pytest.raises(KeyboardInterrupt):
            finish(study, listener=kill_in_the_second_search)
        before = times(Path(config.out))
        return Whole(Path(config.out), config, jobs, before, sweep(config, VALUES), module.load_data.calls)


def actions(jobs) -> dict[str, str]:
    return {job.name: job.action for job in jobs}


def test_what_points_have_in_common_is_done_once_and_copied(whole):
    second = {name: action for name, action in actions(whole.jobs).items() if name.startswith(SECOND)}
    assert {name for name, action in second.items() if action != "copy"} == OWN
    assert "copy" not in {job.action for job in whole.jobs if job.name.startswith(FIRST)}
    first, copied = whole.files(FIRST), whole.files(SECOND)
    assert first.keys() == copied.keys()
    assert {name.split("/")[1] for name in first if first[name] != copied[name]} == {"synthetic"}
    seconds = [read_json(kt.Run(whole.folder / point).result(0, "imp", 1, 1))["seconds"] for point in (FIRST, SECOND)]
    assert seconds[0] == seconds[1]  # it was not trained twice


def test_data_that_points_share_are_loaded_once_for_all_jobs(whole):
    assert whole.loaded == 2  # by the call that was killed, and by the one that went on


def test_a_killed_sweep_goes_on_where_it_was(whole):
    assert {path.relative_to(whole.folder).parts[0] for path in whole.before} == {FIRST, SECOND}
    assert len(whole.before) < len(times(whole.folder))
    assert whole.before == {path: times(whole.folder)[path] for path in whole.before}


def test_a_point_is_a_finished_run_of_its_own(whole):
    for point in points(whole.config, VALUES):
        assert plan(point.config, point.config.out, SIZES) == []
    events: list[Event] = []
    before = times(whole.folder)
    run = kt.experiments.distilled_pruning(point.config, listener=events.append)
    assert [event.kind for event in events] == ["plan"]
    assert times(whole.folder) == before
    assert (run.folder / "figure.png").exists()


def test_a_point_has_the_files_of_the_same_run_alone(whole, tmp_path):
    """Copied ones, and those of the search that was killed; a run in one data order has some of them."""
    (_, point) = points(whole.config, VALUES)
    kt.experiments.distilled_pruning(point.config.replace(out=str(tmp_path), data_orders=(1,)))
    alone, swept = made(tmp_path), whole.files(SECOND)
    assert set(alone) == {name for name in swept if not set(name.split("/")) & LEFT_OUT}
    assert [name for name in alone if alone[name] != swept[name]] == []


def test_the_table_has_a_row_for_each_training_and_the_mean_barrier(whole):
    rows = whole.table
    assert list(rows.columns[:3]) == ["distilled_epochs", "kind", "round"]
    assert len(rows) == 2 * 3 * 2  # points, tickets, data orders
    assert rows.groupby("distilled_epochs").size().to_dict() == {2: 6, 4: 6}
    for row in rows.to_dict("records"):
        run = kt.Run(whole.folder / f"distilled_epochs={row['distilled_epochs']}")
        barrier = read_json(run.barrier(0, row["kind"], row["round"], 1, 2))["midpoint_barrier"]
        assert row["midpoint_barrier"] == barrier
    written = pd.read_csv(whole.folder / "sweep.csv")
    pd.testing.assert_frame_equal(written, rows, check_dtype=False)
    assert (whole.folder / "sweep.png").stat().st_size > 10_000


def test_a_point_that_is_added_later_gets_what_is_done(whole, tmp_path):
    shutil.copytree(whole.folder / FIRST, tmp_path / FIRST)
    study = Sweep.open(whole.config.replace(out=str(tmp_path)), VALUES)
    planned = actions(study.jobs())
    assert {name for name, action in planned.items() if action != "copy"} == OWN
    assert all(name.startswith(SECOND) for name in planned)
    for job in study.jobs():
        if job.action == "copy":
            study.worker().run(job)
    assert set(actions(study.jobs())) == OWN
    expected = {name: content for name, content in whole.files(SECOND).items() if "synthetic" not in name}
    assert made(tmp_path / SECOND) == expected


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "at least one field to sweep"),
        ({"distilled": (SMALL.distilled, "absent.h5")}, "no such file"),
        ({"learning_rate": (0.1, -1.0)}, "learning_rate > 0"),
    ],
)
def test_bad_points_are_refused_before_any_folder_is_made(values, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        sweep(SMALL.replace(out=str(tmp_path / "sweep")), values)
    assert not list(tmp_path.iterdir())


def test_each_point_has_its_precision_whichever_was_loaded_last(tmp_path):
    """A worker keeps points, and Keras has one precision for all that is built."""
    config = SMALL.replace(out=str(tmp_path), init_seeds=(0, 1))
    before = keras.config.dtype_policy()
    worker = SweepSettings(tmp_path, tuple(points(config, {"precision": ("float32", "mixed_bfloat16")}))).worker()
    try:
        for seed, point in ((0, 0), (0, 1), (1, 0), (1, 1)):
            worker.run(Job("", "start", {"seed": seed, "point": point}, (), ()))
    finally:
        keras.config.set_dtype_policy(before)
    for seed in (0, 1):
        for precision in ("float32", "mixed_bfloat16"):
            ticket = kt.Ticket.load(kt.Run(tmp_path / f"precision={precision}").ticket(seed, "dense", 0))
            policies = {layer.dtype_policy.name for layer in ticket.model().layers}
            assert policies - {"float32"} == {precision} - {"float32"}  # logits are float32 in all networks


def test_settings_travel_with_the_files_of_each_point(whole, tmp_path):
    grid = tuple(points(whole.config, VALUES))
    settings = pickle.loads(packed(SweepSettings(whole.folder, grid)))
    assert settings == SweepSettings(whole.folder, grid)
    for name, path in settings.files().items():
        (tmp_path / "files" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, tmp_path / "files" / name)
    there = settings.elsewhere(tmp_path / "files", tmp_path / "out")
    assert [point.config.out for point in there.points] == [str(tmp_path / "out" / name) for name in (FIRST, SECOND)]
    for point in there.points:
        assert Path(point.config.distilled).read_bytes() == Path(SMALL.distilled).read_bytes()
        assert Path(point.config.distilled).is_relative_to(tmp_path)
    assert there.folder == tmp_path / "out"
