"""Bookkeeping of jobs: order, readiness, giving back, failing."""

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paper_study import PaperStudy

from kerasticket.experiments.job import Job
from kerasticket.experiments.schedule import Schedule

pytestmark = pytest.mark.same_on_every_backend


def names(items) -> list[str]:
    return [item.job.name for item in items if item]


def test_a_job_is_ready_when_its_files_are_there(tmp_path):
    schedule = Schedule([PaperStudy(tmp_path, chains=2, length=2)])
    first, second = schedule.take(), schedule.take()
    assert names([first, second]) == ["0-0", "1-0"]
    assert schedule.take() is None
    schedule.done(second)
    assert names([schedule.take()]) == ["1-1"]
    schedule.give_back(first)
    assert names([schedule.take()]) == ["0-0"]
    assert (len(schedule), schedule.work) == (4, 4.0)


def test_what_needs_a_failed_job_is_not_begun(tmp_path):
    schedule = Schedule([PaperStudy(tmp_path, chains=1, length=3)])
    schedule.fail(schedule.take(), "no luck")
    assert schedule.take() is None
    assert schedule.waiting == ["0-1", "0-2"]
    assert [str(failure) for failure in schedule.failures] == ["0-0: no luck"]


def test_files_that_are_there_are_not_waited_for(tmp_path):
    (tmp_path / "0-0.txt").write_text("0-0\n")
    schedule = Schedule([PaperStudy(tmp_path, chains=1, length=2)])
    assert names([schedule.take(), schedule.take()]) == ["0-1"]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 4), st.integers(1, 5), st.integers(0, 2**32))
def test_every_job_is_done_once_and_after_what_it_needs(tmp_path_factory, chains, length, seed):
    rng = random.Random(seed)
    folder = tmp_path_factory.mktemp("schedule")
    schedule, running, done = Schedule([PaperStudy(folder, chains, length)]), [], []
    while schedule.ready or running:
        if schedule.ready and rng.random() < 0.6:
            running.append(schedule.take())
        elif running:
            item = running.pop(rng.randrange(len(running)))
            if rng.random() < 0.3:
                schedule.give_back(item)
            else:
                schedule.done(item)
                done.append(item.job.name)
    assert sorted(done) == sorted(f"{chain}-{index}" for chain in range(chains) for index in range(length))
    assert all(done.index(name) > done.index(f"{name[0]}-{int(name[2:]) - 1}") for name in done if name[2:] != "0")


class ManyJobs:
    """A dense network and 9,999 trainings of tickets that wait for it."""

    def __init__(self, folder):
        self.folder, self.settings = folder, None

    def jobs(self):
        first = Job("first", "write", {}, (), ("first.txt",))
        return [first, *(Job(f"{i}", "write", {}, ("first.txt",), (f"{i}.txt",)) for i in range(9_999))]


def test_ten_thousand_jobs_are_handed_out_in_a_second(tmp_path):
    started, schedule = time.process_time(), Schedule([ManyJobs(tmp_path)])
    while item := schedule.take():
        schedule.done(item)
    assert time.process_time() - started < 1
