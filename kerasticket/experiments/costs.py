"""How long what is left of a run will take on this machine, and how much disk: an estimate, from what was measured."""

import dataclasses
import statistics
import tempfile
import time
from pathlib import Path

from kerasticket.experiments.experiment import Experiment
from kerasticket.experiments.job import Job
from kerasticket.experiments.plan import plan

STEPS = 20  # of training, by which a machine without results is measured
LARGE = ("ticket.keras", "trained.keras")


@dataclasses.dataclass(frozen=True)
class Estimate:
    """What the jobs of a run cost.

    Attributes:
        jobs: what is left to do, in the order of the plan.
        seconds_per_image: of training in one worker.
        measured: what that was measured on.
        workers: that share the jobs.
        bytes_per_network: of a ticket or a trained network as a file.
    """

    jobs: list[Job]
    seconds_per_image: float
    measured: str
    workers: int
    bytes_per_network: int

    @property
    def seconds(self) -> float:
        """As long as there is always something to do for all workers, which are as fast together as alone."""
        longest_chain = max(self._chains().values(), default=0.0)
        work = sum(job.cost for job in self.jobs)
        return self.seconds_per_image * max(work / self.workers, longest_chain)

    @property
    def bytes(self) -> int:
        """Of all tickets and trained networks; the other files are small."""
        return self.bytes_per_network * sum(name.endswith(LARGE) for job in self.jobs for name in job.makes)

    def _chains(self) -> dict[tuple[object, object], float]:
        """Work of each search, whose rounds come one after the other."""
        chains: dict[tuple[object, object], float] = {}
        for job in self.jobs:
            if job.action == "search":
                key = (job.arguments["seed"], job.arguments["kind"])
                chains[key] = chains.get(key, 0.0) + job.cost
        return chains


def estimate(experiment: Experiment, workers: int = 1) -> Estimate:
    """Measures this machine, by the run's finished trainings or by a few steps of one, and looks at the plan."""
    jobs = plan(experiment.config, experiment.run.folder, experiment.sizes)
    seconds, measured = _finished(experiment) or _trained(experiment)
    return Estimate(jobs, seconds, measured, workers, _file_size(experiment))


def _finished(experiment: Experiment) -> tuple[float, str] | None:
    images = experiment.images_of_a_training("imp")
    seconds = [row["seconds"] for row in experiment.run.results()]
    if not seconds:
        return None
    return statistics.median(seconds) / images, f"{len(seconds)} finished trainings"


def _trained(experiment: Experiment) -> tuple[float, str]:
    """Without the first steps, in which networks are traced."""
    model, pipeline = experiment.model("imp"), experiment.pipeline("imp", experiment.config.data_orders[0])
    batches = pipeline.take(STEPS)
    model.fit(batches, shuffle=False, verbose=0)
    started = time.perf_counter()
    model.fit(batches, shuffle=False, verbose=0)
    images = sum(len(labels) for _, labels in batches)
    return (time.perf_counter() - started) / images, f"a training of {images:,} images"


def _file_size(experiment: Experiment) -> int:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ticket.keras"
        experiment.start_ticket(experiment.config.init_seeds[0]).save(path)
        return path.stat().st_size
