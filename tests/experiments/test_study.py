"""Distilled pruning as a study: its jobs, its worker, and the settings that travel."""

import importlib
import pickle

import pytest
import small_runs
from tiny_experiments import tiny

import kerasticket as kt
from kerasticket.experiments.events import Event
from kerasticket.experiments.executors.link import packed
from kerasticket.experiments.job import Job
from kerasticket.experiments.jobs.table import JOBS
from kerasticket.experiments.plan import Sizes, plan
from kerasticket.experiments.study import ExperimentWorker, PruningStudy, Settings

pytestmark = pytest.mark.same_on_every_backend


def test_a_job_is_done_by_its_action_with_its_arguments_and_told_by_its_name(tmp_path, monkeypatch):
    called, events = [], []

    def action(experiment, listener, **arguments):
        called.append((experiment, arguments))
        listener(Event("note", text="so far"))

    monkeypatch.setitem(JOBS, "act", action)
    experiment = tiny(tmp_path)
    ExperimentWorker(experiment).run(Job("its name", "act", {"seed": 3}, (), ("a",)), events.append)
    assert called == [(experiment, {"seed": 3})]
    assert [(event.kind, event.job, event.text) for event in events] == [("note", "its name", "so far")]


def test_the_jobs_are_those_of_the_plan_in_a_folder_that_is_locked(tmp_path):
    config = small_runs.SMALL.replace(out=str(tmp_path))
    study = PruningStudy.open(Settings(config))
    assert study.jobs() == plan(config, tmp_path, Sizes(train=40, distilled=40))
    assert study.folder == tmp_path
    assert study.worker().experiment is study.experiment
    assert study.experiment.run.lock
    study.worker().run(study.jobs()[0])
    assert study.jobs()[0].name == "seed 0  imp  search 1"
    study.experiment.run.close()


def test_a_worker_of_settings_makes_the_same_bytes_as_that_of_the_study(tmp_path):
    """It loads everything anew, as in another process."""
    job = plan(small_runs.SMALL, "absent", Sizes(train=40))[0]
    for name in ("here", "there"):
        settings = Settings(small_runs.SMALL.replace(out=str(tmp_path / name)))
        pickle.loads(packed(settings)).worker().run(job)
    tickets = [kt.Run(tmp_path / name).ticket(0, "dense", 0).read_bytes() for name in ("here", "there")]
    assert tickets[0] == tickets[1]


@pytest.mark.parametrize("name", ["distilled_pruning", "plan", "sweep"])
def test_a_function_is_not_hidden_by_the_file_of_its_name(name):
    module = importlib.import_module(f"kerasticket.experiments.{name}")
    setattr(kt.experiments, name, module)  # as import does
    assert getattr(kt.experiments, name) is getattr(module, name)
