"""Flags of all studies that say where their jobs run, and nothing about what they find."""

import dataclasses
import os
from pathlib import Path
from typing import Any

from kerasticket.experiments.executors.devices import assignments, gpus
from kerasticket.experiments.executors.threads import cores, environment_of, threads_here
from kerasticket.files.json_files import read_json


@dataclasses.dataclass(frozen=True)
class Execution:
    """Where jobs run."""

    executor: str = "inline"
    """inline: in this process; processes: in several of this machine; ray: on a Ray cluster (pip install ray)."""
    workers: int | None = None
    """Of processes and ray; default: one for each GPU, else as many as the cores allow."""
    threads_per_worker: int | None = None
    """Default: as the run was begun with, else the cores shared by the workers. Part of what decides the last bits."""
    workers_per_gpu: int = 1
    """That share one GPU."""
    address: str | None = None
    """Of a Ray cluster; default: one on this machine."""
    mixed: bool = False
    """Let Ray workers with other packages or another CPU take part: results may differ in their last bits."""
    dry_run: bool = False
    """Show what is left to do, how long it will take and how much disk, and do nothing."""

    def prepare(self, out: str | Path) -> None:
        """Sets the threads of this process and its workers; before a backend starts, which would not see it.

        Raises:
            ValueError: less than one worker or thread.
        """
        threads = 1 if self.threads_per_worker is None else self.threads_per_worker
        assignments(self.workers, threads, self.workers_per_gpu, cores())
        wanted = self._threads(Path(out))
        if wanted != threads_here():  # else each backend may do as it does by itself
            os.environ |= environment_of(wanted)

    def count(self) -> int:
        """How many workers there will be, on this machine."""
        if self.executor == "inline":
            return 1
        return len(assignments(self.workers, threads_here(), self.workers_per_gpu, cores()))

    def options(self) -> dict[str, Any]:
        """For `execute`."""
        return {
            "executor": self.executor,
            "workers": self.workers,
            "threads": threads_here(),  # that `prepare` has set
            "workers_per_gpu": self.workers_per_gpu,
            "address": self.address,
            "mixed": self.mixed,
        }

    def refuse_dry_run(self) -> None:
        """For commands that cannot say beforehand what they cost.

        Raises:
            ValueError: --dry-run.
        """
        if self.dry_run:
            raise ValueError("Expected no --dry-run here: `kerasticket prune --dry-run` shows what one run costs.")

    def _threads(self, out: Path) -> int:
        if self.threads_per_worker is not None:
            return self.threads_per_worker
        if begun := _threads_of(out):
            return begun
        if self.executor == "inline":
            return threads_here()
        count = self.workers or (len(gpus()) * self.workers_per_gpu) or cores()
        return max(1, cores() // count)


def _threads_of(out: Path) -> int | None:
    """Those that a run was begun with, or the first of the runs in a folder."""
    configs = (path for path in (out / "config.json", *sorted(out.glob("*/config.json"))) if path.exists())
    return next((read_json(path).get("threads") for path in configs), None)
