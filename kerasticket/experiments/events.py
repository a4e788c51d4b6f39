"""What a study tells while it works: events, which the command line draws and a notebook may read.

The library prints nothing. Whoever wants to know passes a function that takes an `Event`.
"""

import dataclasses
import time
from collections.abc import Callable

KINDS = ("plan", "begin", "advance", "note", "done", "failed", "given back")


@dataclasses.dataclass(frozen=True)
class Event:
    """One thing that happened.

    Attributes:
        kind: "plan": `amount` of work lies ahead; "begin", "done" and "failed" of a job; "advance": work was done in
            it; "note": a line for a reader;
            "given back": its worker died, and another takes it.
        job: the job's name; "" for what concerns the whole study.
        worker: where: "" in this process, else the worker's name.
        amount: work that was done or, of "plan" and "begin", lies ahead; of searches and trainings in images shown to
            a network.
        text: what a reader is told.
        time: seconds since the epoch.
    """

    kind: str
    job: str = ""
    worker: str = ""
    amount: float = 0.0
    text: str = ""
    time: float = dataclasses.field(default_factory=time.time)


Listener = Callable[[Event], None]


def ignore(event: Event) -> None:
    """The listener of who does not want to know."""
