"""Which jobs of some studies are ready, taken, done or lost. Bookkeeping alone; executors ask it what is next."""

import collections
import dataclasses
import heapq
from pathlib import Path
from typing import Protocol

from kerasticket.experiments.events import Listener
from kerasticket.experiments.job import Job


class Worker(Protocol):
    """What does the jobs of one study, in one process: it keeps data and traced networks between them."""

    def run(self, job: Job, listener: Listener) -> None:
        """Makes the files of the job."""


class Settings(Protocol):
    """What a worker is made of; travels between processes, so it holds no network and no open file."""

    def worker(self) -> Worker:
        """One that does jobs in this process."""

    def files(self) -> dict[str, Path]:
        """Files of this machine that a worker of another one needs, by the names that they have there."""

    def elsewhere(self, folder: Path, out: Path) -> "Settings":
        """Settings of a worker that has these files in a folder, and the files of jobs in another one."""


class Study(Protocol):
    """Jobs over the files of a folder, and what a worker of them is made of."""

    @property
    def folder(self) -> Path:
        """Where the files are."""

    @property
    def settings(self) -> "Settings":
        """What a worker is made of."""

    def jobs(self) -> list[Job]:
        """What is left to do; each job after those that it waits for."""

    def worker(self) -> Worker:
        """Who does the jobs in this process."""


@dataclasses.dataclass(frozen=True)
class Item:
    """A job, and which of the studies it is of."""

    study: int
    job: Job


@dataclasses.dataclass(frozen=True)
class Failure:
    """A job that could not be done.

    Attributes:
        job: its name.
        error: why, with the type of the exception.
        trace: where in the program.
    """

    job: str
    error: str
    trace: str = ""

    def __str__(self) -> str:
        return f"{self.job}: {self.error}"


class Schedule:
    """The jobs of several studies, handed out in their order as soon as the files that they need are there.

    Args:
        studies: whose jobs are to be done. Their folders are looked at once, now; from then on a job's files are
            there when `done` says so.
    """

    def __init__(self, studies: list[Study]):
        self._jobs = [Item(place, job) for place, study in enumerate(studies) for job in study.jobs()]
        self._waits: dict[int, int] = {}
        self._ready: list[int] = []
        self._needed: dict[tuple[int, str], list[int]] = collections.defaultdict(list)
        self._place = {(item.study, item.job.name): index for index, item in enumerate(self._jobs)}
        self.running: set[int] = set()
        self.failures: list[Failure] = []
        for index, item in enumerate(self._jobs):
            folder = studies[item.study].folder
            missing = [name for name in item.job.needs if not (folder / name).exists()]
            self._waits[index] = len(missing)
            for name in missing:
                self._needed[item.study, name].append(index)
            if not missing:
                heapq.heappush(self._ready, index)

    def __len__(self) -> int:
        return len(self._jobs)

    @property
    def work(self) -> float:
        """Images that all jobs show to a network."""
        return sum(item.job.cost for item in self._jobs)

    @property
    def ready(self) -> bool:
        """Whether there is a job that can be done now."""
        return bool(self._ready)

    def take(self) -> Item | None:
        """The next job that can be done now; None if there is none."""
        if not self._ready:
            return None
        index = heapq.heappop(self._ready)
        self.running.add(index)
        return self._jobs[index]

    def done(self, item: Item) -> None:
        """Its files are there: jobs that waited for them are ready."""
        self._end(item)
        for name in item.job.makes:
            for index in self._needed.pop((item.study, name), ()):
                self._waits[index] -= 1
                if not self._waits[index]:
                    heapq.heappush(self._ready, index)

    def give_back(self, item: Item) -> None:
        """It was not done: somebody else may take it."""
        heapq.heappush(self._ready, self._end(item))

    def fail(self, item: Item, error: str, trace: str = "") -> None:
        """It cannot be done, nor can what needs its files."""
        self._end(item)
        self.failures.append(Failure(item.job.name, error, trace))

    @property
    def waiting(self) -> list[str]:
        """Names of the jobs that wait for files which nobody makes: what is left when nothing is ready or running."""
        blocked = {index for indices in self._needed.values() for index in indices}
        return [self._jobs[index].job.name for index in sorted(blocked)]

    def _end(self, item: Item) -> int:
        index = self._place[item.study, item.job.name]
        self.running.remove(index)
        return index
