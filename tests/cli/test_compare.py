"""compare_sets.py: tickets of each set beside its controls, going on after a kill, and refusing before any work."""

import csv
from pathlib import Path

import numpy as np
import pytest

import kerasticket as kt
from kerasticket.cli import compare as compare_sets
from kerasticket.data.formats import importers
from kerasticket.experiments.study import ExperimentWorker

pytestmark = pytest.mark.same_on_every_backend
ROOT = Path(__file__).parents[2]

OURS = str(ROOT / "assets/distilled/digits_ipc1.h5")
SMALL = ["--model", "lenet_300_100", "--images-per-class", "10", "--rounds", "1"]
SMALL += [
    "--init-seeds",
    "0",
    "--data-orders",
    "1",
    "--epochs",
    "1",
    "--distilled-epochs",
    "1",
    "--augmentation",
    "none",
]


def call(folder, *sets, flags=()):
    """Runs the script; the rows that it wrote."""
    config, names, path, execution = compare_sets.read_arguments(
        ["--sets", *sets, *SMALL, "--out", str(folder), *flags]
    )
    compare_sets.main(config, names, path, execution)
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """Of one of our sets and one of "another project", in ZCA space, with one image per class each."""
    folder, digits = tmp_path_factory.mktemp("sets"), kt.data.load("digits")
    theirs = kt.data.ZCA.fit(digits).whiten(digits.subset(1, 0))
    np.savez(folder / "theirs.npz", images=theirs.images, labels=theirs.labels)
    read = importers.read
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(importers, "read", lambda *given, **options: read(*given, space="zca", **options))
        return call(folder / "run", OURS, f"arrays:{folder / 'theirs.npz'}")


def test_each_set_stands_beside_the_controls_of_the_first(rows):
    names = ["digits_ipc1", "theirs", "random_real", "mix"]
    expected = [(name, kind, index) for name in names for kind, index in (("dense", "0"), ("synthetic", "1"))]
    assert [(row["set"], row["kind"], row["round"]) for row in rows] == expected
    assert [row["space"] for row in rows] == ["unit"] * 2 + ["zca"] * 2 + ["unit"] * 4
    assert {row["images"] for row in rows} == {"10"}
    assert {row["stored"] for row in rows if row["kind"] == "synthetic"} == {"10"}
    dense = {row["set"]: row["accuracy"] for row in rows if row["kind"] == "dense"}
    assert dense["digits_ipc1"] == dense["random_real"] == dense["mix"]  # one network on the same real images


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_rows(rows, tmp_path, monkeypatch):
    """Killed within the second set; what is finished is not done again."""
    expected, run = [row for row in rows if row["set"] != "theirs"], ExperimentWorker.run

    def kill(self, job, listener):
        if job.action == "train" and "random_real" in self.experiment.config.distilled:
            raise KeyboardInterrupt
        run(self, job, listener)

    with monkeypatch.context() as patched:
        patched.setattr(ExperimentWorker, "run", kill)
        with pytest.raises(KeyboardInterrupt):
            call(tmp_path, OURS)
    assert len((tmp_path / "sets.csv").read_text().splitlines()) == 3  # the first set's rows are safe
    assert call(tmp_path, OURS) == expected
    monkeypatch.setattr(kt.training, "train", None)  # nothing is left to train
    assert call(tmp_path, OURS, flags=["--csv", str(tmp_path / "again.csv")]) == expected


def test_sets_with_the_names_of_others_are_refused(tmp_path, monkeypatch):
    """Of the same call, of an earlier one, of a control; the earlier file stays."""
    monkeypatch.setattr(ExperimentWorker, "run", None)  # all of it comes before the work
    other = kt.data.random_real(kt.data.load("digits"), 1, seed=1)
    for name in ("digits_ipc1", "random_real"):
        other.save(tmp_path / f"{name}.h5")
    with pytest.raises(ValueError, match=r"other names than the controls \['random_real'\]"):
        call(tmp_path / "out", str(tmp_path / "random_real.h5"))
    kept = tmp_path / "out" / "digits_ipc1.h5"
    kt.data.DistilledSet.load(OURS).save(kept)
    before = kept.read_bytes()
    with pytest.raises(ValueError, match="another set of that name.*--force"):
        call(tmp_path / "out", str(tmp_path / "digits_ipc1.h5"))
    assert kept.read_bytes() == before


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "Expected --sets FILE... Received: none"),
        (["--sets", OURS, OURS], "distinct file names. Received: 'digits_ipc1' twice"),
        (["--sets", "absent.h5"], "does not exist"),
        (["--sets", "idc:absent.pt"], "does not exist"),
        (["--sets", "vhs:absent.pt"], "Expected a format of"),
        (["--sets", OURS, "--kinds", "imp"], "of kind synthetic.*Received: --kinds"),
        (["--sets", OURS, "--distilled", OURS], "one of the --sets. Received: --distilled"),
        (["--sets", OURS, "--dry-run"], "no --dry-run here"),
        (["--sets", OURS, "--model", "vit"], "--model to be one of"),
        (["--sets", OURS, "--csv", str(Path(OURS) / "rows.csv")], "folder that can be written to"),
    ],
)
def test_bad_arguments_are_refused_before_the_work(flags, message, tmp_path, monkeypatch):
    monkeypatch.setattr(ExperimentWorker, "run", None)
    with pytest.raises(ValueError, match=message):
        compare_sets.main(*compare_sets.read_arguments([*flags, "--out", str(tmp_path)]))
