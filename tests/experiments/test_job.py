"""A job is done when its last file is there."""

import pytest

from kerasticket.experiments.job import Job

pytestmark = pytest.mark.same_on_every_backend


def test_done_is_the_last_file(tmp_path):
    job = Job("train", "train", {}, (), ("history.csv", "result.json"))
    (tmp_path / "history.csv").touch()
    assert not job.done(tmp_path)
    (tmp_path / "result.json").touch()
    assert job.done(tmp_path)
