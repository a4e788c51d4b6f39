"""Jobs in a folder of the worker's own, without Ray."""

import dataclasses
import pickle
import threading
from pathlib import Path

import pytest

from kerasticket.experiments.events import Event
from kerasticket.experiments.executors.link import Raised
from kerasticket.experiments.executors.ray_worker import Made, Package, RayWorker
from kerasticket.experiments.job import Job

pytestmark = pytest.mark.same_on_every_backend


@dataclasses.dataclass(frozen=True)
class Settings:
    inputs: Path | None = None
    out: Path | None = None

    def worker(self):
        return self

    def elsewhere(self, folder, out):
        return Settings(folder, out)

    def run(self, job, listener):
        listener(Event("advance", job.name, amount=1.0))
        ACTIONS[job.action](self, job)


def copy(settings, job):
    for name in ("made", "log"):
        settings.out.joinpath(name).write_bytes(settings.out.joinpath("needed").read_bytes())


def name_the_thread(settings, job):
    settings.out.mkdir(parents=True, exist_ok=True)
    settings.out.joinpath("made").write_text(str(threading.get_ident()))


def leave(settings, job):
    raise SystemExit("ends its process")


def fail(settings, job):
    raise ValueError("a bad network")


ACTIONS = {each.__name__: each for each in (copy, name_the_thread, leave, fail)}


@pytest.fixture
def worker():
    made = RayWorker()
    yield made
    made.close()
    assert not made.folder.exists()


def run(worker, action, files=None, package=None):
    job = Job("mine", action, {}, ("needed",), ("absent", "log", "made"))
    return list(
        worker.run(0, job, files or {}, package or Package(pickle.dumps(Settings()), {"dataset/a.png": b"image"}))
    )


def test_gives_events_then_the_files(worker):
    event, made = run(worker, "copy", {"needed": b"bytes"})
    assert event.kind == "advance"
    assert made == Made({"log": b"bytes", "made": b"bytes"})
    assert list(made.files) == ["log", "made"]  # by the last one a job is known to be done
    assert (worker.settings[0].inputs / "dataset" / "a.png").read_bytes() == b"image"


def test_all_jobs_run_in_one_thread(worker):
    first, second = (run(worker, "name_the_thread")[-1].files["made"] for _ in range(2))
    assert first == second
    assert first != str(threading.get_ident()).encode()


def test_errors_are_told_with_their_place(worker):
    raised = run(worker, "fail")[-1]
    assert (raised.error, raised.fatal) == ("ValueError: a bad network", False)
    assert "in fail" in raised.trace


def test_a_missing_file_is_fatal(worker):
    assert run(worker, "copy")[-1].fatal


def test_settings_that_cannot_be_read_are_an_error_of_the_job(worker):
    package = Package(pickle.dumps(Settings()).replace(b"Settings", b"Absences"), {})
    raised = run(worker, "copy", package=package)[-1]
    assert isinstance(raised, Raised)
    assert "Absences" in raised.error


def test_a_network_that_ends_its_process_does(worker):
    with pytest.raises(SystemExit):
        run(worker, "leave")
