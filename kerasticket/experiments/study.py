"""Distilled pruning as a study: its jobs, what workers are made of, and who does the jobs."""

import dataclasses
import functools
from pathlib import Path

import keras

from kerasticket.experiments.config import Config
from kerasticket.experiments.elsewhere import elsewhere, files_of
from kerasticket.experiments.events import Event, Listener, ignore
from kerasticket.experiments.experiment import Experiment
from kerasticket.experiments.images import Own
from kerasticket.experiments.job import Job
from kerasticket.experiments.jobs.table import JOBS
from kerasticket.experiments.plan import plan
from kerasticket.models import own as own_networks


@dataclasses.dataclass(frozen=True)
class Settings:
    """What an experiment is made of, as it travels to other processes.

    Attributes:
        config: of the run.
        own: images of the caller's.
        builder: the caller's function for networks, in place of `config.model`; must be importable to travel.
    """

    config: Config
    own: Own = dataclasses.field(default_factory=Own)
    builder: own_networks.Builder | None = None

    def worker(self) -> "ExperimentWorker":
        """One that does jobs in this process; its run is another's to lock."""
        return ExperimentWorker(Experiment.load(self.config, own=self.own, builder=self.builder))

    def files(self) -> dict[str, Path]:
        """Files of this machine that a worker of another one needs, by the names that they have there."""
        return files_of(self.config)

    def elsewhere(self, folder: Path, out: Path) -> "Settings":
        """Settings of a worker that has these files in a folder, and the files of jobs in another one."""
        return dataclasses.replace(self, config=elsewhere(self.config, folder, out))


@dataclasses.dataclass(frozen=True)
class ExperimentWorker:
    """Does jobs with the data and the traced networks of an experiment."""

    experiment: Experiment

    def run(self, job: Job, listener: Listener = ignore) -> None:
        """Does a job, and tells how far it is."""
        keras.config.set_dtype_policy(self.experiment.config.precision)  # another's may have been loaded since
        JOBS[job.action](self.experiment, functools.partial(_tell, listener, job.name), **job.arguments)


@dataclasses.dataclass(frozen=True)
class PruningStudy:
    """The jobs of a run of distilled pruning."""

    settings: Settings
    experiment: Experiment

    @classmethod
    def open(cls, settings: Settings) -> "PruningStudy":
        """Checks everything, then makes the folder or goes on in it.

        Raises:
            ValueError: as `Experiment.open`.
        """
        return cls(settings, Experiment.open(settings.config, own=settings.own, builder=settings.builder))

    @property
    def folder(self) -> Path:
        return self.experiment.run.folder

    def jobs(self) -> list[Job]:
        """What is left to do."""
        return plan(self.experiment.config, self.folder, self.experiment.sizes)

    def worker(self) -> ExperimentWorker:
        """One with what is loaded already."""
        return ExperimentWorker(self.experiment)


def _tell(listener: Listener, job: str, event: Event) -> None:
    listener(dataclasses.replace(event, job=job))
