"""A run seen from behind: what it has trained, its data, and the folders that hold results of it."""

import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
from small_runs import trained_in_two_orders

import kerasticket as kt
from kerasticket.experiments.trained_run import Subnetwork, TrainedRun
from kerasticket.files.json_files import read_json, write_json

pytestmark = pytest.mark.same_on_every_backend


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return trained_in_two_orders(tmp_path_factory.mktemp("runs") / "digits")


@pytest.fixture
def run(folder):
    run = TrainedRun.open(str(folder))
    yield run
    run.close()


def test_its_networks_are_those_on_disk(run, folder):
    assert [(of.kind, of.round, of.init_seed, sorted(orders)) for of, orders in run.trainings.items()] == [
        ("dense", 0, 0, [1, 2]),
        ("imp", 1, 0, [1, 2]),
    ]
    of = next(of for of in run.trainings if of.kind == "imp")
    stored = keras.saving.load_model(folder / "seed_0/imp/round_01/order_2/trained.keras")
    for path, value in kt.get_params(stored).items():
        np.testing.assert_array_equal(run.params(of, 2)[path], value)
    assert kt.sparsity(run.model(of)) == pytest.approx(of.sparsity)
    assert str(of) == f"imp, round 1 ({of.sparsity:.1%}), init seed 0"


def test_the_network_at_the_start_is_always_among_the_chosen(run):
    everything = run.chosen((), (), ())
    assert everything == list(run.trainings)
    assert [of.kind for of in run.chosen(("imp",), (1,), (0,))] == ["dense", "imp"]
    for options, message in (
        ((("random",), (), ()), r"--kinds among \['dense', 'imp'\]"),
        (((), (5,), ()), r"--rounds among \[0, 1\]"),
        (((), (), (3,)), r"--init-seeds among \[0\]"),
    ):
        with pytest.raises(ValueError, match=message):
            run.chosen(*options)


def test_images_are_those_of_the_run_or_fewer(run):
    assert len(run.images("train")) == 40
    few = run.images("train", 2)
    assert np.bincount(few.labels).tolist() == [2] * 10


def test_folders_without_trained_networks_are_refused(folder, tmp_path):
    with pytest.raises(ValueError, match="folder of a run"):
        TrainedRun.open(str(tmp_path))
    write_json(tmp_path / "config.json", read_json(folder / "config.json"))
    with pytest.raises(ValueError, match=r"trained networks in .*without --no-keep-trained"):
        TrainedRun.open(str(tmp_path))


def test_a_folder_holds_results_of_one_run(run, folder, tmp_path):
    run.claim(tmp_path / "out")
    shutil.copytree(folder, tmp_path / "other")
    write_json(tmp_path / "other/config.json", read_json(folder / "config.json") | {"learning_rate": 0.5})
    run.close()
    other = TrainedRun.open(str(tmp_path / "other"))
    with pytest.raises(ValueError, match="another learning_rate"):
        other.claim(tmp_path / "out")


def test_other_data_are_refused(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "other")
    stored = read_json(folder / "config.json")
    write_json(tmp_path / "other/config.json", stored | {"test_sha256": "0" * 64})
    with pytest.raises(ValueError, match=r"data that the run in .*test_sha256 differ"):
        TrainedRun.open(str(tmp_path / "other")).images("test")


def test_subnetworks_are_sorted_by_kind_and_round():
    several = [Subnetwork("imp", 2, 0, 0.36), Subnetwork("dense", 0, 0, 0.0), Subnetwork("imp", 1, 1, 0.2)]
    assert [(of.kind, of.round) for of in sorted(several)] == [("dense", 0), ("imp", 1), ("imp", 2)]
