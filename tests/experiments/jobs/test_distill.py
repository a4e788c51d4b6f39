"""Distilling into a file: what it says of itself, and going on after a kill to the same images."""

import numpy as np
import pytest

import kerasticket as kt
from kerasticket.cli.distill import parse
from kerasticket.experiments.jobs import distill as job
from kerasticket.files import checkpoint

pytestmark = [pytest.mark.same_on_every_backend, pytest.mark.usefixtures("plain_operations")]

SMALL = ["--ipc", "1", "--images-per-class", "12", "--width", "4"]
SMALL += ["--nets", "2", "--test-width", "4", "--test-epochs", "2"]


def call(tmp_path, *flags, told=None):
    """Parses and runs; the set that was written."""
    told = [] if told is None else told
    places = ["--out", str(tmp_path / "set{ipc}.h5"), "--state", str(tmp_path / "state")]
    settings, method = parse([*SMALL, *places, *flags])
    job.distill(settings, method, command="python scripts/distill_dataset.py ...", listener=told.append)
    return kt.data.DistilledSet.load(tmp_path / "set1.h5")


def test_a_run_leaves_a_set_that_says_how_it_was_made_and_how_good_it_is(tmp_path):
    made = call(tmp_path, "--networks", "1", "--iterations", "2", "--real-batch", "4", "--net-images", "64")
    assert set(made.accuracy) == {"distilled", "mix", "random_real"}
    assert len(made.accuracy["mix"]["accuracies"]) == 2
    assert made.command.startswith("python scripts/distill_dataset.py")
    assert made.settings["iterations"] == 2
    assert made.settings["minutes"] >= 0
    assert (tmp_path / "set1.png").stat().st_size > 1000


def test_soft_labels_are_of_a_teacher_that_is_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(job, "measure", lambda *arguments: {})
    made = call(tmp_path, "--method", "selection", "--net-epochs", "1", "--soft-labels", "2", "--teacher-epochs", "1")
    assert made.is_soft
    assert made.settings["labels"]["temperature"] == 2.0
    assert 0 <= made.settings["labels"]["accuracy"] <= 1


def test_a_killed_run_goes_on_to_the_same_set(tmp_path, monkeypatch):
    """Killed after the first step, when the first preview is there; what measures has its own test."""
    monkeypatch.setattr(job, "measure", lambda *arguments: {})
    monkeypatch.setattr(checkpoint, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    monkeypatch.setattr(job, "SECONDS_BETWEEN_PREVIEWS", -1.0)
    flags = ["--networks", "2", "--iterations", "2", "--real-batch", "4", "--net-images", "64"]
    expected = call(tmp_path / "whole", *flags)
    folder, preview = tmp_path / "killed", job.preview

    def kill(images, ipc, path):
        preview(images, ipc, path)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(job, "preview", kill)
        with pytest.raises(KeyboardInterrupt):
            call(folder, *flags)
    assert (folder / "state" / "set1.png").exists()
    assert not (folder / "set1.h5").exists()
    again = call(folder, *flags)
    np.testing.assert_array_equal(again.images, expected.images)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--nets", "1"], "--nets of at least 2"),
        (["--augmentation", "blur"], "--augmentation digits, paper-cifar or paper-imagenet"),
        (["--test-epochs", "0"], "epochs"),
        (["--ipc", "0"], "--ipc of at least 1"),
    ],
)
def test_bad_flags_are_refused_before_the_work(flags, message, tmp_path, monkeypatch):
    monkeypatch.setattr(job, "run_method", None)
    with pytest.raises(ValueError, match=message):
        call(tmp_path, *flags)
