"""All jobs in this process, one after the other."""

import traceback
from typing import Any

from kerasticket.experiments.events import Event, Listener, ignore
from kerasticket.experiments.schedule import Failure, Schedule, Study


def inline(studies: list[Study], listener: Listener = ignore, **options: Any) -> list[Failure]:
    """Does all jobs here.

    Args:
        studies: whose jobs are done.
        listener: is told what happens.
        **options: of other executors, which do not matter here.

    Returns:
        The jobs that raised an error; those that need their files were not begun.

    Raises:
        OSError: a disk that is full, a folder that is gone: what would befall every other job too.
    """
    schedule = Schedule(studies)
    listener(Event("plan", amount=schedule.work, text=f"{len(schedule)} jobs"))
    while item := schedule.take():
        listener(Event("begin", item.job.name))
        try:
            studies[item.study].worker().run(item.job, listener)
        except OSError:
            raise
        except Exception as error:  # whatever a network or the data of a user raise: other jobs go on
            schedule.fail(item, f"{type(error).__name__}: {error}", traceback.format_exc())
            listener(Event("failed", item.job.name, text=f"{item.job.name}: {error}"))
        else:
            schedule.done(item)
            listener(Event("done", item.job.name))
    return schedule.failures
