"""Studies on a cluster of two machines, both of them this one; all but one of them train nothing."""

import dataclasses
import os
import shutil
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from kerasticket.experiments.config import Config
from kerasticket.experiments.executors import FailedJobsError, cluster, execute, on_ray
from kerasticket.experiments.executors.threads import threads_here
from kerasticket.experiments.job import Job
from kerasticket.files.json_files import read_json

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install kerasticket[ray]")
cluster_utils = pytest.importorskip("ray.cluster_utils", reason="this Ray cannot pretend to be several machines")
DISTILLED = Path(__file__).parents[3] / "assets" / "distilled" / "digits_ipc1.h5"
THREADS = threads_here()  # those of this process, with which the last bits are those of `inline`
pytestmark = pytest.mark.same_on_every_backend


@dataclasses.dataclass(frozen=True)
class Settings:
    """Of studies whose jobs write what they read; `out` is where the worker does so."""

    out: Path
    named: tuple[tuple[str, Path], ...] = ()
    inputs: Path | None = None
    shared: Path | None = None  # what jobs tell the test, as a cluster could not

    def worker(self):
        return Writer(self)

    def files(self):
        return dict(self.named)

    def elsewhere(self, folder, out):
        return dataclasses.replace(self, out=out, inputs=folder)


@dataclasses.dataclass
class Writer:
    settings: Settings

    def run(self, job, listener):
        out = self.settings.out
        text = "".join((out / name).read_text() for name in job.needs)
        ACTIONS[job.action](self.settings, job, listener)
        for name in job.makes:
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            (out / name).write_text(f"{text}{name};")


def write(settings, job, listener):
    pass


def error(settings, job, listener):
    raise ValueError("a bad network")


def full(settings, job, listener):
    raise OSError(28, "No space left on device")


def die(settings, job, listener):
    os.kill(os.getpid(), signal.SIGKILL)


def die_once(settings, job, listener):
    deaths = settings.shared / "died"
    if not deaths.exists():
        deaths.touch()
        os.kill(os.getpid(), signal.SIGKILL)


def wait(settings, job, listener):
    """Until the test lets it go on, which it is told where the job runs."""
    (settings.shared / f"{job.name} at {ray.get_runtime_context().get_node_id()}").touch()
    until = time.monotonic() + 30
    while not (settings.shared / "go").exists() and time.monotonic() < until:
        time.sleep(0.05)


def inputs(settings, job, listener):
    assert (settings.inputs / "set.h5").read_bytes() == b"distilled"


ACTIONS = {each.__name__: each for each in (write, error, full, die, die_once, wait, inputs)}


@dataclasses.dataclass
class Study:
    folder: Path
    every: list[Job]
    settings: Settings

    def jobs(self):
        return [job for job in self.every if not job.done(self.folder)]

    def worker(self):
        return self.settings.worker()


def study(folder: Path, *actions: str, named=()) -> Study:
    """A chain of jobs a0, a1, ..., each of which reads what the one before has made, and a job b on its own."""
    folder.mkdir(exist_ok=True)
    chain = [
        Job(f"a{i}", action, {}, (f"a/{i - 1}.txt",) if i else (), (f"a/{i}.log", f"a/{i}.txt"))
        for i, action in enumerate(actions)
    ]
    shared = folder.parent / "shared"
    shared.mkdir(exist_ok=True)
    every = [*chain, Job("b", "write", {}, (), ("b.txt",))]
    return Study(folder, every, Settings(folder, named=named, shared=shared))


def contents(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def machines():
    """A cluster of two nodes, each with room for a worker, to which this process is connected."""
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # as if this were a notebook
    try:
        nodes = cluster_utils.Cluster(
            initialize_head=True, head_node_args={"num_cpus": THREADS, "include_dashboard": False}
        )
        nodes.add_node(num_cpus=THREADS)
        ray.init(nodes.address, log_to_driver=False, logging_level="ERROR")
    except Exception as error:  # of Ray alone: ports, memory or processes that a machine does not give it
        pytest.skip(f"Ray does not start a cluster on this machine: {error}")
    yield nodes
    ray.shutdown()
    nodes.shutdown()


def go(*studies, **options):
    """The events of the studies, done by Ray."""
    events = []
    execute(list(studies), "ray", events.append, threads=THREADS, **options)
    return events


def kinds(events, job):
    return [event.kind for event in events if event.job == job]


def test_makes_the_files_of_inline(machines, tmp_path):
    expected, made = (study(tmp_path / name, "write", "write", "write") for name in ("inline", "ray"))
    execute([expected], "inline")
    events = go(made)
    assert contents(made.folder) == contents(expected.folder)
    assert contents(made.folder)["a/2.txt"] == "a/0.txt;a/1.txt;a/2.txt;"
    assert events[0].text == "4 jobs, 2 workers"
    assert {event.worker for event in events[1:]} == {"worker 0", "worker 1"}
    assert kinds(events, "a1") == ["begin", "done"]


def network(input_shape, num_classes, seed):
    import keras

    initial = keras.initializers.GlorotUniform(seed)
    dense = keras.layers.Dense(num_classes, kernel_initializer=initial, name="logits")
    layers = [keras.Input(input_shape, name="images"), keras.layers.Flatten(name="flat"), dense]
    return keras.Sequential(layers, name="net")  # names that Keras makes up count what a process has made


def results(folder: Path) -> dict[str, object]:
    """All that jobs have made, but for the seconds that it took."""
    read = lambda path: read_json(path) | {"seconds": 0} if path.suffix == ".json" else path.read_bytes()  # noqa: E731
    return {path.relative_to(folder).as_posix(): read(path) for path in folder.glob("seed_*/**/*") if path.is_file()}


def test_trains_the_networks_of_inline(machines, tmp_path):
    """Of a function that only this process can import, with a distilled set that only it has."""
    from kerasticket.experiments.distilled_pruning import distilled_pruning

    shutil.copy(DISTILLED, tmp_path / "mine.h5")
    config = Config(
        distilled=str(tmp_path / "mine.h5"),
        images_per_class=5,
        init_seeds=(0, 1),
        kinds=("synthetic",),
        rounds=1,
        epochs=1,
        distilled_epochs=1,
        augmentation="none",
    )
    for executor in ("inline", "ray"):
        own = config.replace(out=str(tmp_path / executor))
        distilled_pruning(own, model=network, executor=executor, workers=1, threads=THREADS)
    expected = results(tmp_path / "inline")
    assert len(expected) == 2 * (3 + 2 + 2 * 3)  # tickets, two files of the search, three of each training
    assert results(tmp_path / "ray") == expected


def test_goes_on_with_what_is_there(machines, tmp_path):
    made = study(tmp_path / "ray", "write", "write")
    (made.folder / "a").mkdir()
    (made.folder / "a" / "0.txt").write_text("from before;")
    go(made, workers=1)
    assert contents(made.folder)["a/1.txt"] == "from before;a/1.txt;"
    assert "a/0.log" not in contents(made.folder)


def test_what_settings_name_travels(machines, tmp_path):
    (tmp_path / "mine.h5").write_bytes(b"distilled")
    go(study(tmp_path / "ray", "inputs", named=(("set.h5", tmp_path / "mine.h5"),)), workers=1)


def test_folders_of_workers_are_emptied(machines, tmp_path, monkeypatch):
    monkeypatch.setattr(on_ray, "CARRIED", ("TMPDIR",))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    go(study(tmp_path / "ray", "write"), workers=1)
    assert not list((tmp_path / "temporary").glob("kerasticket-*"))


def test_a_job_that_raises_is_named_and_others_go_on(machines, tmp_path):
    made = study(tmp_path / "ray", "write", "error", "write")
    with pytest.raises(FailedJobsError, match="1 job failed.*a1: ValueError: a bad network") as caught:
        go(made, workers=1)
    assert "in error" in caught.value.failures[0].trace
    assert {"a/0.txt", "b.txt"} <= contents(made.folder).keys()
    assert "a/2.txt" not in contents(made.folder)


def test_a_full_disk_ends_the_study(machines, tmp_path):
    with pytest.raises(OSError, match="a0: OSError.*No space left.*in worker 0 on '.*logs of Ray"):
        go(study(tmp_path / "ray", "full"), workers=1)


def test_a_worker_that_dies_gives_its_job_back(machines, tmp_path):
    made = study(tmp_path / "ray", "write", "die_once", "write")
    events = go(made, workers=1)
    assert kinds(events, "a1") == ["begin", "given back", "begin", "done"]
    assert contents(made.folder)["a/2.txt"] == "a/0.txt;a/1.txt;a/2.txt;"  # what the dead one had was sent again


def test_a_job_that_kills_three_workers_has_failed(machines, tmp_path):
    made, events = study(tmp_path / "ray", "die", "write"), []
    with pytest.raises(FailedJobsError, match="a0: worker 0 died on .*, the third one in this job"):
        execute([made], "ray", events.append, threads=THREADS, workers=1)
    assert kinds(events, "a0") == ["begin", "given back", "begin", "given back", "begin", "failed"]
    assert contents(made.folder).keys() == {"b.txt"}


def test_other_packages_are_refused_unless_mixed(machines, tmp_path, monkeypatch):
    here = on_ray.signature()
    monkeypatch.setattr(on_ray, "signature", lambda: here | {"keras": "2.0", "CPU features": "avx1024"})
    with pytest.raises(ValueError, match=r"on '.*' with keras .* \(here 2.0\); CPU without avx1024.*--mixed"):
        go(study(tmp_path / "ray", "write"), workers=1)
    events = go(study(tmp_path / "ray", "write"), workers=1, mixed=True)
    assert any(event.kind == "note" and "(here 2.0)" in event.text for event in events)


def test_workers_without_room_wait(machines, tmp_path):
    events = go(study(tmp_path / "ray"), workers=3)
    assert "The cluster has room for 2 of 3 workers: the others wait for it" in [event.text for event in events]


def test_no_machine_with_room_is_refused(machines, tmp_path):
    with pytest.raises(ValueError, match=f"room for a worker. Received: none has {THREADS + 1} CPUs"):
        execute([study(tmp_path / "ray", "write")], "ray", threads=THREADS + 1)


def test_nothing_to_do_starts_nothing(tmp_path, monkeypatch):
    made = study(tmp_path / "ray")
    (made.folder / "b.txt").touch()
    monkeypatch.setattr(on_ray, "connected", None)
    assert [event.text for event in go(made)] == ["0 jobs"]


def test_too_large_files_are_refused(tmp_path, monkeypatch):
    (tmp_path / "mine.h5").write_bytes(b"distilled")
    monkeypatch.setattr(on_ray, "MOST", 8)
    with pytest.raises(ValueError, match="Expected at most .* GiB of files.*TensorFlow Datasets"):
        go(study(tmp_path / "ray", "write", named=(("set.h5", tmp_path / "mine.h5"),)))


def test_less_than_one_worker_is_refused(tmp_path):
    with pytest.raises(ValueError, match="--workers of at least 1. Received: 0"):
        go(study(tmp_path / "ray", "write"), workers=0)


@pytest.mark.parametrize("local", [True, False])
def test_what_changes_results_is_in_the_environment_of_workers(monkeypatch, local):
    import keras

    monkeypatch.setattr(on_ray, "is_local", lambda: local)
    monkeypatch.setenv("XLA_FLAGS", "--xla_mine")
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    variables = on_ray._variables(3)
    assert variables["TF_NUM_INTRAOP_THREADS"] == variables["OMP_NUM_THREADS"] == "3"
    assert variables["KERAS_BACKEND"] == keras.config.backend()
    assert (variables["XLA_FLAGS"], variables["TF_ENABLE_ONEDNN_OPTS"]) == ("--xla_mine", "0")
    assert ("PYTHONPATH" in variables) == local


def test_missing_ray_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "ray", None)
    with pytest.raises(ValueError, match=r"not installed. pip install kerasticket\[ray\]"):
        go(study(tmp_path / "ray", "write"))


def test_a_machine_that_dies_gives_its_job_back(machines, tmp_path):
    """Jobs wait on both machines; one of these is killed, then the jobs may go on."""
    made = study(tmp_path / "ray", "wait", "write")
    made.every[-1] = dataclasses.replace(made.every[-1], action="wait")
    shared, second, killed, events = made.settings.shared, machines.list_all_nodes()[-1], [], []

    def kill():
        while len(running := dict(path.name.split(" at ") for path in shared.glob("* at *"))) < 2:
            time.sleep(0.05)
        killed.extend(job for job, node in running.items() if node == second.node_id)
        machines.remove_node(second, allow_graceful=False)

    def listen(event):
        events.append(event)
        if event.kind == "given back":
            (shared / "go").touch()

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    execute([made], "ray", listen, threads=THREADS)
    killer.join()
    assert len(killed) == 1
    assert kinds(events, killed[0]) == ["begin", "given back", "begin", "done"]
    assert contents(made.folder) == {"a/0.log": "a/0.log;", "a/0.txt": "a/0.txt;", "b.txt": "b.txt;"} | {
        name: f"a/0.txt;{name};" for name in ("a/1.log", "a/1.txt")
    }
