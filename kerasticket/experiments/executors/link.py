"""Messages between a study and the processes that work for it: pickles through their standard input and output.

Nobody else can write there, so what is unpickled is our own.
"""

import contextlib
import dataclasses
import io
import pickle
import threading
import types
from typing import IO, Any

from kerasticket.experiments.events import Event
from kerasticket.experiments.job import Job


@dataclasses.dataclass(frozen=True)
class Ready:
    """The first message of a worker: it is there, and waits for a job."""


@dataclasses.dataclass(frozen=True)
class Begin:
    """To a worker: a job of a study. The settings of a study come with its first job, packed."""

    study: int
    job: Job
    settings: bytes | None = None


@dataclasses.dataclass(frozen=True)
class Done:
    """From a worker: its job's files are there."""


@dataclasses.dataclass(frozen=True)
class Raised:
    """From a worker: its job ended in an error; `fatal` if every other job would too, as on a full disk."""

    error: str
    trace: str
    fatal: bool = False


Message = Ready | Begin | Done | Raised | Event


class _Packer(pickle.Pickler):
    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, types.FunctionType | type) and value.__module__ == "__main__":
            raise pickle.PicklingError(f"'{value.__qualname__}' of the program itself")
        return NotImplemented


def packed(settings: Any) -> bytes:
    """A study's settings as other processes of this machine can read them.

    Raises:
        ValueError: they hold a function or class that no other process can import.
    """
    content = io.BytesIO()
    try:
        _Packer(content).dump(settings)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ValueError(
            "Expected settings that other processes can import: a network function of a module of its own. "
            f"Received: {error}. Put the function into a file beside your program and import it, or run inline."
        ) from error
    return content.getvalue()


class Link:
    """One end of the connection."""

    def __init__(self, reads: IO[bytes], writes: IO[bytes]):
        self.reads, self.writes, self._lock = reads, writes, threading.Lock()

    def send(self, message: Message) -> None:
        """Raises OSError if the other end is gone."""
        with self._lock:
            pickle.dump(message, self.writes)
            self.writes.flush()

    def receive(self) -> Message | None:
        """The next message, once there is one; None when the other end is gone."""
        try:
            return pickle.load(self.reads)
        except (EOFError, OSError, pickle.UnpicklingError, ValueError):  # cut off in the middle by a kill, or closed
            return None

    def close(self) -> None:
        """The other end then reads its end."""
        for stream in (self.writes, self.reads):
            with contextlib.suppress(OSError):  # it was gone already
                stream.close()
