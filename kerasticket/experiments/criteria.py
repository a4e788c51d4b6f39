"""Criteria side by side: IMP with rewinding, and pruning at initialization by each of several criteria."""

import dataclasses
from pathlib import Path
from typing import Any

from kerasticket.experiments.config import Config
from kerasticket.experiments.events import Listener, ignore
from kerasticket.experiments.executors import execute
from kerasticket.experiments.experiment import Experiment
from kerasticket.experiments.job import Job
from kerasticket.experiments.jobs.tickets import IMAGES_PER_CLASS
from kerasticket.experiments.plan import Planner, trained_rounds
from kerasticket.experiments.run import Run
from kerasticket.experiments.study import ExperimentWorker, Settings
from kerasticket.pruning.criteria import get

CRITERIA = ("snip", "grasp", "synflow", "magnitude", "random")


@dataclasses.dataclass(frozen=True)
class CriteriaStudy:
    """The jobs of a comparison; tickets of all kinds keep equally many weights.

    Attributes:
        experiment: whose kinds are ("imp",).
        imp_seeds: how many initializations IMP has, the first ones.
        criteria: of pruning at initialization.
    """

    experiment: Experiment
    imp_seeds: int
    criteria: tuple[str, ...]

    @classmethod
    def open(cls, config: Config, imp_seeds: int = 2, criteria: tuple[str, ...] = CRITERIA) -> "CriteriaStudy":
        """Checks everything, then makes the folder or goes on in it.

        Raises:
            ValueError: unknown criteria, or settings that do not fit.
        """
        for criterion in criteria:
            get(criterion)
        if len(set(criteria)) < len(criteria):
            raise ValueError(f"Expected --criteria to be distinct. Received: {criteria}.")
        if config.kinds != ("imp",) or config.start:
            raise ValueError("Expected neither --kinds nor --start here: what is compared are IMP and the --criteria.")
        if config.images_per_class is not None and config.images_per_class < IMAGES_PER_CLASS:
            raise ValueError(
                f"Expected --images-per-class of at least {IMAGES_PER_CLASS}, which criteria look at. "
                f"Received: {config.images_per_class}."
            )
        if not 1 <= imp_seeds <= len(config.init_seeds):
            raise ValueError(f"Expected --imp-seeds in 1..{len(config.init_seeds)}. Received: {imp_seeds}.")
        return cls(Experiment.open(config), imp_seeds, criteria)

    @property
    def folder(self) -> Path:
        return self.experiment.run.folder

    @property
    def settings(self) -> Settings:
        return Settings(self.experiment.config)

    def worker(self) -> ExperimentWorker:
        return ExperimentWorker(self.experiment)

    def jobs(self) -> list[Job]:
        """What is left to do."""
        planner = Planner(self.experiment.config, self.experiment.run, self.experiment.sizes)
        seeds = enumerate(self.experiment.config.init_seeds)
        return [job for place, seed in seeds for job in self._of_seed(planner, seed, place < self.imp_seeds)]

    def _of_seed(self, planner: Planner, seed: int, imp: bool) -> list[Job]:
        searches = planner.searches(seed, "imp") if imp else []
        rounds = trained_rounds(planner.config, 0)
        pruned = [self._pruning(planner, seed, name, index) for name in self.criteria for index in rounds]
        trainings = planner.trainings(seed, (*(("imp",) if imp else ()), *self.criteria))
        return planner.left([planner.start(seed), *searches, *pruned, *trainings])

    def _pruning(self, planner: Planner, seed: int, criterion: str, index: int) -> Job:
        return Job(
            f"seed {seed}  {criterion}  mask {index}",
            "prune_at_initialization",
            {"seed": seed, "criterion": criterion, "index": index},
            (planner.ticket(seed, *planner.origin),),
            (planner.ticket(seed, criterion, index),),
        )


def finish(study: CriteriaStudy, executor: str = "inline", listener: Listener = ignore, **options: Any) -> Run:
    """Does what is left of a comparison.

    Raises:
        FileNotFoundError: what was made did not stay.
    """
    execute([study], executor, listener, **options)
    study.experiment.run.close()
    if gone := study.jobs():
        raise FileNotFoundError(
            f"{len(gone)} results are not where they were written, such as that of '{gone[0].name}': they were deleted "
            "while this command worked. Run the same command again; it makes what is missing."
        )
    return study.experiment.run
