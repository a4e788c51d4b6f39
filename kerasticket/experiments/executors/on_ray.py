"""Jobs on a cluster of Ray. Files travel as bytes, so that its machines need no disk in common."""

import collections
import contextlib
import dataclasses
import os
import sys
from collections.abc import Iterator
from typing import Any

from kerasticket.experiments.events import Event, Listener, ignore
from kerasticket.experiments.executors.cluster import check_installed, connected, is_local, ray, resources_of, room
from kerasticket.experiments.executors.devices import GROWING, check_counts
from kerasticket.experiments.executors.link import Raised
from kerasticket.experiments.executors.machine import differences, signature
from kerasticket.experiments.executors.processes import DEATHS, KILLED
from kerasticket.experiments.executors.ray_worker import Made, Package, RayWorker, read_files, write_files
from kerasticket.experiments.executors.threads import environment_of, threads_here
from kerasticket.experiments.schedule import Failure, Item, Schedule, Study
from kerasticket.files.environment import environment

MOST = 2**30  # bytes of the files that settings name, which every worker gets
CARRIED = ("XLA_FLAGS", "NVIDIA_TF32_OVERRIDE")  # environment variables that change results
CLOSING = 5.0  # seconds in which workers empty their folders


def on_ray(
    studies: list[Study],
    listener: Listener = ignore,
    *,
    address: str | None = None,
    workers: int | None = None,
    threads: int | None = None,
    workers_per_gpu: int = 1,
    mixed: bool = False,
    **options: Any,
) -> list[Failure]:
    """Does the jobs in actors of Ray, which live on from job to job and keep their traced networks.

    A worker or a machine that dies gives its job back; Ray starts the worker anew, on another machine if need be. What
    workers print is in the logs of Ray.

    Args:
        studies: whose jobs are done. A network function of a notebook may be among their settings; the module of any
            other one must be on all machines. Data sets of TensorFlow Datasets are loaded by each machine.
        listener: is told what happens, by this process.
        address: of a cluster that this machine is part of, as "host:port", or "auto"; None: Ray as this process has
            started it, else `RAY_ADDRESS` of the environment, else one of our own on this machine, which ends with the
            jobs.
        workers: how many; None: `workers_per_gpu` for each GPU of the cluster, else as many as its cores allow.
        threads: of each worker; None: those of this process, as for `inline`.
        workers_per_gpu: that share one GPU. Each takes memory as it needs it.
        mixed: whether workers may have other packages or another kind of CPU than this process; the last bits of
            results may then depend on where a job ran.
        **options: of other executors, which do not matter here.

    Returns:
        The jobs that raised an error, or in which three workers died.

    Raises:
        ValueError: Ray is not installed, nothing answers at the address, less than one worker or thread, no machine
            with room for one, other packages or CPUs there, a data set in a folder that is too large to send.
        OSError: a worker met a full disk, or this process a folder that is gone.
        RuntimeError: workers die before they do anything.
    """
    check_installed()
    threads = threads_here() if threads is None else threads
    check_counts(workers, threads, workers_per_gpu)
    schedule = Schedule(studies)
    if not len(schedule):
        listener(Event("plan", text="0 jobs"))
        return []
    _check_sizes(studies)
    with connected(address, cpus=(workers or 1) * threads):
        count = _count(workers, threads, workers_per_gpu, listener)
        listener(Event("plan", amount=schedule.work, text=f"{len(schedule)} jobs, {count} workers"))
        with _Pool(studies, schedule, listener, mixed=mixed) as pool:
            pool.start(min(count, len(schedule)), threads, resources_of(threads, workers_per_gpu))
            pool.work()
    return schedule.failures


def _check_sizes(studies: list[Study]) -> None:
    for study in studies:
        size = sum(path.stat().st_size for path in study.settings.files().values())
        if size > MOST:
            raise ValueError(
                f"Expected at most {MOST / 2**30:.0f} GiB of files that are sent to each worker. Received: "
                f"{size / 2**30:.1f} GiB that the settings of '{study.folder}' name. Take a data set of TensorFlow "
                "Datasets, which each machine loads itself, pass the images that are used as arrays, or use "
                "--executor processes."
            )


def _count(workers: int | None, threads: int, workers_per_gpu: int, listener: Listener) -> int:
    """How many workers there will be; those that find no room wait for it."""
    fits = room(threads, workers_per_gpu)
    if not fits:
        raise ValueError(
            f"Expected a machine of the cluster with room for a worker. Received: none has {threads} CPUs, and a GPU "
            "where the cluster has any. Choose fewer --threads-per-worker, or add machines."
        )
    if workers is not None and workers > fits:
        listener(Event("note", text=f"The cluster has room for {fits} of {workers} workers: the others wait for it"))
    return workers or fits


def _variables(threads: int) -> dict[str, str]:
    """The environment of a worker, on whatever machine: all of this one's that results depend on."""
    variables = environment_of(threads) | GROWING | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    variables["TF_ENABLE_ONEDNN_OPTS"] = os.environ.get("TF_ENABLE_ONEDNN_OPTS", "1")  # as in every other worker
    variables |= {name: os.environ[name] for name in CARRIED if name in os.environ}
    backend = environment()["backend"] if "keras" in sys.modules else os.environ.get("KERAS_BACKEND")
    if backend:
        variables["KERAS_BACKEND"] = backend
    if is_local():
        variables["PYTHONPATH"] = os.pathsep.join([path or os.getcwd() for path in sys.path])  # as here
    return variables


@dataclasses.dataclass
class _Member:
    """A worker as this process sees it.

    Attributes:
        call: what it was last asked, until it has answered.
        item: its job.
        host: its machine; "" until it has said so.
        studies, files: what it has: settings, and names of files.
    """

    name: str
    actor: Any
    call: Any = None
    item: Item | None = None
    host: str = ""
    studies: set[int] = dataclasses.field(default_factory=set)
    files: set[tuple[int, str]] = dataclasses.field(default_factory=set)


class _Pool:
    """The workers, and what each of them does."""

    def __init__(self, studies: list[Study], schedule: Schedule, listener: Listener, *, mixed: bool):
        self.studies, self.schedule, self.listener, self.mixed = studies, schedule, listener, mixed
        self.here = signature()
        self.members: list[_Member] = []
        self.packages: dict[int, Any] = {}
        self.deaths: collections.Counter[tuple[int, str] | None] = collections.Counter()

    def __enter__(self) -> "_Pool":
        return self

    def __exit__(self, *error: object) -> None:
        with contextlib.suppress(ray.exceptions.RayError):  # the cluster may be gone
            closing = [member.actor.close.remote() for member in self.members if member.host]
            if closing:
                ray.wait(closing, num_returns=len(closing), timeout=CLOSING)
            for member in self.members:
                ray.kill(member.actor)

    def start(self, count: int, threads: int, resources: dict[str, float]) -> None:
        """Asks Ray for so many workers."""
        self.kind = ray.remote(RayWorker).options(
            max_restarts=-1,
            max_concurrency=2,  # the second: to close while a job runs
            runtime_env={"env_vars": _variables(threads)},
            **resources,
        )
        self.members = [_Member(f"worker {number}", self.kind.remote()) for number in range(count)]
        for member in self.members:
            self._greet(member)

    def work(self) -> None:
        """Until every job is done, has failed, or waits for files that nobody makes."""
        while self.schedule.running or self.schedule.ready:
            calls = {member.call: member for member in self.members if member.call is not None}
            for call in ray.wait(list(calls), num_returns=1)[0]:
                self._answer(calls[call])
            self._feed()

    def _greet(self, member: _Member) -> None:
        """Asks who it is, however long Ray takes to start it, or to start it anew elsewhere: nothing is there then."""
        member.item, member.host, member.studies, member.files = None, "", set(), set()
        member.call = member.actor.about.options(max_task_retries=-1).remote()

    def _answer(self, member: _Member) -> None:
        try:
            answer = ray.get(next(member.call) if member.item else member.call)
        except ray.exceptions.RayError as error:  # it, or its machine, died: what jobs raise comes as `Raised`
            self._bury(member, error)
            return
        if isinstance(answer, Event):
            self.listener(dataclasses.replace(answer, worker=member.name))
            return
        member.call = None
        if isinstance(answer, (Made, Raised)):
            self._end(member, answer)
        else:
            self._meet(member, *answer)

    def _meet(self, member: _Member, host: str, there: dict[str, str]) -> None:
        """Refuses a machine whose results may be others."""
        member.host = host
        found = "; ".join(differences(self.here, there))
        if found and not self.mixed:
            raise ValueError(
                f"Expected machines with the packages and the CPU features of this one. Received: {member.name} on "
                f"'{host}' with {found}. Install the same there, leave the machine out, or pass --mixed: the last bits "
                "of results then depend on where a job runs."
            )
        if found:
            self.listener(Event("note", worker=member.name, text=f"{member.name} on '{host}' has {found}"))

    def _end(self, member: _Member, answer: Made | Raised) -> None:
        item, member.item = member.item, None
        assert item is not None
        if isinstance(answer, Made):
            write_files(self.studies[item.study].folder, answer.files)
            member.files |= {(item.study, name) for name in answer.files}
            self.schedule.done(item)
            self.listener(Event("done", item.job.name, member.name))
            return
        self.schedule.fail(item, answer.error, answer.trace)
        text = f"{item.job.name}: {answer.error}"
        self.listener(Event("failed", item.job.name, member.name, text=text))
        if answer.fatal:
            raise OSError(f"{text} (in {member.name} on '{member.host}', whose output is in the logs of Ray there)")

    def _feed(self) -> None:
        """Gives each idle worker a job, as long as there are any that can be done now."""
        for member in self.members:
            if member.call is None and (item := self.schedule.take()):
                member.item = item
                self.listener(Event("begin", item.job.name, member.name))
                files = dict(self._missing(member, item))
                package = None if item.study in member.studies else self._package(item.study)
                member.call = member.actor.run.remote(item.study, item.job, files, package)
                member.studies.add(item.study)
                member.files |= {(item.study, name) for name in files}

    def _missing(self, member: _Member, item: Item) -> Iterator[tuple[str, bytes]]:
        """Files that a job finds in its folder and the worker does not have; also what was made before a kill."""
        names = (*item.job.needs, *item.job.makes)
        lacks = tuple(name for name in names if (item.study, name) not in member.files)
        yield from read_files(self.studies[item.study].folder, lacks).items()

    def _package(self, study: int) -> Any:
        """What a worker of the study is made of, in the memory of the cluster, once for all workers."""
        if study not in self.packages:
            settings = self.studies[study].settings
            files = {name: path.read_bytes() for name, path in settings.files().items()}
            self.packages[study] = ray.put(Package(ray.cloudpickle.dumps(settings), files))
        return self.packages[study]

    def _bury(self, member: _Member, error: Exception) -> None:
        """Its job goes back, or counts as failed if it has killed three; Ray starts it anew."""
        item, how = (
            member.item,
            f"{member.name} died{f' on {member.host!r}' if member.host else ''} ({type(error).__name__})",
        )
        what = item.job.name if item else ""
        key = (item.study, what) if item else None
        self.deaths[key] += 1
        if not item:
            if self.deaths[key] >= DEATHS:
                raise RuntimeError(f"{how} at its start, the third one. Ray says: {error}") from error
            member.actor = self.kind.remote()  # Ray has given this one up
        elif self.deaths[key] >= DEATHS:
            text = f"{how}, the third one in this job.{KILLED} Its output is in the logs of Ray there."
            self.schedule.fail(item, text, str(error))
            self.listener(Event("failed", what, member.name, text=f"{what}: {text}"))
        else:
            self.schedule.give_back(item)
            self.listener(Event("given back", what, member.name, text=f"{what}: {how}; another takes it"))
        self._greet(member)
