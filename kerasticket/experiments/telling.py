"""How a study tells a listener of its work: where a stretch of it begins and ends, and what was done since."""

import contextlib
import dataclasses
from collections.abc import Iterator

from kerasticket.experiments.events import Event, Listener


@dataclasses.dataclass
class Stretch:
    """Work of which a listener is told how far it is.

    Attributes:
        listener: who is told.
        done: how much so far.
    """

    listener: Listener
    done: float = 0.0

    def advance(self, amount: float, text: str) -> None:
        """So much more was done."""
        self.reach(self.done + amount, text)

    def reach(self, done: float, text: str) -> None:
        """So much is done by now; what a killed process did comes with the first call."""
        amount, self.done = done - self.done, done
        self.listener(Event("advance", amount=amount, text=text))

    def note(self, text: str) -> None:
        self.listener(Event("note", text=text))


@contextlib.contextmanager
def stretch(listener: Listener, total: float) -> Iterator[Stretch]:
    """A stretch of `total` work: "begin" with that amount before it, "done" after it, "failed" where it raises."""
    listener(Event("begin", amount=total))
    try:
        yield Stretch(listener)
    except BaseException:
        listener(Event("failed"))
        raise
    listener(Event("done"))
