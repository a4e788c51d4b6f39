"""The study as a function: three executors, own arrays, own networks."""

from pathlib import Path

import keras
import numpy as np
import pytest
from run_files import made

import kerasticket as kt
from kerasticket.experiments.executors import FailedJobsError
from kerasticket.params import differing

ROOT = Path(__file__).parents[2]
SMALL = kt.experiments.Config(
    distilled=str(ROOT / "assets/distilled/digits_ipc1.h5"),
    images_per_class=10,
    width=4,
    rounds=2,
    epochs=2,
    distilled_epochs=4,
    init_seeds=(0,),
)


def own_network(input_shape, num_classes, seed):
    """A small network of the caller's."""
    inputs = keras.Input(input_shape, name="image")
    start = keras.initializers.GlorotUniform(seed=seed)
    x = keras.layers.Conv2D(4, 3, activation="relu", name="conv", kernel_initializer=start)(inputs)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, keras.layers.Dense(num_classes, name="logits", kernel_initializer=start)(x), name="own")


def without_seed():
    """A network whose initial weights come of the global seed."""
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.Flatten(name="flat")(inputs)
    return keras.Model(inputs, keras.layers.Dense(2, name="logits")(x))


def own_arrays(count: int, seed: int):
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    images = rng.integers(0, 100, (count, 8, 8)) + 120 * labels[:, None, None]
    return images.astype("uint8"), labels


def own(folder: Path, **changes) -> kt.experiments.Config:
    options = {"kinds": ("imp",), "rounds": 2, "images_per_class": None, "augmentation": "none", "width": None}
    return SMALL.replace(out=str(folder), init_seeds=(0,), **options).replace(**changes)


OWN = {"train": own_arrays(40, 0), "test": own_arrays(20, 1)}


@pytest.mark.same_on_every_backend
def test_executors_make_the_same_files_to_the_bit_and_go_on_for_each_other(tmp_path, monkeypatch):
    inline, processes = (SMALL.replace(out=str(tmp_path / name)) for name in ("inline", "processes"))
    kt.experiments.distilled_pruning(inline)
    kt.experiments.distilled_pruning(processes.replace(rounds=1), executor="processes", workers=2)
    kt.experiments.distilled_pruning(processes)
    ours, theirs = made(tmp_path / "inline"), made(tmp_path / "processes")
    assert ours.keys() == theirs.keys()
    assert sum(name.endswith("ticket.keras") for name in ours) == 1 + 3 + 3 + 2
    assert [name for name in ours if ours[name] != theirs[name]] == []
    frames = [kt.experiments.results(tmp_path / name).drop(columns="seconds") for name in ("inline", "processes")]
    assert frames[0].equals(frames[1])
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "7")
    with pytest.raises(ValueError, match=r"threads was \d+, is now 7"):
        kt.experiments.distilled_pruning(inline)


def test_own_arrays_and_own_network(tmp_path):
    events = []
    run = kt.experiments.distilled_pruning(own(tmp_path), **OWN, model=own_network, listener=events.append)
    frame = kt.experiments.results(run.folder)
    assert [(kind, index) for kind, index in zip(frame.kind, frame["round"], strict=True)] == [
        ("dense", 0),
        ("imp", 1),
        ("imp", 2),
    ]
    assert frame.sparsity.round(2).tolist() == [0, 0.2, 0.36]
    assert kt.Ticket.load(run.ticket(0, "imp", 2)).model().name == "own"
    assert (run.folder / "figure.png").exists()
    assert {"plan", "begin", "advance", "done", "note"} == {event.kind for event in events}


@pytest.mark.same_on_every_backend
def test_own_arrays_and_an_imported_network_travel_to_processes(tmp_path, monkeypatch):
    (tmp_path / "my_networks.py").write_text(
        "import keras\n\n\ndef network(input_shape, num_classes, seed):\n"
        "    inputs = keras.Input(input_shape)\n    x = keras.layers.Flatten(name='flat')(inputs)\n"
        "    start = keras.initializers.GlorotUniform(seed=seed)\n"
        "    return keras.Model(inputs, keras.layers.Dense(num_classes, name='l', kernel_initializer=start)(x))\n"
    )
    monkeypatch.chdir(tmp_path)
    for executor in ("inline", "processes"):
        config = own(tmp_path / executor, model="my_networks:network")
        kt.experiments.distilled_pruning(config, **OWN, executor=executor, workers=1)
    assert made(tmp_path / "inline") == made(tmp_path / "processes")


@pytest.mark.same_on_every_backend
def test_a_network_without_a_seed_has_reproducible_weights_of_its_own_for_each(tmp_path):
    for name in ("first", "second"):
        kt.experiments.distilled_pruning(own(tmp_path / name, init_seeds=(0, 1)), **OWN, model=without_seed)
    first, second = (kt.Run(tmp_path / name) for name in ("first", "second"))
    starts = [kt.Ticket.load(run.ticket(seed, "dense", 0)).params for run in (first, second) for seed in (0, 1)]
    assert not differing(starts[0], starts[2])
    assert not differing(starts[1], starts[3])
    assert differing(starts[0], starts[1])


@pytest.mark.same_on_every_backend
def test_a_network_that_has_changed_is_another_configuration(tmp_path):
    def network(input_shape, num_classes, seed):
        return own_network(input_shape, num_classes, seed + shift)

    shift = 0
    kt.experiments.distilled_pruning(own(tmp_path, rounds=1), **OWN, model=network)
    shift = 1
    with pytest.raises(ValueError, match="model_sha256 was"):
        kt.experiments.distilled_pruning(own(tmp_path, rounds=1), **OWN, model=network)


def wrong_classes(input_shape):
    return own_network(input_shape, 3, 0)


def no_model():
    return 3


def not_built():
    return keras.Sequential([keras.layers.Dense(2)])


def other_images():
    return own_network((9, 9, 1), 2, 0)


@pytest.mark.same_on_every_backend
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": wrong_classes}, "output for each of 2 classes. Received: 3"),
        ({"model": no_model}, "built keras.Model from the function 'no_model'. Received: int"),
        ({"model": not_built}, "one that is not built"),
        ({"model": other_images}, r"takes the images, \(8, 8, 1\). Received: one of \(9, 9, 1\)"),
        ({"train": None}, "both train and test.*Received: test alone"),
        ({"train": (OWN["train"][0], OWN["train"][1] + 0.5)}, "labels"),
        ({"train": (OWN["train"][0], 0 * OWN["train"][1])}, "class"),
        ({"train": (OWN["train"][0] * 3.0, OWN["train"][1])}, "range|0..255|between"),
        ({"train": 3}, r"train=\(images, labels\)"),
        ({"executor": "thread"}, "--executor to be one of"),
        ({"model": lambda seed: None, "executor": "processes"}, "other processes can import|built keras.Model"),
    ],
)
def test_bad_input_is_refused_before_any_work(options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        kt.experiments.distilled_pruning(own(tmp_path / "run"), **(OWN | {"model": own_network} | options))
    assert not list(tmp_path.glob("run/seed_*"))


@pytest.mark.same_on_every_backend
@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("no_such_module:network", "module that can be imported. Received: 'no_such_module:network'"),
        ("json:network", "json has no such function"),
        ("convnets", "--model to be one of"),
    ],
)
def test_a_model_that_cannot_be_found_is_refused(model, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        kt.experiments.distilled_pruning(own(tmp_path / "run", model=model), **OWN)


@pytest.mark.same_on_every_backend
def test_trainings_that_diverge_are_named_and_the_others_are_done(tmp_path):
    config = SMALL.replace(out=str(tmp_path), learning_rate=1e30, rounds=1)
    with pytest.raises(FailedJobsError, match="imp  search 1: FloatingPointError") as error:
        kt.experiments.distilled_pruning(config)
    assert (tmp_path / "seed_0/synthetic/round_01/ticket.keras").exists()
    assert [failure.job for failure in error.value.failures] == [
        "seed 0  imp  search 1",
        "seed 0  synthetic  round 1  order 1",
    ]
