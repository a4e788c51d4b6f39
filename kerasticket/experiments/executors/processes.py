"""Jobs in several processes of this machine, each with its share of the cores, or with a GPU."""

import collections
import contextlib
import dataclasses
import os
import queue
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from kerasticket.experiments.events import Event, Listener, ignore
from kerasticket.experiments.executors.devices import assignments
from kerasticket.experiments.executors.link import Begin, Done, Link, Message, Raised, Ready, packed
from kerasticket.experiments.executors.threads import cores, environment_of, threads_here
from kerasticket.experiments.schedule import Failure, Item, Schedule, Study

DEATHS = 3  # of workers in one job, after which it is the job's fault
KILLED = " Perhaps it was killed for lack of memory: try fewer --workers." if os.name == "posix" else ""


def processes(
    studies: list[Study],
    listener: Listener = ignore,
    *,
    workers: int | None = None,
    threads: int | None = None,
    workers_per_gpu: int = 1,
    **options: Any,
) -> list[Failure]:
    """Does the jobs in worker processes, which live on from job to job and keep their traced networks.

    A worker that dies gives its job back, and another takes its place; when this process dies, its workers do too.
    What they print is in the folder `workers` of the first study.

    Args:
        studies: whose jobs are done. Their `settings` must be picklable: a network function of a notebook is not.
        listener: is told what happens, by this process.
        workers: how many; None: `workers_per_gpu` for each GPU, else as many as the cores allow.
        threads: of each worker; None: those of this process, as for `inline`.
        workers_per_gpu: that share one GPU. Each takes memory as it needs it.
        **options: of other executors, which do not matter here.

    Returns:
        The jobs that raised an error, or in which three workers died.

    Raises:
        ValueError: less than one worker or thread.
        OSError: a worker met a full disk, or a folder that is gone.
        RuntimeError: workers die before they do anything.
    """
    threads = threads_here() if threads is None else threads
    places = assignments(workers, threads, workers_per_gpu, cores())
    settings = [packed(study.settings) for study in studies]
    schedule = Schedule(studies)
    listener(Event("plan", amount=schedule.work, text=f"{len(schedule)} jobs, {len(places)} workers"))
    if len(schedule):
        with _Pool(
            settings, schedule, listener, places[: len(schedule)], threads, studies[0].folder / "workers"
        ) as pool:
            pool.work()
    return schedule.failures


@dataclasses.dataclass
class _Member:
    """A worker as this process sees it."""

    name: str
    place: dict[str, str]
    process: "subprocess.Popen[bytes]"
    link: Link
    item: Item | None = None
    ready: bool = False
    studies: set[int] = dataclasses.field(default_factory=set)


class _Pool:
    """The workers, and what each of them does."""

    def __init__(
        self,
        settings: list[bytes],
        schedule: Schedule,
        listener: Listener,
        places: list[dict[str, str]],
        threads: int,
        logs: Path,
    ):
        self.settings, self.schedule, self.listener = settings, schedule, listener
        self.places, self.threads, self.logs = places, threads, logs
        self.members: dict[str, _Member] = {}
        self.inbox: queue.SimpleQueue[tuple[_Member, Message | None]] = queue.SimpleQueue()
        self.deaths: collections.Counter[tuple[int, str] | None] = collections.Counter()  # None: at their start

    def __enter__(self) -> "_Pool":
        self.logs.mkdir(parents=True, exist_ok=True)
        for number, place in enumerate(self.places):
            self._start(f"worker {number}", place)
        return self

    def __exit__(self, *error: object) -> None:
        for member in self.members.values():
            member.process.kill()  # files are whole or not there, so nothing is lost but what it does for nobody
            member.process.wait()
            member.link.close()

    def work(self) -> None:
        """Until every job is done, has failed, or waits for files that nobody makes."""
        while self.schedule.running or self.schedule.ready:
            member, message = self.inbox.get()
            if self.members.get(member.name) is member:
                self._take(member, message)
                self._feed()

    def _start(self, name: str, place: dict[str, str]) -> None:
        environment = os.environ | environment_of(self.threads) | place
        environment["PYTHONPATH"] = os.pathsep.join([path or os.getcwd() for path in sys.path])  # as here
        command = [sys.executable, "-m", "kerasticket.experiments.executors.worker"]
        with open(self.log_of(name), "ab") as log:
            process = subprocess.Popen(
                command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log
            )
        assert process.stdin is not None
        assert process.stdout is not None
        member = _Member(name, place, process, Link(process.stdout, process.stdin))
        self.members[name] = member
        threading.Thread(target=self._listen, args=(member,), daemon=True).start()

    def log_of(self, name: str) -> Any:
        """The file with what a worker prints."""
        return self.logs / f"{name.replace(' ', '_')}.log"

    def _listen(self, member: _Member) -> None:
        """All messages of a worker, the last of which is None: it is gone."""
        while (message := member.link.receive()) is not None:
            self.inbox.put((member, message))
        self.inbox.put((member, None))

    def _take(self, member: _Member, message: Message | None) -> None:
        if isinstance(message, Event):
            self.listener(dataclasses.replace(message, worker=member.name))
        elif isinstance(message, Ready):
            member.ready = True
        elif message is None:
            self._bury(member)
        elif member.item:
            item, member.item = member.item, None
            self._end(member, item, message)

    def _end(self, member: _Member, item: Item, message: Message) -> None:
        if isinstance(message, Raised):
            self.schedule.fail(item, message.error, message.trace)
            text = f"{item.job.name}: {message.error}"
            self.listener(Event("failed", item.job.name, member.name, text=text))
            if message.fatal:
                raise OSError(f"{text} (in {member.name}, whose output is in '{self.log_of(member.name)}')")
        elif isinstance(message, Done):
            self.schedule.done(item)
            self.listener(Event("done", item.job.name, member.name))

    def _feed(self) -> None:
        """Gives each idle worker a job, as long as there are any that can be done now."""
        for member in self.members.values():
            if member.ready and member.item is None and (item := self.schedule.take()):
                member.item = item
                settings = None if item.study in member.studies else self.settings[item.study]
                member.studies.add(item.study)
                self.listener(Event("begin", item.job.name, member.name))
                with contextlib.suppress(OSError):  # it has just died, as its last message will say
                    member.link.send(Begin(item.study, item.job, settings))

    def _bury(self, member: _Member) -> None:
        """Its job goes back, or counts as failed if it has killed three; another worker takes its place."""
        code = member.process.wait()
        member.link.close()
        del self.members[member.name]
        how = f"{member.name} died (exit code {code})"
        what = member.item.job.name if member.item else ""
        key = (member.item.study, what) if member.item else None
        self.deaths[key] += bool(member.item) or not member.ready  # one that waits for a job may be killed any time
        if self.deaths[key] >= DEATHS and not member.item:
            raise RuntimeError(f"{how} at its start, the third one. Its output is in '{self.log_of(member.name)}'.")
        if member.item and self.deaths[key] >= DEATHS:
            error = f"{how}, the third one in this job.{KILLED} Its output is in '{self.log_of(member.name)}'."
            self.schedule.fail(member.item, error)
            self.listener(Event("failed", what, member.name, text=f"{what}: {error}"))
        elif member.item:
            self.schedule.give_back(member.item)
            self.listener(Event("given back", what, member.name, text=f"{what}: {how}; another takes it"))
        self._start(member.name, member.place)
