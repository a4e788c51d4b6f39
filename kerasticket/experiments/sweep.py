"""A sweep: one run for each point of a grid of settings, with what points have in common done once."""

import collections
import dataclasses
import itertools
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from kerasticket.experiments import figures
from kerasticket.experiments.config import Config
from kerasticket.experiments.elsewhere import elsewhere, files_of
from kerasticket.experiments.events import Listener, ignore
from kerasticket.experiments.executors import execute
from kerasticket.experiments.experiment import Experiment
from kerasticket.experiments.frames import barriers, results
from kerasticket.experiments.images import Own, StudyImages, load_data
from kerasticket.experiments.job import Job
from kerasticket.experiments.plan import Planner, trained_rounds
from kerasticket.experiments.points import Point, common, points
from kerasticket.experiments.report import write_report
from kerasticket.experiments.study import ExperimentWorker
from kerasticket.files.atomic import atomic
from kerasticket.files.rows import write_rows

KEPT = 2  # points whose networks a worker keeps


@dataclasses.dataclass(frozen=True)
class SweepSettings:
    """What a worker of a sweep is made of."""

    folder: Path
    points: tuple[Point, ...]

    def worker(self) -> "SweepWorker":
        """One that does jobs in this process."""
        return SweepWorker(self)

    def files(self) -> dict[str, Path]:
        """Files of this machine that a worker of another one needs."""
        return {f"{place}/{name}": path for place, of in self._by_point() for name, path in of.items()}

    def elsewhere(self, folder: Path, out: Path) -> "SweepSettings":
        """Settings of a worker that has these files in a folder, and the files of jobs in another one."""
        moved = (
            dataclasses.replace(point, config=elsewhere(point.config, folder / str(place), out / point.name))
            for place, point in enumerate(self.points)
        )
        return SweepSettings(out, tuple(moved))

    def _by_point(self) -> list[tuple[int, dict[str, Path]]]:
        return [(place, files_of(point.config)) for place, point in enumerate(self.points)]


@dataclasses.dataclass
class SweepWorker:
    """Does jobs of all points; the data of a sweep are loaded once for points that share them."""

    settings: SweepSettings
    experiments: "collections.OrderedDict[int, Experiment]" = dataclasses.field(default_factory=collections.OrderedDict)
    images: dict[tuple[Any, ...], StudyImages] = dataclasses.field(default_factory=dict)

    def run(self, job: Job, listener: Listener = ignore) -> None:
        """Does a job, whose arguments say of which point it is."""
        arguments = dict(job.arguments)
        index = int(arguments.pop("point"))
        if job.action == "copy":
            for source, target in zip(job.needs, job.makes, strict=True):
                _copy(self.settings.folder / source, self.settings.folder / target)
            return
        worker = ExperimentWorker(self.experiment(index))
        worker.run(dataclasses.replace(job, arguments=arguments), listener)

    def experiment(self, index: int) -> Experiment:
        """That of a point."""
        if index not in self.experiments:
            while len(self.experiments) >= KEPT:
                self.experiments.popitem(last=False)
            config = self.settings.points[index].config
            self.experiments[index] = Experiment.load(config, images=self.images_of(config))
        self.experiments.move_to_end(index)
        return self.experiments[index]

    def images_of(self, config: Config) -> StudyImages:
        """The data of a point."""
        key = (config.dataset, config.images_per_class, config.image_size, config.distilled, config.kinds)
        if key not in self.images:
            self.images[key] = load_data(config, Own())
        return self.images[key]


@dataclasses.dataclass(frozen=True)
class Sweep:
    """The jobs of a sweep over the files of its folder.

    Attributes:
        points: the grid.
        opened: an experiment for each, whose folder is locked.
        here: the worker of this process, which has loaded the data.
    """

    folder: Path
    points: tuple[Point, ...]
    opened: tuple[Experiment, ...]
    here: SweepWorker

    @classmethod
    def open(cls, config: Config, values: Mapping[str, Sequence[Any]]) -> "Sweep":
        """Checks every point, then makes the folders or goes on in them.

        Raises:
            ValueError: bad settings of any point.
        """
        grid = tuple(points(config, values))
        worker = SweepWorker(SweepSettings(Path(config.out), grid))
        for point in grid:
            Experiment.load(point.config, images=worker.images_of(point.config)).check()
        opened = tuple(Experiment.open(point.config, images=worker.images_of(point.config)) for point in grid)
        for experiment in opened:  # networks that were made to check the settings; workers make their own
            experiment.models.clear()
            experiment.pipelines.clear()
        return cls(Path(config.out), grid, opened, worker)

    @property
    def settings(self) -> SweepSettings:
        return SweepSettings(self.folder, self.points)

    def worker(self) -> SweepWorker:
        """One with what is loaded already."""
        return self.here

    def jobs(self) -> list[Job]:
        """What is left to do: where points have a job in common, one does it, and the others copy its files."""
        planners = [Planner(one.config, one.run, one.sizes) for one in self.opened]
        doers: dict[tuple[Any, ...], Job] = {}
        for index, planner in enumerate(planners):
            for job in self._every(planner):
                if all((planner.run.folder / name).exists() for name in job.makes):
                    doers.setdefault(common(planner.config, job), self._within(index, job))
        jobs = []
        for index, planner in enumerate(planners):
            for job in planner.left(self._every(planner)):
                own = self._within(index, job)
                doer = doers.setdefault(common(planner.config, job), own)
                jobs.append(own if doer is own else self._copying(index, doer, own))
        return jobs

    def _every(self, planner: Planner) -> list[Job]:
        """All jobs of a point, done or not: those of a run, and its barriers."""
        seeds = planner.config.init_seeds
        return [job for seed in seeds for job in (*planner.every(seed), *self._barriers(planner, seed))]

    def _barriers(self, planner: Planner, seed: int) -> list[Job]:
        config = planner.config
        if not config.keep_trained:
            return []
        rounds = trained_rounds(config, planner.sizes.first_round)
        tickets = [planner.origin, *((kind, index) for kind in config.kinds for index in rounds)]
        pairs = list(itertools.combinations(sorted(config.data_orders), 2))
        return [planner.barrier(seed, *ticket, *pair) for ticket in tickets for pair in pairs]

    def _within(self, index: int, job: Job) -> Job:
        """A point's job, as one of the sweep."""
        name = self.points[index].name
        return dataclasses.replace(
            job,
            name=f"{name}  {job.name}",
            arguments=job.arguments | {"point": index},
            needs=tuple(f"{name}/{file}" for file in job.needs),
            makes=tuple(f"{name}/{file}" for file in job.makes),
        )

    def _copying(self, index: int, doer: Job, own: Job) -> Job:
        return Job(own.name, "copy", {"point": index}, doer.makes, own.makes)


def sweep(
    config: Config,
    values: Mapping[str, Sequence[Any]],
    *,
    executor: str = "inline",
    listener: Listener = ignore,
    **options: Any,
) -> pd.DataFrame:
    """Runs distilled pruning at every point of a grid.

    Each point is a run of its own in `config.out`, which `distilled_pruning` would continue. What points have in
    common, such as the dense trainings of points that differ in the fraction alone, is done once and copied. With two
    data orders or more, the barrier between them is measured for every ticket. Writes sweep.csv and sweep.png.

    Args:
        config: of everything that is not swept; `config.out` is the folder of the sweep.
        values: field of `Config` -> its values, such as {"learning_rate": (.01, .03), "width": (32, 64)}.
        executor, listener, **options: as of `distilled_pruning`.

    Returns:
        A row for each training: the swept fields, then those of `results`, and the mean barrier of its ticket.

    Raises:
        ValueError: bad settings of any point, before any work is done.
        FailedJobsError: some jobs ended in errors; all that need nothing of them are done.

    Example:
        >>> import kerasticket as kt
        >>> config = kt.experiments.Config(out="runs/atlas", data_orders=(1, 2))
        >>> frame = kt.experiments.sweep(config, {"learning_rate": (0.01, 0.03)})  # doctest: +SKIP
    """
    return finish(Sweep.open(config, values), executor, listener, **options)


def finish(study: Sweep, executor: str = "inline", listener: Listener = ignore, **options: Any) -> pd.DataFrame:
    """Does what is left of an open sweep, and writes its table and figure."""
    execute([study], executor, listener, **options)
    for point, experiment in zip(study.points, study.opened, strict=True):
        write_report(experiment.run, point.name)
        experiment.close()
    table = frame(study)
    write_rows(table.to_dict("records"), study.folder / "sweep.csv")
    with atomic(study.folder / "sweep.png") as temporary:
        figures.sweep(table, list(study.points[0].values)).savefig(temporary, dpi=150)
    return table


def frame(study: Sweep) -> pd.DataFrame:
    """All results of a sweep, from its files."""
    tables = []
    for point in study.points:
        rows, heights = results(point.config.out), barriers(point.config.out)
        keys = ["kind", "round", "init_seed"]
        mean = heights.groupby(keys, as_index=False)[["midpoint_barrier"]].mean()
        tables.append(rows.assign(**point.values).merge(mean, how="left", on=keys))
    table = pd.concat(tables, ignore_index=True)
    swept = list(study.points[0].values)
    return table[[*swept, *(column for column in table.columns if column not in swept)]]


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic(target) as temporary:
        shutil.copyfile(source, temporary)
