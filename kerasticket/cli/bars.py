"""Draws what a study tells: a bar for each stretch of its work, and its notes above it."""

from kerasticket.cli.progress import Progress
from kerasticket.experiments.events import Event


class Bars:
    """A listener. Use as a context manager, so that a bar never outlives its study."""

    def __init__(self) -> None:
        self._bar: Progress | None = None

    def __enter__(self) -> "Bars":
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar:
            self._bar.__exit__(*error)
        self._bar = None

    def __call__(self, event: Event) -> None:
        if event.kind == "begin":
            self.__exit__()
            self._bar = Progress(event.amount)
            self._bar.__enter__()
        elif event.kind in ("done", "failed"):
            self.__exit__()
        elif self._bar:
            self._bar(event)
        elif event.text:
            print(event.text, flush=True)
