"""Where jobs run: how many threads and workers there are, and that the flags reach the executor."""

import os

import pytest
import small_runs

from kerasticket.cli import execution, prune
from kerasticket.cli.execution import Execution
from kerasticket.experiments.executors import EXECUTORS, threads
from kerasticket.files.json_files import write_json

pytestmark = pytest.mark.same_on_every_backend

PROCESSES = "processes"


class StoppedError(Exception):
    """An executor was called; nothing more is wanted."""


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch):
    """A machine of eight cores without GPUs, whose environment says nothing of threads."""
    for module in (threads, execution):
        monkeypatch.setattr(module, "cores", lambda: 8)
    clean = {name: value for name, value in os.environ.items() if name not in threads.VARIABLES}
    monkeypatch.setattr(os, "environ", clean | {"CUDA_VISIBLE_DEVICES": ""})


def begun(folder, count) -> None:
    write_json(folder / "config.json", {"threads": count})


@pytest.mark.parametrize(
    ("flags", "run", "expected"),
    [
        (Execution(PROCESSES, workers=2, threads_per_worker=3), 2, 3),  # given
        (Execution(PROCESSES, workers=4), 5, 5),  # the run's
        (Execution(), 5, 5),
        (Execution(PROCESSES, workers=4), None, 2),  # eight cores shared by four
        (Execution(PROCESSES, workers=3), None, 2),
        (Execution(PROCESSES, workers=16), None, 1),
        (Execution(PROCESSES), None, 1),  # a worker for each core
        (Execution("ray", workers=2), None, 4),
        (Execution(), None, 8),  # all for the one process
    ],
)
def test_threads_are_those_given_then_the_runs_then_the_cores_of_each_worker(flags, run, expected, tmp_path):
    if run:
        begun(tmp_path, run)
    flags.prepare(tmp_path)
    assert threads.threads_here() == expected == flags.options()["threads"]
    assert threads.threads_here() == expected
    assert {os.environ.get(name) for name in threads.VARIABLES} == {None if expected == 8 else str(expected)}


def test_in_one_process_the_threads_of_the_environment_stay(tmp_path):
    os.environ[threads.VARIABLES[0]] = "5"
    Execution().prepare(tmp_path / "absent")
    assert threads.threads_here() == 5


def test_workers_share_gpus(tmp_path):
    os.environ["CUDA_VISIBLE_DEVICES"] = "0,1"
    Execution(PROCESSES).prepare(tmp_path)
    assert threads.threads_here() == 4
    Execution(PROCESSES, workers_per_gpu=2).prepare(tmp_path)
    assert threads.threads_here() == 2
    with pytest.raises(ValueError, match="at most 2 --workers"):
        Execution(PROCESSES, workers=3).prepare(tmp_path)


def test_a_folder_of_runs_goes_on_with_their_threads(tmp_path):
    """As those of a sweep, and of compared sets."""
    begun(tmp_path / "width=8", 3)
    (tmp_path / "width=9").mkdir()
    Execution(PROCESSES, workers=4).prepare(tmp_path)
    assert threads.threads_here() == 3


def test_workers_are_counted_as_they_will_be(tmp_path):
    for flags, expected in (
        (Execution(workers=3), 1),
        (Execution(PROCESSES, workers=3), 3),
        (Execution(PROCESSES, threads_per_worker=2), 4),
        (Execution(PROCESSES), 8),
    ):
        flags.prepare(tmp_path)
        assert flags.count() == expected


@pytest.mark.parametrize("flag", ["workers", "threads_per_worker", "workers_per_gpu"])
@pytest.mark.parametrize("value", [0, -1])
def test_less_than_one_is_refused(flag, value, tmp_path):
    with pytest.raises(ValueError, match=f"--{flag.replace('_', '-')} of at least 1. Received: {value}"):
        Execution(**{flag: value}).prepare(tmp_path)


def test_a_dry_run_is_refused_where_nothing_can_be_said():
    Execution().refuse_dry_run()
    with pytest.raises(ValueError, match="no --dry-run here: `kerasticket prune --dry-run`"):
        Execution(dry_run=True).refuse_dry_run()


def test_flags_reach_the_executor(tmp_path, monkeypatch):
    called = {}

    def stop(studies, listener, **options):
        called.update(options, folder=studies[0].folder)
        raise StoppedError

    monkeypatch.setitem(EXECUTORS, "ray", stop)
    flags = ["--executor", "ray", "--workers", "2", "--threads-per-worker", "3", "--address", "head:1", "--mixed"]
    small = ["--images-per-class", "4", "--model", "lenet_300_100", "--kinds", "imp", "--init-seeds", "0"]
    with pytest.raises(StoppedError):
        prune.run([*small, "--distilled", small_runs.SMALL.distilled, "--out", str(tmp_path / "run"), *flags])
    expected = {"workers": 2, "threads": 3, "workers_per_gpu": 1, "address": "head:1", "mixed": True}
    assert called == expected | {"folder": tmp_path / "run"}
