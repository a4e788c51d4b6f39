"""An experiment: what it checks before its folder exists, what it is identified by, and its recipes and counts."""

import dataclasses
from pathlib import Path

import keras
import numpy as np
import pytest
import small_runs
from tiny_experiments import do, tiny

import kerasticket as kt
from kerasticket.experiments import experiment as module
from kerasticket.experiments.config import Config
from kerasticket.experiments.executors.threads import threads_here
from kerasticket.experiments.experiment import Experiment

pytestmark = pytest.mark.same_on_every_backend

SMALL = small_runs.SMALL


def small(folder: Path, **changes) -> Config:
    return dataclasses.replace(SMALL, out=str(folder), **changes)


def test_a_distilled_set_that_has_changed_is_another_configuration(tmp_path):
    images = kt.data.DistilledSet.load(SMALL.distilled)
    images.save(tmp_path / "set.h5")
    config = small(tmp_path / "run", distilled=str(tmp_path / "set.h5"), kinds=("synthetic",), init_seeds=(0,))
    Experiment.open(config)
    dataclasses.replace(images, images=images.images[:, ::-1].copy()).save(tmp_path / "set.h5")
    with pytest.raises(ValueError, match="distilled_sha256"):
        Experiment.open(config)


def test_a_run_knows_its_real_data_and_both_splits_have_its_classes(tmp_path):
    """The path is the same, the images or classes behind it are others; classes of a set are found by name."""
    rng, labels = np.random.default_rng(0), np.array([1, 0, 1, 0])
    images = rng.integers(0, 256, (4, 16, 16), dtype=np.uint8)

    def data(labels=labels, test_labels=labels, names=("cat", "dog")):
        arrays = {"x_train": images, "y_train": labels, "x_test": images, "y_test": test_labels}
        np.savez(tmp_path / "own.npz", class_names=names, **arrays)

    data()
    train = kt.data.load(f"npz:{tmp_path / 'own.npz'}")
    other_order = dataclasses.replace(kt.data.random_real(train, 1), class_names=("dog", "cat"))
    dataclasses.replace(other_order, labels=1 - other_order.labels).save(tmp_path / "set.h5")
    about = {"dataset": f"npz:{tmp_path / 'own.npz'}", "distilled": str(tmp_path / "set.h5"), "images_per_class": None}
    config = small(tmp_path / "run", kinds=("synthetic",), init_seeds=(0,), **about)
    opened = Experiment.open(config)
    np.testing.assert_array_equal(opened.distilled.labels, kt.data.random_real(train, 1).labels)
    assert opened.distilled.class_names == ("cat", "dog")
    Experiment.open(config)
    data(labels=1 - labels)
    with pytest.raises(ValueError, match=r"another configuration: train_sha256 was"):
        Experiment.open(config)
    data(names=("cat", "fox"))
    with pytest.raises(ValueError, match=r"Expected the same classes.*\['dog'\].*\['fox'\]"):
        Experiment.open(config)


def test_recipes_are_those_of_the_flags():
    both = tiny(Path("absent"), epochs=6, distilled_epochs=4, distilled_learning_rate=0.5, rewind_epoch=0, l2=0.25)
    real, distilled = both.recipe("imp"), both.recipe("synthetic")
    assert (real.epochs, real.learning_rate, real.l2) == (6, SMALL.learning_rate, 0.25)
    assert (distilled.epochs, distilled.learning_rate, distilled.l2) == (4, 0.5, 0.25)
    assert (real.passes_per_epoch, distilled.passes_per_epoch) == (6, 4)  # of few steps: all in one of Keras' epochs
    assert both.images_of_a_training("imp") == 6 * 40
    assert both.images_of_a_training("synthetic") == 4 * 40
    rewound = tiny(Path("absent"), epochs=6, rewind_epoch=2)
    assert rewound.recipe("imp").passes_per_epoch == 1
    assert [rewound.pruning(kind)["rewind_epoch"] for kind in ("imp", "synthetic")] == [2, 0]


@pytest.mark.parametrize(
    ("epochs", "steps", "passes"),
    [
        (12, 1.0, 12),  # 500 steps are never reached: all at once
        (12, 100.0, 6),  # 5 passes would do, and 6 divide 12
        (12, 125.0, 4),
        (12, 500.0, 1),
        (7, 400.0, 7),
        (1, 3.0, 1),
    ],
)
def test_an_epoch_of_keras_has_at_least_500_steps(epochs, steps, passes):
    assert module._passes_per_epoch(epochs, steps) == passes


def test_identity_is_what_decides_results_beside_the_flags(tmp_path):
    first = tiny(tmp_path, data_orders=(3, 1))
    identity = first.identity()
    assert identity["search_order"] == 3
    assert (identity["backend"], identity["threads"]) == (keras.config.backend(), threads_here())
    assert identity["start_sha256"] is identity["model_sha256"] is None
    assert len(identity["distilled_sha256"]) == len(identity["train_sha256"]) == 64
    assert tiny(tmp_path, images_per_class=5).identity()["train_sha256"] != identity["train_sha256"]
    ticket = first.start_ticket(0)
    ticket.save(tmp_path / "start.keras")
    begun = tiny(tmp_path, start=str(tmp_path / "start.keras"))
    assert begun.identity()["start_sha256"]
    assert (begun.origin, first.origin) == (("start", 0), ("dense", 0))


def test_models_and_pipelines_are_made_once():
    made = tiny(Path("absent"))
    assert made.model("imp") is made.model("imp")
    assert made.pipeline("imp", 1) is made.pipeline("imp", 1)
    assert made.pipeline("imp", 1) is not made.pipeline("imp", 2)
    assert made.model("imp") is not made.model("synthetic")


def test_a_few_lines_say_what_there_is():
    lines = tiny(Path("absent"), kinds=("imp", "synthetic")).about()
    assert "40 real training images" in lines[0]
    assert "10 distilled images (40 decoded)" in lines[1]
    assert lines[2] == f"lenet_300_100: {16 * 16 * 300 + 300 * 100 + 100 * 10:,} prunable weights"
    assert len(tiny(Path("absent")).about()) == 2


def test_results_that_were_deleted_on_the_way_are_named(tmp_path):
    made = tiny(tmp_path, data_orders=(1,))
    do(made, "seed 0  start", "seed 0  imp  search 1", "seed 0  imp  round 1  order 1")
    made.close()
    gone = made.run.result(0, "imp", 1, 1)
    gone.unlink()
    with pytest.raises(FileNotFoundError, match=f"1 of 2 results are not where they were written, such as '{gone}'"):
        made.close()
    made.close(seeds=())


def test_bad_settings_are_refused_before_the_folder_exists(tmp_path):
    for changes, message in (
        ({"rounds": 0}, "Expected --rounds above the 0 of --start"),
        ({"train_rounds": (1, 2)}, r"--train-rounds within 1..1. Received: \[2\]"),
        ({"init_seeds": (1, 1)}, "--init-seeds to be distinct"),
    ):
        with pytest.raises(ValueError, match=message):
            Experiment.open(small(tmp_path / "run", **changes))
        assert not (tmp_path / "run").exists()
