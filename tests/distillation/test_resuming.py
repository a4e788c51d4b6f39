"""A killed training goes on to the same network and accuracy, bit for bit."""

import pytest

import kerasticket as kt
from kerasticket.distillation.evaluation import accuracy_of, builder
from kerasticket.distillation.networks import network_state
from kerasticket.files import checkpoint

pytestmark = [pytest.mark.usefixtures("plain_operations"), pytest.mark.same_on_every_backend]

RECIPE = kt.training.Recipe(6, learning_rate=0.05, augmentation=kt.data.DIGITS, passes_per_epoch=6)


@pytest.fixture(scope="module")
def digits():
    return kt.data.load("digits", "train", images_per_class=12)


def measured(data, test, **options):
    build = builder("lenet_300_100", test, 4)
    return accuracy_of(data, test, build=build, recipe=RECIPE, seeds=(0, 1), **options)


def test_a_killed_evaluation_goes_on_to_the_same_accuracies(digits, tmp_path, monkeypatch):
    """Killed in the second network, which has momentum and a schedule by then; also as without a folder."""
    monkeypatch.setattr(checkpoint, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    monkeypatch.setattr("kerasticket.distillation.evaluation.IMAGES_PER_EPOCH", 120)  # one pass
    data, told = kt.data.mix(digits, 3, 2), []

    def kill(passes):
        if passes == 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measured(data, digits, folder=tmp_path, progress=kill)
    again = measured(data, digits, folder=tmp_path, progress=told.append)
    assert told == [6, 10, 11, 12, 12]  # network 0 from its file, network 1 from its state at 4 passes
    assert again.accuracies == measured(data, digits).accuracies
    monkeypatch.setattr("kerasticket.distillation.evaluation.train", None)  # nothing is left to train
    assert measured(data, digits, folder=tmp_path) == again


def test_an_interrupted_network_has_the_weights_of_an_uninterrupted_one(digits, tmp_path, monkeypatch):
    """To the bit, which an accuracy of 120 images alone would not show."""
    monkeypatch.setattr(checkpoint, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    monkeypatch.setattr("kerasticket.distillation.evaluation.IMAGES_PER_EPOCH", 120)
    data, states = kt.data.mix(digits, 3, 2), []

    def kill(passes):
        if passes == 3:
            raise KeyboardInterrupt

    def tested(model, test):
        states[-1] |= network_state(model)
        return {"accuracy": 0.5}

    monkeypatch.setattr("kerasticket.distillation.evaluation.metrics_of", tested)
    with pytest.raises(KeyboardInterrupt):
        measured(data, digits, folder=tmp_path / "killed", progress=kill)
    for name in ("killed", "whole"):
        states.append({})
        measured(data, digits, folder=tmp_path / name)
    assert states[0].keys() == states[1].keys()
    assert all((states[0][key] == states[1][key]).all() for key in states[0])


def test_a_state_in_the_last_epoch_needs_no_training(digits, tmp_path, monkeypatch):
    """Killed between the last step and the test."""
    monkeypatch.setattr(checkpoint, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)

    def kill(passes):
        if passes == 6:
            raise KeyboardInterrupt

    data = kt.data.mix(digits, 3, 2)
    with pytest.raises(KeyboardInterrupt):
        measured(data, digits, folder=tmp_path, progress=kill)
    assert measured(data, digits, folder=tmp_path).accuracies == measured(data, digits).accuracies


def test_a_folder_of_something_else_is_refused(digits, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    data = kt.data.random_real(digits, 1)
    measured(data, digits, folder=tmp_path)
    with pytest.raises(ValueError, match="another training: data_sha256 was"):
        measured(kt.data.random_real(digits, 1, seed=1), digits, folder=tmp_path)
    (tmp_path / "network_1.npz").write_bytes(b"half")
    with pytest.raises(ValueError, match=r"state of this training in '.*network_1.npz'. Received: a damaged file"):
        measured(data, digits, folder=tmp_path)
    (tmp_path / "identity.json").touch()
    with pytest.raises(ValueError, match="of an earlier version"):
        measured(data, digits, folder=tmp_path)
