"""The program of a worker, spoken to as an executor does: what it answers, and that it never outlives who asked."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from paper_study import PaperSettings, attempts

from kerasticket.experiments.events import Event
from kerasticket.experiments.executors.link import Begin, Done, Link, Message, Raised, Ready, packed
from kerasticket.experiments.job import Job

pytestmark = pytest.mark.same_on_every_backend

HELPERS = Path(__file__).parents[2] / "helpers"
COMMAND = [sys.executable, "-m", "kerasticket.experiments.executors.worker"]
SOON = 2.0  # seconds


@contextlib.contextmanager
def worker() -> Iterator[tuple["subprocess.Popen[bytes]", Link]]:
    """A worker that is ready."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(HELPERS), str(HELPERS.parents[1])])}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(COMMAND, env=environment, **pipes) as process:
        link = Link(process.stdout, process.stdin)
        try:
            assert link.receive() == Ready()
            yield process, link
        finally:
            process.kill()


def job(name: str, action: str = "write", needs: tuple[str, ...] = ()) -> Job:
    return Job(name, action, {}, needs, (f"{name}.txt",), 1.0)


def answers(link: Link, message: Begin) -> list[Message]:
    """Everything that a worker says of a job."""
    link.send(message)
    said: list[Message] = []
    while not said or isinstance(said[-1], Event):
        answer = link.receive()
        assert answer is not None, "the worker is gone"
        said.append(answer)
    return said


def wait_for(path: Path) -> None:
    given_up = time.monotonic() + 20
    while not path.exists():
        assert time.monotonic() < given_up
        time.sleep(0.01)


def test_jobs_are_done_one_after_the_other_by_one_process(tmp_path):
    with worker() as (process, link):
        event, end = answers(link, Begin(0, job("0-0"), packed(PaperSettings(tmp_path))))
        assert (event.kind, event.job, event.amount) == ("advance", "0-0", 1.0)
        assert end == Done()
        assert answers(link, Begin(0, job("0-1", needs=("0-0.txt",))))[-1] == Done()  # its settings are known by now
        assert (tmp_path / "0-1.txt").read_text() == "0-0\n0-1\n"
        assert attempts(tmp_path) == [("0-0", str(process.pid)), ("0-1", str(process.pid))]


def test_more_studies_than_are_kept_are_worked_on_in_turns(tmp_path):
    folders = [tmp_path / name for name in "abc"]
    with worker() as (_, link):
        for turn in (0, 1):
            for place, folder in enumerate(folders):
                folder.mkdir(exist_ok=True)
                settings = None if turn else packed(PaperSettings(folder))
                assert answers(link, Begin(place, job(f"{turn}-0"), settings))[-1] == Done()
    assert all((folder / f"{turn}-0.txt").exists() for folder in folders for turn in (0, 1))


def test_an_error_is_told_with_its_place_and_the_worker_lives_on(tmp_path):
    with worker() as (process, link):
        (raised,) = answers(link, Begin(0, job("0-0", "raise"), packed(PaperSettings(tmp_path))))
        assert (raised.error, raised.fatal) == ("ArithmeticError: no such number", False)
        assert "paper_study.py" in raised.trace
        (full,) = answers(link, Begin(0, job("0-1", "fill_the_disk")))
        assert (full.error, full.fatal) == ("OSError: [Errno 28] No space left on device", True)
        (unread, again) = (answers(link, Begin(1, job("0-2"), settings))[-1] for settings in (b"no pickle", None))
        assert isinstance(unread, Raised)
        assert unread.error == again.error
        assert answers(link, Begin(0, job("0-3")))[-1] == Done()
        assert process.poll() is None


def test_what_jobs_print_does_not_disturb_the_messages(tmp_path):
    with worker() as (process, link):
        assert answers(link, Begin(0, job("0-0", "print"), packed(PaperSettings(tmp_path))))[-1] == Done()
        process.stdin.close()
        process.wait(timeout=SOON)
        assert b"a line of a library" in process.stderr.read()


@pytest.mark.parametrize("busy", [False, True])
def test_it_ends_when_nobody_is_there_any_more_also_in_the_middle_of_a_job(busy, tmp_path):
    with worker() as (process, link):
        if busy:
            link.send(Begin(0, job("0-0"), packed(PaperSettings(tmp_path, seconds=60))))
            wait_for(tmp_path / "attempts.txt")
        process.stdin.close()
        assert process.wait(timeout=SOON) == 0
    assert not (tmp_path / "0-0.txt").exists()
