"""All jobs in this process."""

import pytest
from paper_study import PaperStudy, attempts, files

from kerasticket.experiments.executors import EXECUTORS, FailedJobsError, execute

pytestmark = pytest.mark.same_on_every_backend


def test_jobs_are_done_in_their_order_and_told(tmp_path):
    events = []
    execute([PaperStudy(tmp_path, chains=1, length=2)], listener=events.append)
    assert [(event.kind, event.job) for event in events] == [
        ("plan", ""),
        *(("begin", "0-0"), ("advance", "0-0"), ("done", "0-0")),
        *(("begin", "0-1"), ("advance", "0-1"), ("done", "0-1")),
    ]
    assert files(tmp_path)["0-1.txt"] == "0-0\n0-1\n"


def test_a_job_that_raises_is_named_and_others_go_on(tmp_path):
    study = PaperStudy(tmp_path, chains=2, length=2, actions=(("0-0", "raise"),))
    with pytest.raises(
        FailedJobsError, match=r"1 job failed.*0-0: ArithmeticError: no such number.*once more"
    ) as error:
        execute([study])
    assert "paper_study.py" in error.value.failures[0].trace
    assert set(files(tmp_path)) == {"1-0.txt", "1-1.txt"}
    execute([PaperStudy(tmp_path, chains=2, length=2)])
    assert [job for job, _ in attempts(tmp_path)].count("1-0") == 1


def test_what_happens_is_logged(tmp_path, caplog):
    caplog.set_level("INFO", "kerasticket")
    with pytest.raises(FailedJobsError):
        execute([PaperStudy(tmp_path, chains=1, length=1, actions=(("0-0", "raise"),))])
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("INFO", "1 jobs"),
        ("WARNING", "0-0: no such number"),
    ]


def test_a_full_disk_ends_the_study(tmp_path):
    with pytest.raises(OSError, match="No space left"):
        execute([PaperStudy(tmp_path, actions=(("0-0", "fill_the_disk"),))])
    assert not files(tmp_path)


def test_an_unknown_executor_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"--executor to be one of.*Did you mean 'processes'"):
        execute([PaperStudy(tmp_path)], "process")
    assert "inline" in EXECUTORS
