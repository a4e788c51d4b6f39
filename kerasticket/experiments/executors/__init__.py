"""Where jobs run, by name. Executors differ in nothing else: with equal threads all make the same files."""

import logging
from collections.abc import Callable
from typing import Any

from kerasticket.checks import check_choice
from kerasticket.experiments.events import Event, Listener, ignore
from kerasticket.experiments.executors.inline import inline
from kerasticket.experiments.executors.processes import processes
from kerasticket.experiments.schedule import Failure, Study


def ray(studies: list[Study], listener: Listener = ignore, **options: Any) -> list[Failure]:
    """On a cluster, see `kerasticket.experiments.executors.on_ray`, which is imported here: Ray takes its time."""
    from kerasticket.experiments.executors.on_ray import on_ray

    return on_ray(studies, listener, **options)


_LOG = logging.getLogger(__name__)

EXECUTORS: dict[str, Callable[..., list[Failure]]] = {"inline": inline, "processes": processes, "ray": ray}


class FailedJobsError(RuntimeError):
    """Some jobs ended in errors; all that need nothing of them are done, and the same command tries them again.

    Attributes:
        failures: which, and why.
    """

    def __init__(self, failures: list[Failure]):
        self.failures = failures
        lines = "; ".join(map(str, failures))
        super().__init__(
            f"{len(failures)} job{'s' if len(failures) > 1 else ''} failed: {lines}. All that need nothing of them are "
            "done. Run the same command again to try them once more."
        )


def execute(studies: list[Study], executor: str = "inline", listener: Listener = ignore, **options: Any) -> None:
    """Does the jobs of some studies.

    Args:
        executor: a name in `EXECUTORS`.
        **options: of the executor.

    Raises:
        ValueError: an unknown executor, or options that it cannot take.
        FailedJobsError: some jobs raised errors.
    """
    check_choice(executor, EXECUTORS, "--executor")
    if failures := EXECUTORS[executor](studies, _logged(listener), **options):
        raise FailedJobsError(failures)


def _logged(listener: Listener) -> Listener:
    """The listener, and the log of the name of this package: a line for whatever has a text but mere progress."""

    def both(event: Event) -> None:
        if event.text and event.kind != "advance":
            level = logging.WARNING if event.kind in ("failed", "given back") else logging.INFO
            _LOG.log(level, "%s", event.text)
        listener(event)

    return both
