"""Worker processes: the same files, whoever is killed."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from paper_study import PaperStudy, attempts, files

from kerasticket.experiments.executors import FailedJobsError, execute

pytestmark = pytest.mark.same_on_every_backend

HELPERS = Path(__file__).parents[2] / "helpers"
DRIVER = """
import sys
from pathlib import Path
from paper_study import PaperStudy
from kerasticket.experiments.executors import execute
from kerasticket.files.lock import RunLock
folder = Path(sys.argv[1])
lock = RunLock.of_folder(folder)
execute([PaperStudy(folder, chains=3, length=6, seconds=0.1)], "processes", workers=2, threads=1)
"""


def workers_of(folder: Path) -> set[str]:
    return {process for _, process in attempts(folder)}


def alive(process: str) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_two_workers_make_the_files_of_one_process_and_live_on(tmp_path):
    for name in ("inline", "processes"):
        (tmp_path / name).mkdir()
        study = PaperStudy(tmp_path / name, chains=4, length=3, seconds=0.05)
        execute([study], name, workers=2, threads=1)
    assert files(tmp_path / "inline") == files(tmp_path / "processes")
    assert len(workers_of(tmp_path / "processes")) == 2
    assert str(os.getpid()) not in workers_of(tmp_path / "processes")
    assert not any(alive(process) for process in workers_of(tmp_path / "processes"))


def test_events_name_the_worker(tmp_path):
    events = []
    execute([PaperStudy(tmp_path, chains=2, length=1)], "processes", events.append, workers=2, threads=1)
    assert {event.worker for event in events if event.kind == "advance"} <= {"worker 0", "worker 1"}
    assert sorted(event.job for event in events if event.kind == "done") == ["0-0", "1-0"]
    assert events[0].text == "2 jobs, 2 workers"


def test_several_studies_are_worked_on_by_the_same_workers(tmp_path):
    folders = [tmp_path / name for name in "abc"]
    for folder in folders:
        folder.mkdir()
    execute([PaperStudy(folder, chains=1, length=2) for folder in folders], "processes", workers=1, threads=1)
    assert all(len(files(folder)) == 2 for folder in folders)
    assert len({process for folder in folders for process in workers_of(folder)}) == 1


def test_a_job_that_raises_is_named_and_others_go_on(tmp_path):
    study = PaperStudy(tmp_path, chains=2, length=2, actions=(("0-0", "raise"),))
    with pytest.raises(FailedJobsError, match="0-0: ArithmeticError: no such number") as error:
        execute([study], "processes", workers=2, threads=1)
    assert "paper_study.py" in error.value.failures[0].trace
    assert set(files(tmp_path)) == {"1-0.txt", "1-1.txt"}


def test_a_worker_that_dies_gives_its_job_back(tmp_path):
    """As the kernel ends a process that takes too much memory."""
    events, study = [], PaperStudy(tmp_path, chains=2, length=2, actions=(("0-0", "die_once"),))
    execute([study], "processes", events.append, workers=2, threads=1)
    assert len(files(tmp_path)) == 4
    (back,) = [event for event in events if event.kind == "given back"]
    assert "exit code -9" in back.text


def test_jobs_of_one_name_in_several_studies_have_deaths_of_their_own(tmp_path):
    folders = [tmp_path / name for name in "abcd"]
    for folder in folders:
        folder.mkdir()
    studies = [PaperStudy(folder, chains=1, length=1, actions=(("0-0", "die_once"),)) for folder in folders]
    execute(studies, "processes", workers=1, threads=1)
    assert all(len(files(folder)) == 1 for folder in folders)


def test_a_job_that_kills_three_workers_has_failed(tmp_path):
    study = PaperStudy(tmp_path, chains=2, length=1, actions=(("0-0", "die"),))
    with pytest.raises(FailedJobsError, match=r"0-0: worker . died \(exit code -9\), the third one.*memory.*worker_"):
        execute([study], "processes", workers=2, threads=1)
    assert [job for job, _ in attempts(tmp_path)].count("0-0") == 3
    assert set(files(tmp_path)) == {"1-0.txt"}


def test_a_full_disk_ends_the_study_and_it_goes_on_when_there_is_room(tmp_path):
    with pytest.raises(OSError, match=r"0-0: OSError.*No space left.*output is in"):
        execute([PaperStudy(tmp_path, actions=(("0-0", "fill_the_disk"),))], "processes", workers=1, threads=1)
    execute([PaperStudy(tmp_path)], "processes", workers=1, threads=1)
    assert len(files(tmp_path)) == 6


def test_workers_that_cannot_start_are_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(RuntimeError, match=r"died \(exit code 1\) at its start.*worker_0.log"):
        execute([PaperStudy(tmp_path)], "processes", workers=1, threads=1)


def test_the_workers_have_the_threads_that_they_are_given(tmp_path):
    execute(
        [PaperStudy(tmp_path, chains=1, length=1, actions=(("0-0", "tell_threads"),))],
        "processes",
        workers=1,
        threads=3,
    )
    assert (tmp_path / "threads.txt").read_text() == "3"


@pytest.mark.parametrize("option", ["workers", "threads", "workers_per_gpu"])
def test_bad_numbers_are_refused(option, tmp_path):
    with pytest.raises(ValueError, match=f"--{option.replace('_', '-')}.* of at least 1. Received: 0"):
        execute([PaperStudy(tmp_path)], "processes", **{option: 0})


def test_settings_that_nobody_else_can_import_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(PaperStudy, "settings", property(lambda study: lambda: study))
    with pytest.raises(ValueError, match=r"other processes can import.*file beside your program.*or run inline"):
        execute([PaperStudy(tmp_path)], "processes", workers=1)
    ours = type("Ours", (), {"__module__": "__main__"})
    monkeypatch.setattr(sys.modules["__main__"], "Ours", ours, raising=False)
    monkeypatch.setattr(PaperStudy, "settings", property(lambda study: ours))
    with pytest.raises(ValueError, match="'Ours' of the program itself"):
        execute([PaperStudy(tmp_path)], "processes", workers=1)


def start(folder: Path) -> "subprocess.Popen[bytes]":
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(HELPERS), str(HELPERS.parents[1])])}
    return subprocess.Popen([sys.executable, "-c", DRIVER, str(folder)], env=environment)


def test_twenty_kills_of_workers_and_drivers_lose_the_jobs_in_hand_alone(tmp_path):
    """By turns a worker, which is replaced, and the driver, whose workers end with it, at random moments."""
    rng, done, kills = random.Random(0), 0, 20
    while done < kills:
        folder = tmp_path / str(done)
        folder.mkdir()
        done += killed_study(folder, rng, kills - done, done)
        assert len(files(folder)) == 18
        assert all(
            text.split() == [f"{name[0]}-{i}" for i in range(int(name[2]) + 1)] for name, text in files(folder).items()
        )


def killed_study(folder: Path, rng: random.Random, most: int, turn: int) -> int:
    """Kills at random until the study ends; how often."""
    driver, kills = start(folder), 0
    while driver.poll() is None:
        time.sleep(rng.uniform(0.1, 0.5))
        known = workers_of(folder) if (folder / "attempts.txt").exists() else set()
        victims = [process for process in known if alive(process)]
        if kills >= most or not victims or driver.poll() is not None:
            continue
        before, kills = set(files(folder)), kills + 1
        if (turn + kills) % 2:
            os.kill(int(rng.choice(victims)), signal.SIGKILL)
            continue
        driver.kill()
        driver.wait()
        gone = time.monotonic() + 5
        while any(alive(process) for process in victims) and time.monotonic() < gone:
            time.sleep(0.01)
        assert not any(alive(process) for process in victims), "a worker outlived its driver"
        assert before <= set(files(folder))
        driver = start(folder)
    assert driver.returncode == 0
    return kills
