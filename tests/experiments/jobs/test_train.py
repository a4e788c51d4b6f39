"""A training of a ticket: to the bits of the same training within a search, and its loss is watched."""

import numpy as np
import pytest
from tiny_experiments import do, tiny

import kerasticket as kt
from kerasticket.experiments.events import ignore
from kerasticket.experiments.jobs.train import train
from kerasticket.files.json_files import read_json
from kerasticket.models import saved

pytestmark = pytest.mark.same_on_every_backend


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    made = tiny(tmp_path_factory.mktemp("train"), epochs=2)
    do(made, "seed 0  start")
    return made


def test_a_training_in_the_first_order_is_that_of_imps_first_round(experiment):
    """So that it does not matter which of the two a plan has."""
    do(experiment, "seed 0  imp  search 1")
    result = experiment.run.result(0, "dense", 0, 1)
    within, network = read_json(result), (result.parent / "trained.keras").read_bytes()
    history = (result.parent / "history.csv").read_bytes()
    result.unlink()
    train(experiment, ignore, seed=0, kind="dense", index=0, data_order=1)
    alone = read_json(result)
    assert alone | {"seconds": 0} == within | {"seconds": 0}
    assert (result.parent / "trained.keras").read_bytes() == network
    assert (result.parent / "history.csv").read_bytes() == history


def test_it_is_told_epoch_by_epoch_and_its_numbers_are_those_of_the_network(experiment):
    events = []
    train(experiment, events.append, seed=0, kind="dense", index=0, data_order=2)
    assert sum(event.amount for event in events if event.kind == "advance") == 2 * 40
    (note,) = [event.text for event in events if event.kind == "note"]
    row = read_json(experiment.run.result(0, "dense", 0, 2))
    assert f"test accuracy {row['accuracy']:6.2%}" in note
    model = saved.load(experiment.run.order(0, "dense", 0, 2) / "trained.keras")
    test = kt.data.load("digits", "test")
    logits = model.predict(((test.to_float() - test.mean) / test.std).astype("float32"), verbose=0)
    assert np.mean(logits.argmax(-1) == test.labels) == pytest.approx(row["accuracy"], abs=1e-6)


def test_a_loss_that_is_not_finite_names_the_ticket(tmp_path):
    broken = tiny(tmp_path, learning_rate=1e30, epochs=3)
    do(broken, "seed 0  start")
    with pytest.raises(FloatingPointError, match="The dense ticket of round 0, seed 0: "):
        train(broken, ignore, seed=0, kind="dense", index=0, data_order=1)
    assert not broken.run.result(0, "dense", 0, 1).exists()
