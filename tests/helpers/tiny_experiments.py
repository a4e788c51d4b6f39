"""Experiments on a few digits whose jobs take about a second, and the jobs that are left of them."""

from pathlib import Path
from typing import Any

from small_runs import SMALL

from kerasticket.experiments.events import Listener, ignore
from kerasticket.experiments.experiment import Experiment
from kerasticket.experiments.job import Job
from kerasticket.experiments.plan import plan
from kerasticket.experiments.study import ExperimentWorker


def tiny(folder: Path, **changes: Any) -> Experiment:
    """One round of a small fully connected network; without a lock, as in a worker."""
    return Experiment.load(SMALL.replace(**({"out": str(folder)} | changes)))


def left(experiment: Experiment) -> dict[str, Job]:
    """Jobs by name."""
    return {job.name: job for job in plan(experiment.config, experiment.run.folder, experiment.sizes)}


def do(experiment: Experiment, *names: str, listener: Listener = ignore) -> None:
    """Does some of the jobs, in this order."""
    for name in names:
        ExperimentWorker(experiment).run(left(experiment)[name], listener)
