"""The program of a worker: does the jobs that it is sent until the study that started it ends, or dies.

It is a program of its own, neither a fork nor a second import of the caller's script, so that studies may be started
by scripts without a guard and from notebooks.
"""

import os
import pickle
import queue
import threading
import traceback
from typing import Any

from kerasticket.experiments.executors.link import Begin, Done, Link, Raised, Ready

KEPT = 2  # studies whose data and networks a worker keeps


def main() -> None:
    """Works until the other end is closed; what libraries print goes to standard error."""
    link = Link(os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb"))
    os.dup2(2, 1)
    inbox: queue.SimpleQueue[Begin] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(link, inbox), daemon=True).start()
    link.send(Ready())
    workers: dict[int, Any] = {}
    settings: dict[int, bytes] = {}
    while True:
        link.send(_do(inbox.get(), link, workers, settings))


def _receive(link: Link, inbox: "queue.SimpleQueue[Begin]") -> None:
    """Reads ahead, also while a job runs: who sent it may die, and then nobody waits for the job any more."""
    while isinstance(message := link.receive(), Begin):
        inbox.put(message)
    os._exit(0)  # at once, wherever the job is: a new study may go on in the same folder


def _do(message: Begin, link: Link, workers: dict[int, Any], settings: dict[int, bytes]) -> Done | Raised:
    try:
        if message.settings is not None:
            settings[message.study] = message.settings
        if message.study not in workers:
            while len(workers) >= KEPT:
                workers.pop(next(iter(workers)))
            made = pickle.loads(settings[message.study])  # of whoever started this process
            workers[message.study] = made.worker()
        workers[message.study].run(message.job, link.send)
    except OSError as error:
        return Raised(f"{type(error).__name__}: {error}", traceback.format_exc(), fatal=True)
    except Exception as error:  # whatever a network or the data of a user raise: other jobs go on
        return Raised(f"{type(error).__name__}: {error}", traceback.format_exc())
    return Done()


if __name__ == "__main__":
    main()
