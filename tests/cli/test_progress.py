"""Progress: a bar, lines above it, a line for each worker, and every event but mere progress in a file."""

import json
import time

import pytest

from kerasticket.cli import progress as module
from kerasticket.cli.progress import Progress
from kerasticket.experiments.events import Event

pytestmark = pytest.mark.same_on_every_backend

EVENTS = [
    Event("plan", amount=10.0, text="2 jobs, 2 workers"),
    Event("begin", "imp", "worker 0"),
    Event("advance", "imp", "worker 0", 4.0, "imp, epoch 1/2"),
    Event("note", "imp", "worker 0", text="as sparse as “that”\n"),
    Event("failed", "random", "worker 1", text="random: no luck"),
    Event("advance", "dense", "worker 1", 1.0, "dense, epoch 1/2"),
    Event("done", "imp", "worker 0"),
]


def descriptions(progress: Progress) -> list[str]:
    return [task.description for task in progress._bar.tasks]


def test_events_are_kept_as_lines_of_json(tmp_path, capsys):
    for _ in range(2):  # a command that goes on adds to them
        with Progress(log=tmp_path / "events.jsonl") as progress:
            for event in EVENTS:
                progress(event)
            kept = (tmp_path / "events.jsonl").read_text().splitlines()  # whole at once, whatever happens next
    expected = [event for event in EVENTS if event.kind != "advance"]
    assert [Event(**json.loads(line)) for line in kept] == 2 * expected


def test_each_worker_has_a_line_and_the_bar_counts_them(capsys):
    with Progress() as progress:
        for event in EVENTS:
            progress(event)
        assert descriptions(progress) == [
            "2 workers, 1 failed",
            "worker 0  imp, epoch 1/2",
            "worker 1  dense, epoch 1/2",
        ]
        progress(Event("advance", "imp", "worker 0", 1.0, "imp, epoch 2/2"))
        assert descriptions(progress)[1:] == ["worker 0  imp, epoch 2/2", "worker 1  dense, epoch 1/2"]
        bar = progress._bar.tasks[0]
        assert (bar.completed, bar.total) == (6.0, 10.0)
    assert len(progress._bar.tasks) == 1


def test_alone_the_bar_says_what_is_done(capsys):
    with Progress(total=8) as progress:
        progress(Event("advance", amount=2.0, text="dense, epoch 1/4"))
        assert descriptions(progress) == ["dense, epoch 1/4"]
        assert progress._bar.tasks[0].percentage == 25


def test_lines_name_their_worker(capsys):
    with Progress() as progress:
        progress(Event("note", "imp", "worker 0", text="found"))
        progress(Event("note", text="and here"))
        progress(Event("begin", "imp"))
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert lines[:2] == ["worker 0  found", "and here"]


def test_a_log_has_a_line_a_minute_in_place_of_the_bar(capsys, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with Progress(total=100) as progress:
        for seconds in (0.0, 59.0, 61.0, 62.0, 130.0):
            now[0] = seconds
            progress.advance(10, f"at {seconds:.0f}")
    lines = [line for line in capsys.readouterr().out.splitlines() if "left" in line and "  at " in line]
    assert [line.split()[0] for line in lines if line.split()[0] in ("30%", "50%")] == ["30%", "50%"]
    assert module.SECONDS_BETWEEN_LINES == 60


def test_what_an_earlier_process_did_is_no_work_of_this_one(capsys):
    with Progress(total=100) as progress:
        progress.reach(60, "expert 60")
        progress.reach(61, "expert 61")
        assert progress._bar.tasks[0].completed == 61
