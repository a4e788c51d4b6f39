"""Sets that are measured: a row for each and its controls, beside those of earlier runs, going on after a kill."""

import csv
import dataclasses
from pathlib import Path

import numpy as np
import pytest

import kerasticket as kt
from kerasticket.distillation import evaluation, resuming
from kerasticket.distillation.controls import label_robust_score
from kerasticket.experiments.jobs.evaluate import evaluate
from kerasticket.experiments.settings import EvaluationSettings
from kerasticket.files import checkpoint

pytestmark = [pytest.mark.same_on_every_backend, pytest.mark.usefixtures("plain_operations")]
ROOT = Path(__file__).parents[3]

SET = str(ROOT / "assets/distilled/digits_ipc1.h5")
SMALL = EvaluationSettings((SET,), architectures=("lenet_300_100",), epochs=2, nets=2)
NAME = Path(SET).name


def rows_of(config):
    with open(config.csv, newline="") as file:
        return list(csv.DictReader(file))


def numbers(config):
    return [{key: value for key, value in row.items() if key != "minutes"} for row in rows_of(config)]


def test_each_set_stands_beside_its_controls(tmp_path):
    """Distilled, random real and mix, with the score that follows; nothing is left beside the CSV."""
    config = dataclasses.replace(SMALL, csv=str(tmp_path / "rows.csv"), full_accuracy=0.99)
    evaluate(config)
    rows = rows_of(config)
    assert [row["set"] for row in rows] == [NAME, f"random_real beside {NAME}", f"mix beside {NAME}"]
    assert [row["decoded"] for row in rows] == ["40", "10", "40"]
    means = [float(row["mean"]) for row in rows]
    assert all(0 <= mean <= 1 for mean in means)
    score = label_robust_score(full=0.99, hard=means[0], distilled=means[0], random=means[1])
    assert [row["label_robust_score"] for row in rows] == [str(score), "", ""]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rows.csv", "rows.csv.sha256"]


def test_finished_rows_are_not_measured_again(tmp_path, monkeypatch):
    """Controls are added to a set that stood alone; other settings are other rows."""
    config = dataclasses.replace(SMALL, csv=str(tmp_path / "rows.csv"), full_accuracy=0.99)
    evaluate(dataclasses.replace(config, controls=False))
    assert [row["label_robust_score"] for row in rows_of(config)] == [""]
    first = rows_of(config)[0]
    evaluate(config)
    assert len(rows_of(config)) == 3
    assert rows_of(config)[0] == first | {"label_robust_score": rows_of(config)[0]["label_robust_score"]}
    assert rows_of(config)[0]["label_robust_score"]
    monkeypatch.setattr(evaluation, "accuracy_of", None)  # nothing is left to measure
    evaluate(config)
    assert len(rows_of(config)) == 3
    with pytest.raises(TypeError):
        evaluate(dataclasses.replace(config, epochs=3))


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_rows(tmp_path, monkeypatch):
    """Killed while the second network of the first control trains; no finished epoch is trained again."""
    monkeypatch.setattr(checkpoint, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    monkeypatch.setattr(evaluation, "IMAGES_PER_EPOCH", 1)
    config = dataclasses.replace(
        SMALL,
        architectures=("convnet3", "alexnet"),
        width=4,
        epochs=3,
        augmentation="none",
        csv=str(tmp_path / "whole.csv"),
    )
    evaluate(config)
    epochs, finished = [], resuming.ResumedTraining.on_epoch_end

    def kill(self, epoch, logs=None):
        finished(self, epoch, logs)
        epochs.append(epoch)
        if len(epochs) == 3 * 2 + 3 + 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(resuming.ResumedTraining, "on_epoch_end", kill)
    killed = dataclasses.replace(config, csv=str(tmp_path / "killed.csv"))
    with pytest.raises(KeyboardInterrupt):
        evaluate(killed)
    evaluate(killed)
    assert len(epochs) == 2 * 3 * 2 * 3  # architectures, rows, networks, epochs
    assert numbers(killed) == numbers(config)


def test_sets_of_others_are_imported(tmp_path):
    """And judged in their own space, here ZCA."""
    digits = kt.data.load("digits")
    whitened = kt.data.ZCA.fit(digits).whiten(digits.subset(2, 0))
    np.savez(tmp_path / "set.npz", images=whitened.images, labels=whitened.labels)
    imported = dataclasses.replace(
        SMALL, paths=(str(tmp_path / "set.npz"),), format="arrays", space="zca", csv=str(tmp_path / "c.csv")
    )
    evaluate(imported)
    assert [row["space"] for row in rows_of(imported)] == ["zca"] * 2  # the control is whitened too


def test_soft_labels_stand_beside_hard_ones(tmp_path):
    data = kt.data.random_real(kt.data.load("digits"), 1)
    soft = np.eye(10, dtype="float32")[data.labels] * np.float32(0.9) + np.float32(0.01)
    dataclasses.replace(data, labels=soft).save(tmp_path / "soft.h5")
    config = dataclasses.replace(
        SMALL, paths=(str(tmp_path / "soft.h5"),), csv=str(tmp_path / "c.csv"), full_accuracy=0.9
    )
    evaluate(config)
    rows = rows_of(config)
    assert [row["set"].split(" beside ")[0] for row in rows] == ["soft.h5", "hard_labels", "random_real"]
    hard, random = (float(row["mean"]) for row in rows[1:])
    expected = label_robust_score(full=0.9, hard=hard, distilled=hard, random=random)
    assert float(rows[0]["label_robust_score"]) == expected


def test_bad_settings_are_refused(tmp_path):
    for options, message in (
        ({"augmentation": "rain"}, "--augmentation of"),
        ({"architectures": ("perceptron",)}, "--architectures of"),
        ({"architectures": ()}, "--architectures of"),
        ({"nets": 1}, "--nets of at least 2"),
        ({"factor": 2}, "kerasticket's need none"),
        ({"full_accuracy": 84.8}, "--full-accuracy in"),
        ({"full_accuracy": 0.8, "architectures": ("convnet3", "resnet10")}, "of a single architecture"),
    ):
        with pytest.raises(ValueError, match=message):
            evaluate(dataclasses.replace(SMALL, **options))
    other = tmp_path / "other.csv"
    other.write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="of other columns"):
        evaluate(dataclasses.replace(SMALL, csv=str(other)))
