"""One process writes to a run: others are refused while it lives, whatever the flags; a dead one binds nobody."""

import errno
import multiprocessing
import os
import platform
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from kerasticket.experiments.run import Run
from kerasticket.files.json_files import read_json, write_json
from kerasticket.files.lock import RunLock

pytestmark = pytest.mark.same_on_every_backend
ROOT = Path(__file__).parents[2]
# Without the whole package, which imports Keras: a process is ready in a tenth of a second.
BEGIN = f"""
import os, sys, time, types
package = types.ModuleType("kerasticket"); package.__path__ = [{str(ROOT / "kerasticket")!r}]
sys.modules["kerasticket"] = package
from kerasticket.files.lock import RunLock
from kerasticket.experiments.run import Run
folder = sys.argv[1]
"""
HOLDS = "run = Run.open(folder, {'a': 1})\nprint('ready', flush=True)\ntime.sleep(60)"


def process(code: str, folder: Path) -> subprocess.Popen:
    command = [sys.executable, "-c", BEGIN + textwrap.dedent(code), str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def is_ready(started: subprocess.Popen) -> bool:
    return started.stdout is not None and started.stdout.readline() == "ready\n"


@pytest.fixture
def holder(tmp_path):
    """A process that has a run open."""
    started = process(HOLDS, tmp_path / "run")
    assert is_ready(started)
    yield started
    started.kill()
    started.wait()


@pytest.mark.parametrize("force", [False, True])
def test_a_second_writer_is_refused_by_name_of_the_first(tmp_path, holder, force):
    (tmp_path / "run" / "result").touch()
    who = rf"process {holder.pid} on host '{platform.node()}'"
    with pytest.raises(
        ValueError, match=rf"no other command writes to '.*run'. Received: {who}.*--force does not help"
    ):
        Run.open(tmp_path / "run", {"a": 1}, force=force)
    assert (tmp_path / "run" / "result").exists()
    assert read_json(tmp_path / "run" / "config.json")["a"] == 1


def test_another_path_to_the_folder_is_the_same_folder(tmp_path, holder):
    (tmp_path / "link").symlink_to(tmp_path / "run")
    with pytest.raises(ValueError, match=f"process {holder.pid}"):
        Run.open(tmp_path / "link", {"a": 2}, force=True)


def test_the_lock_of_a_killed_process_does_not_bind(tmp_path, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert (tmp_path / "run" / ".lock").exists()  # it had no time to remove it
    run = Run.open(tmp_path / "run", {"a": 2}, force=True)
    assert read_json(run.folder / "config.json")["a"] == 2


@pytest.mark.parametrize("how", ["os.fork() or time.sleep(60)", "__import__('subprocess').Popen(['sleep', '60'])"])
def test_children_of_a_killed_process_do_not_keep_its_lock(tmp_path, how):
    code = f"run = Run.open(folder, {{'a': 1}})\nchild = {how}\nprint(getattr(child, 'pid', child), flush=True)\n"
    parent = process(code + "time.sleep(60)", tmp_path / "run")
    assert parent.stdout
    child = int(parent.stdout.readline())
    try:
        time.sleep(0.1)  # the child closes its copy as it begins
        parent.kill()
        parent.wait()
        Run.open(tmp_path / "run", {"a": 1})
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_child_does_not_free_the_lock_of_its_parent(tmp_path):
    run = Run.open(tmp_path / "run", {"a": 1})
    child = multiprocessing.get_context("fork").Process(target=lambda: None)
    child.start()
    child.join()
    second = process("Run.open(folder, {'a': 1}, force=True)", run.folder)
    assert f"process {os.getpid()}" in second.communicate()[1]
    assert second.returncode == 1


def test_a_process_may_open_its_own_run_again_and_frees_it_at_the_end(tmp_path):
    first = Run.open(tmp_path / "run", {"a": 1})
    again = Run.open(tmp_path / "run", {"a": 1})
    assert again.lock is first.lock
    del first, again
    assert not (tmp_path / "run" / ".lock").exists()
    assert process("Run.open(folder, {'a': 1})", tmp_path / "run").wait() == 0


def test_of_many_that_begin_at_once_one_gets_the_run(tmp_path):
    code = "run = Run.open(folder, {'a': 1}, force=True)\nprint('got', flush=True)\nsys.stdin.read()"
    command = [sys.executable, "-c", BEGIN + code, str(tmp_path / "run")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    racers = [subprocess.Popen(command, text=True, **pipes) for _ in range(4)]
    deadline = time.monotonic() + 60
    while sum(racer.poll() is not None for racer in racers) < 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    outputs = [racer.communicate()[0] for racer in racers]  # which ends the input of the one that waits
    assert sorted(outputs) == ["", "", "", "got\n"]


def test_a_run_that_is_read_is_not_deleted_but_may_grow(tmp_path):
    Run.open(tmp_path / "run", {"a": 1}).close()
    reader = process("lock = RunLock.of_readers(folder)\nprint('ready', flush=True)\ntime.sleep(60)", tmp_path / "run")
    assert is_ready(reader)
    try:
        with pytest.raises(ValueError, match="nobody deletes '.*run' while another command reads it"):
            Run.open(tmp_path / "run", {"a": 2}, force=True)
        assert Run.open(tmp_path / "run", {"a": 1})
    finally:
        reader.kill()
        reader.wait()
    assert Run.open(tmp_path / "run", {"a": 2}, force=True)


def test_files_have_locks_beside_them(tmp_path):
    first = process("lock = RunLock.of_file(folder)\nprint('ready', flush=True)\ntime.sleep(60)", tmp_path / "set.h5")
    assert is_ready(first)
    with pytest.raises(ValueError, match=rf"no other command writes to '.*/set\.h5'. Received: process {first.pid}"):
        RunLock.of_file(tmp_path / "set.h5")
    with RunLock.of_file(tmp_path / "other.h5"):
        pass
    first.kill()
    first.wait()
    with RunLock.of_file(tmp_path / "set.h5"):
        pass
    assert not list(tmp_path.iterdir())


def test_a_holder_on_another_machine_is_warned_of(tmp_path):
    (tmp_path / ".lock").write_text('{"process": 12, "host": "elsewhere"}')
    with pytest.warns(UserWarning, match=r"ran on host 'elsewhere' \(process 12\).*still works there"):
        RunLock.of_folder(tmp_path)


def test_a_file_system_without_locks_is_warned_of(tmp_path, monkeypatch):
    def none(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("kerasticket.files.lock.fcntl.flock", none)
    with pytest.warns(UserWarning, match="no locks on this file system"):
        Run.open(tmp_path / "run", {"a": 1})


def test_what_deletes_the_folder_is_told_at_the_next_file(tmp_path):
    run = Run.open(tmp_path / "run", {"a": 1})
    shutil.rmtree(run.folder)
    with pytest.raises(
        FileNotFoundError, match=r"run' was deleted, moved or emptied while.*Run the same command again"
    ):
        write_json(run.record(0, "imp", 1), {})
    with pytest.raises(FileNotFoundError, match="was deleted"):
        run.close()
    assert not run.folder.exists()


def test_a_folder_in_its_place_is_not_the_same_one(tmp_path):
    run = Run.open(tmp_path / "run", {"a": 1})
    run.folder.rename(tmp_path / "moved")
    other = process(HOLDS, run.folder)
    assert is_ready(other)
    try:
        with pytest.raises(FileNotFoundError, match="was deleted, moved"):
            write_json(run.record(0, "imp", 1), {})
    finally:
        other.kill()
        other.wait()


def test_force_that_is_killed_leaves_a_run(tmp_path, monkeypatch):
    run = Run.open(tmp_path / "run", {"a": 1})
    for index in (1, 2):
        write_json(run.record(0, "imp", index), {})
    rename = Path.rename

    def killed(path, target):
        if path.name == "config.json":
            raise KeyboardInterrupt
        return rename(path, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", killed)
        with pytest.raises(KeyboardInterrupt):
            Run.open(tmp_path / "run", {"a": 2}, force=True)
    assert Run.open(tmp_path / "run", {"a": 1}).tickets() == []
    assert Run.open(tmp_path / "run", {"a": 2}, force=True)
