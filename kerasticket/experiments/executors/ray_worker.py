"""A worker on another machine: it does jobs in a folder of its own, and gives the files that they make as bytes."""

import dataclasses
import pickle
import platform
import queue
import shutil
import tempfile
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from kerasticket.experiments.events import Event, Listener
from kerasticket.experiments.executors.link import Raised
from kerasticket.experiments.executors.machine import signature
from kerasticket.experiments.executors.worker import KEPT
from kerasticket.experiments.job import Job
from kerasticket.experiments.schedule import Settings, Worker
from kerasticket.files.atomic import atomic


@dataclasses.dataclass(frozen=True)
class Package:
    """What a worker is made of.

    Attributes:
        settings: a pickle, which is read where errors of it are told, and with functions of notebooks in it.
        files: that the settings name.
    """

    settings: bytes
    files: dict[str, bytes]


@dataclasses.dataclass(frozen=True)
class Made:
    """A job is done: its files."""

    files: dict[str, bytes]


class RayWorker:
    """The class of Ray's actors; nothing in it knows Ray."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="kerasticket-"))
        self.settings: dict[int, Settings] = {}
        self.workers: dict[int, Worker] = {}
        # One thread for all jobs: Keras keeps its precision, and the names of layers, for each thread.
        self.thread = ThreadPoolExecutor(max_workers=1)

    def about(self) -> tuple[str, dict[str, str]]:
        """Name of its machine, and what of it decides the last bits of a result."""
        return platform.node(), signature()

    def run(
        self, study: int, job: Job, files: dict[str, bytes], package: Package | None
    ) -> Iterator[Event | Made | Raised]:
        """What happens in a job, at last how it ended.

        Args:
            study: of which the job is.
            files: of the study's folder which the job looks at, and which are not here yet.
            package: with the first job of a study.
        """
        events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        future = self.thread.submit(self._do, study, job, files, package, events.put)
        future.add_done_callback(lambda _: events.put(None))
        while (event := events.get()) is not None:
            yield event
        yield future.result()

    def close(self) -> None:
        """Leaves nothing on the disk; a job that runs is nobody's any more."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _do(
        self, study: int, job: Job, files: dict[str, bytes], package: Package | None, listener: Listener
    ) -> Made | Raised:
        out = self.folder / str(study) / "run"
        try:
            if package is not None:
                self._unpack(study, package, out)
            write_files(out, files)
            self._worker(study).run(job, listener)
            return Made(read_files(out, job.makes))
        except OSError as error:
            return Raised(f"{type(error).__name__}: {error}", traceback.format_exc(), fatal=True)
        except Exception as error:  # whatever a network or the data of a user raise: other jobs go on
            return Raised(f"{type(error).__name__}: {error}", traceback.format_exc())

    def _unpack(self, study: int, package: Package, out: Path) -> None:
        folder = self.folder / str(study) / "settings"
        write_files(folder, package.files)
        self.settings[study] = pickle.loads(package.settings).elsewhere(folder, out)
        self.workers.pop(study, None)

    def _worker(self, study: int) -> Worker:
        if study not in self.workers:
            while len(self.workers) >= KEPT:
                self.workers.pop(next(iter(self.workers)))
            self.workers[study] = self.settings[study].worker()
        return self.workers[study]


def read_files(folder: Path, names: tuple[str, ...]) -> dict[str, bytes]:
    """Those that are there."""
    return {name: (folder / name).read_bytes() for name in names if (folder / name).exists()}


def write_files(folder: Path, files: dict[str, bytes]) -> None:
    """In their order; each of them is whole or not there."""
    for name, content in files.items():
        with atomic(folder / name) as temporary:
            temporary.write_bytes(content)
