"""Progress on the terminal: a bar with the time left, and a line for everything that is finished."""

import keras
from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress


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
        return self

    def __exit__(self, *error) -> None:
        self._bar.stop()

    def line(self, text: str) -> None:
        self._console.print(text)

    def advance(self, amount: float, description: str) -> None:
        self._bar.update(self._task, advance=amount, description=description)


class EpochProgress(keras.callbacks.Callback):
    """Moves the bar by `amount` after each Keras epoch and names the epoch."""

    def __init__(self, progress: Progress, name: str, amount: float):
        super().__init__()
        self.progress, self.name, self.amount = progress, name, amount

    def on_epoch_end(self, epoch, logs=None):
        self.progress.advance(self.amount, f"{self.name}  epoch {epoch + 1}/{self.params['epochs']}")
