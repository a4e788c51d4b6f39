"""What is left to do, on the terminal; and a dry run, which does nothing else."""

import os
import shutil
import types

import pytest
import small_runs

from kerasticket.cli import plan_table, prune
from kerasticket.cli.execution import Execution
from kerasticket.experiments.costs import Estimate
from kerasticket.experiments.job import Job

pytestmark = pytest.mark.same_on_every_backend


def jobs(count: int) -> list[Job]:
    """Searches and trainings by turns, of 60 images each."""
    kinds = [("search", {"seed": 0, "kind": "imp"}), ("train", {"seed": 0, "kind": "random"})]
    return [Job(f"job {i}", *kinds[i % 2], (), (f"{i}/ticket.keras",), 60.0) for i in range(count)]


def rows(count: int) -> list[tuple[str, ...]]:
    drawn = plan_table.table(Estimate(jobs(count), 2.0, "", 1, 10))
    return list(zip(*(column.cells for column in drawn.columns), strict=True))


def test_few_jobs_are_listed_by_name():
    assert rows(2) == [("job 0", "1", "2 min"), ("job 1", "1", "2 min")]
    assert len(rows(plan_table.MOST)) == plan_table.MOST


def test_many_jobs_are_counted_by_kind():
    assert rows(90) == [("search imp", "45", "1.5 h"), ("train random", "45", "1.5 h")]


def test_time_and_disk_stand_below(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: types.SimpleNamespace(free=5e9 * (path == tmp_path)))
    plan_table.show(Estimate(jobs(4), 0.5, "3 finished trainings", 2, 10**6), tmp_path / "not" / "there")
    last = " ".join(capsys.readouterr().out.split("4 jobs;")[1].split())
    assert last.startswith("about 1 min with 2 workers (measured: 3 finished trainings)")  # 4 x 60 x 0.5 / 2
    assert "about 4.0 MB of 5.0 GB that are free" in last


def test_a_dry_run_prints_the_jobs_and_makes_no_folder(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(os, "environ", dict(os.environ))
    prune.main(small_runs.SMALL.replace(out=str(tmp_path / "run")), Execution(dry_run=True))
    printed = capsys.readouterr().out
    for name in ("start", "imp  search 1", "dense  round 0  order 2", "imp  round 1  order 1", "imp  round 1  order 2"):
        assert f"seed 0  {name}" in printed
    assert "5 jobs; about" in printed
    assert "1 worker (measured: a training of 40 images)" in printed
    assert not list(tmp_path.iterdir())
