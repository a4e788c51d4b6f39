"""Progress on the terminal: a bar with the time left, and a line for everything that is finished."""

import time

from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from kerasticket.experiments.events import Event

SECONDS_BETWEEN_LINES = 60  # in a log file, where there is no bar


class Progress:
    """A bar over `total` units of work (images shown to a network), and lines above it.

    Use as a context manager; `total` may be set before.
    """

    def __init__(self, total: float = 0):
        self.total = total
        self._console = Console(highlight=False, soft_wrap=True)
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
        times = (TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
        self._bar = RichProgress(*columns, *times, console=self._console, speed_estimate_period=120)

    def __enter__(self) -> "Progress":
        self._task = self._bar.add_task("", total=self.total)
        self._bar.start()
        self._last_line = time.monotonic()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def __call__(self, event: Event) -> None:
        """Draws an event of a study."""
        if event.kind == "advance":
            self.advance(event.amount, event.text)
        elif event.text:
            self.line(event.text)

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
