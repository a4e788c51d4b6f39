"""distill_dataset.py: every method and its settings as flags, and going on after a kill to the same file."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

import kerasticket as kt
from kerasticket.cli import distill as distill_dataset
from kerasticket.files import checkpoint

pytestmark = [pytest.mark.same_on_every_backend, pytest.mark.usefixtures("plain_operations")]

SMALL = ["--ipc", "1", "--images-per-class", "12", "--width", "4"]
SMALL += ["--nets", "2", "--test-width", "4", "--test-epochs", "2"]


def call(tmp_path, *flags):
    """Parses and runs; the set that was written."""
    places = ["--out", str(tmp_path / "set{ipc}.h5"), "--state", str(tmp_path / "state")]
    config, settings = distill_dataset.parse([*SMALL, *places, *flags])
    distill_dataset.main(config, settings, "python scripts/distill_dataset.py ...")
    return kt.data.DistilledSet.load(tmp_path / "set1.h5")


@pytest.mark.parametrize("preset", distill_dataset.PRESETS)
@pytest.mark.parametrize("method", distill_dataset.METHODS)
def test_every_preset_has_every_method(preset, method):
    config, settings = distill_dataset.parse(["--preset", preset, "--method", method, "--ipc", "3"])
    expected = {"dc": "idc", "dsa": "idc", "tesla": "mtt"}.get(method, method)
    assert settings.name == expected
    assert getattr(settings, "form", None) == {"mtt": "unrolled", "tesla": "constant-memory"}.get(method)
    assert config.ipc == 3
    if preset == "cifar10-paper":  # as published, but for IDC's rate, which it scales with ipc
        published = {"dc": kt.distillation.dc, "dsa": kt.distillation.dsa}.get(method)
        plain = published(3) if published else kt.distillation.METHODS[expected]()
        plain = dataclasses.replace(plain, form=settings.form) if method == "tesla" else plain
        rate = {"learning_rate": pytest.approx(0.0015)} if method == "idc" else {}
        assert dataclasses.asdict(settings) == dataclasses.asdict(plain) | rate


def test_settings_of_the_method_are_flags():
    config, settings = distill_dataset.parse(
        ["--method", "dsa", "--ipc", "10", "--networks", "7", "--matching.no-flip", "--distance", "l1", "--seed", "4"]
    )
    assert (settings.networks, settings.iterations, settings.distance) == (7, 10, "l1")
    assert not settings.matching.flip
    assert settings.training.flip
    assert config.seed == 4


def test_a_run_leaves_a_set_that_says_how_it_was_made_and_how_good_it_is(tmp_path):
    made = call(tmp_path, "--networks", "1", "--iterations", "2", "--real-batch", "4", "--net-images", "64")
    assert set(made.accuracy) == {"distilled", "mix", "random_real"}
    assert len(made.accuracy["mix"]["accuracies"]) == 2
    assert made.command.startswith("python scripts/distill_dataset.py")
    assert made.settings["iterations"] == 2
    assert made.settings["minutes"] >= 0
    assert (tmp_path / "set1.png").stat().st_size > 1000


def test_soft_labels_are_of_a_teacher_that_is_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(distill_dataset, "measure", lambda *arguments: {})
    made = call(tmp_path, "--method", "selection", "--net-epochs", "1", "--soft-labels", "2", "--teacher-epochs", "1")
    assert made.is_soft
    assert made.settings["labels"]["temperature"] == 2.0
    assert 0 <= made.settings["labels"]["accuracy"] <= 1


def test_a_killed_run_goes_on_to_the_same_set(tmp_path, monkeypatch):
    """Killed after the first step, when the first preview is there; what measures has its own test."""
    monkeypatch.setattr(distill_dataset, "measure", lambda *arguments: {})
    monkeypatch.setattr(checkpoint, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    monkeypatch.setattr(distill_dataset, "SECONDS_BETWEEN_PREVIEWS", -1.0)
    flags = ["--networks", "2", "--iterations", "2", "--real-batch", "4", "--net-images", "64"]
    expected = call(tmp_path / "whole", *flags)
    folder, preview = tmp_path / "killed", distill_dataset.preview

    def kill(images, ipc, path):
        preview(images, ipc, path)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(distill_dataset, "preview", kill)
        with pytest.raises(KeyboardInterrupt):
            call(folder, *flags)
    assert (folder / "state" / "set1.png").exists()
    assert not (folder / "set1.h5").exists()
    again = call(folder, *flags)
    np.testing.assert_array_equal(again.images, expected.images)


def test_files_are_named_by_data_set_and_not_overwritten_by_others(tmp_path):
    """`selection` says nothing of a file's bytes: what a set was made from does."""
    config, method = distill_dataset.parse(["--dataset", "folder:my/pets", "--ipc", "2", "--method", "selection"])
    assert distill_dataset.path_of(config) == Path("assets/distilled/folder_my_pets_ipc2.h5")
    assert distill_dataset.path_of(distill_dataset.Config()) == Path("assets/distilled/digits_ipc10.h5")
    train, path = kt.data.load("digits", images_per_class=5), tmp_path / "set.h5"

    def check(data=train, sha="1", made=method):
        distill_dataset.check_replaceable(path, config, made, data, sha)

    check()  # there is none
    about = dataclasses.asdict(method) | {"data_sha256": "1", "precision": "float32"}
    old = dataclasses.replace(kt.data.random_real(train, 2), method="selection", settings=about)
    dataclasses.replace(old, seeds={"distillation": 0}).save(path)
    check()
    check(made=dataclasses.replace(method, networks=method.networks + 1))  # goes on
    with pytest.raises(ValueError, match=r"data_sha256 was '1', is now '2'. Choose another --out, or pass --overwrite"):
        check(sha="2")
    with pytest.raises(ValueError, match=r"source was 'digits:1.0.0/train, 5 per class, seed 0', is now 'pets'"):
        check(dataclasses.replace(train, source="pets"))
    with pytest.raises(ValueError, match=r"networks was \d+, is now 1\."):
        check(made=dataclasses.replace(method, networks=1))
    path.write_bytes(b"no set")
    with pytest.raises(ValueError, match="is no distilled set"):
        check()


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
    monkeypatch.setattr(distill_dataset, "distill", None)
    with pytest.raises(ValueError, match=message):
        call(tmp_path, *flags)
