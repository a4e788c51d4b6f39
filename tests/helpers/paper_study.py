"""A study without networks: jobs that write files, wait, raise, or end their process, as their names say."""

import dataclasses
import os
import signal
import time
from pathlib import Path

from kerasticket.experiments.events import Event, Listener
from kerasticket.experiments.job import Job


@dataclasses.dataclass(frozen=True)
class PaperSettings:
    """Where the files are, and how long a job takes."""

    folder: Path
    seconds: float = 0.0

    def worker(self) -> "PaperWorker":
        return PaperWorker(self)


@dataclasses.dataclass
class PaperWorker:
    settings: PaperSettings
    done: int = 0

    def run(self, job: Job, listener: Listener) -> None:
        """Writes what it has read and its own name; counts its attempts, and who made them, beside the files."""
        folder = self.settings.folder
        with open(folder / "attempts.txt", "a") as attempts:
            attempts.write(f"{job.name} {os.getpid()}\n")
        time.sleep(self.settings.seconds)
        getattr(self, f"_{job.action}")(job)
        listener(Event("advance", job.name, amount=job.cost, text=job.name))
        for name in job.makes:
            read = "".join((folder / need).read_text() for need in job.needs)
            temporary = folder / f"{name}.{os.getpid()}"
            temporary.write_text(f"{read}{job.name}\n")
            temporary.rename(folder / name)
        self.done += 1

    def _write(self, job: Job) -> None:
        """Nothing else."""

    def _print(self, job: Job) -> None:
        os.write(1, b"a line of a library\n")

    def _raise(self, job: Job) -> None:
        raise ArithmeticError("no such number")

    def _fill_the_disk(self, job: Job) -> None:
        raise OSError(28, "No space left on device")

    def _tell_threads(self, job: Job) -> None:
        (self.settings.folder / "threads.txt").write_text(os.environ["TF_NUM_INTRAOP_THREADS"])

    def _die(self, job: Job) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def _die_once(self, job: Job) -> None:
        mark = self.settings.folder / f"{job.name}.died"
        if not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)


@dataclasses.dataclass(frozen=True)
class PaperStudy:
    """Chains of jobs: job i of a chain needs the file of job i - 1."""

    folder: Path
    chains: int = 2
    length: int = 3
    seconds: float = 0.0
    actions: tuple[tuple[str, str], ...] = ()  # of jobs that do something else than to write, by name

    @property
    def settings(self) -> PaperSettings:
        return PaperSettings(self.folder, self.seconds)

    def worker(self) -> PaperWorker:
        return self.settings.worker()

    def jobs(self) -> list[Job]:
        every = [self._job(chain, index) for chain in range(self.chains) for index in range(self.length)]
        return [job for job in every if not job.done(self.folder)]

    def _job(self, chain: int, index: int) -> Job:
        name = f"{chain}-{index}"
        needs = (f"{chain}-{index - 1}.txt",) if index else ()
        return Job(name, dict(self.actions).get(name, "write"), {}, needs, (f"{name}.txt",), 1.0)


def attempts(folder: Path) -> list[tuple[str, str]]:
    """(job, process) of each attempt."""
    return [(line.split()[0], line.split()[1]) for line in (folder / "attempts.txt").read_text().splitlines()]


def files(folder: Path) -> dict[str, str]:
    """The results."""
    return {path.name: path.read_text() for path in sorted(folder.glob("*-*.txt"))}
