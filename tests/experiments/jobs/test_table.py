"""All jobs by name: whatever is planned can be done, and makes exactly the files that it names, the last one last."""

from pathlib import Path

import pytest
from tiny_experiments import tiny

from kerasticket.experiments.criteria import CriteriaStudy
from kerasticket.experiments.events import ignore
from kerasticket.experiments.jobs.table import JOBS
from kerasticket.experiments.plan import Planner
from kerasticket.experiments.sweep import Sweep, SweepSettings, SweepWorker

pytestmark = pytest.mark.same_on_every_backend


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    kinds = ("imp", "synthetic", "random")
    return tiny(tmp_path_factory.mktemp("jobs"), kinds=kinds, distilled_epochs=1, images_per_class=10)


def jobs_of(experiment) -> list:
    """Every action: those of a run, of a comparison of criteria and of a sweep."""
    planner = Planner(experiment.config, experiment.run, experiment.sizes)
    pruned = CriteriaStudy(experiment, 1, ("snip",))._pruning(planner, 0, "snip", 1)
    return [*planner.every(0), pruned, planner.barrier(0, "random", 1, 1, 2)]


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*.*") if path.is_file()}


def test_every_action_that_is_planned_is_in_the_table(experiment):
    """Sweeps copy too, which is no work of an experiment."""
    sweep = Sweep(Path("absent"), (), (experiment,), SweepWorker(SweepSettings(Path("absent"), ())))
    planner = Planner(experiment.config, experiment.run, experiment.sizes)
    planned = {job.action for job in (*jobs_of(experiment), *sweep._every(planner))}
    assert planned == set(JOBS)


def test_a_job_makes_the_files_that_it_names_and_no_other(experiment):
    folder, made = experiment.run.folder, []
    for job in jobs_of(experiment):
        if job.done(folder):  # on the way of a search
            continue
        before = files(folder)
        assert set(job.needs) <= before, job.name
        JOBS[job.action](experiment, ignore, **job.arguments)
        assert files(folder) - before == set(job.makes) - before, job.name
        assert job.done(folder)
        made.append(job)
    assert {job.action for job in made} == set(JOBS)
    written = [[(folder / name).stat().st_mtime_ns for name in job.makes] for job in made]
    assert all(max(times) == times[-1] for times in written)
