"""Progress on the terminal: a bar with the time left, a line for everything that is finished, one for each worker."""

import dataclasses
import json
import time
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from kerasticket.experiments.events import Event

SECONDS_BETWEEN_LINES = 60  # in a log file, where there is no bar


class Progress:
    """A bar over `total` units of work (images shown to a network), and lines above it.

    Use as a context manager. It is a listener of studies, whose events it draws and writes down.

    Args:
        total: of the work; events of kind "plan" set it too.
        log: file that gets a line of JSON for each event that is no mere progress.
    """

    def __init__(self, total: float = 0, log: Path | None = None):
        self.total, self._log = total, log
        self._console = Console(highlight=False, soft_wrap=True)
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
        times = (TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
        self._bar = RichProgress(*columns, *times, console=self._console, speed_estimate_period=120)
        self._workers: dict[str, TaskID] = {}
        self._failures = 0

    def __enter__(self) -> "Progress":
        self._task = self._bar.add_task("", total=self.total)
        self._bar.start()
        self._last_line = time.monotonic()
        self._file: TextIO | None = self._log.open("a", encoding="utf-8") if self._log else None
        return self

    def __exit__(self, *error: object) -> None:
        for task in self._workers.values():
            self._bar.remove_task(task)
        self._bar.stop()
        if self._file:
            self._file.close()

    def __call__(self, event: Event) -> None:
        """Draws an event of a study."""
        if event.kind == "plan":
            self._bar.update(self._task, total=event.amount)
        elif event.kind == "advance":
            self.advance(event.amount, self._description(event))
        elif event.text:
            self._failures += event.kind == "failed"
            self.line(f"{event.worker}  {event.text}" if event.worker else event.text)
        if self._file and event.kind != "advance":
            self._file.write(json.dumps(dataclasses.asdict(event)) + "\n")
            self._file.flush()

    def line(self, text: str) -> None:
        self._console.print(text)

    def reach(self, done: float, description: str) -> None:
        """As `advance`, but says how much is done; the first call may come after work of an earlier process."""
        if not self._bar.tasks[0].completed and done > 1:
            self._bar.reset(self._task, completed=int(done))
        self.advance(done - self._bar.tasks[0].completed, description)

    def advance(self, amount: float, description: str) -> None:
        self._bar.update(self._task, advance=amount, description=description)
        if not self._console.is_terminal and time.monotonic() - self._last_line > SECONDS_BETWEEN_LINES:
            task = self._bar.tasks[0]
            left = "unknown" if task.time_remaining is None else f"{task.time_remaining / 60:.1f} min"
            self.line(f"{task.percentage:.0f}%  left {left}  {description}")
            self._last_line = time.monotonic()

    def _description(self, event: Event) -> str:
        """Of the bar: what the one worker does, or how many there are, each of which has a line of its own then."""
        if not event.worker:
            return event.text
        if event.worker not in self._workers:
            self._workers[event.worker] = self._bar.add_task("", total=None)
        self._bar.update(self._workers[event.worker], description=f"{event.worker}  {event.text}")
        failed = f", {self._failures} failed" if self._failures else ""
        return f"{len(self._workers)} workers{failed}"
