"""One network on two devices: keras.distribution on JAX, MirroredStrategy on TensorFlow; what is refused everywhere.

Devices are made before a backend starts, so each test runs a function of this file in a process of its own.
"""

import contextlib
import functools
import json
import os
import subprocess
import sys
import traceback
from pathlib import Path

import keras
import numpy as np
import pytest

import kerasticket as kt
from kerasticket.models.paths import masked_weights, named_variables
from kerasticket.tickets import optimizer_state

BACKEND = keras.config.backend()
two_devices = pytest.mark.skipif(BACKEND == "torch", reason="keras.distribution does nothing on torch")
TOLERANCE = 0.01  # share of mask entries: sums over shares round otherwise, which can turn the order of two weights
X = np.random.default_rng(0).normal(size=(16, 16, 16, 1)).astype("float32")
Y = np.eye(10, dtype="float32")[np.arange(16) % 10]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory) -> dict[str, str]:
    """What went wrong in each of `PROGRAMS`, "" if nothing did: all of them in one new process with two devices."""
    flags = "--xla_force_host_platform_device_count=2 --xla_backend_optimization_level=0"
    environment = os.environ | {"XLA_FLAGS": flags if BACKEND == "jax" else os.environ.get("XLA_FLAGS", "")}
    file = tmp_path_factory.mktemp("two_devices") / "outcomes.json"
    command = [sys.executable, __file__, file.name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, env=environment, cwd=file.parent)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(file.read_text())


def outcome(program) -> str:
    try:
        program()
    except (Exception, pytest.fail.Exception):
        return traceback.format_exc()
    return ""


@functools.cache
def two():
    """The distribution over both devices."""
    if BACKEND == "jax":
        return keras.distribution.DataParallel(devices=["cpu:0", "cpu:1"])
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


def replicas(variable: keras.Variable) -> list[np.ndarray]:
    """What each device has of a variable."""
    if BACKEND == "jax":
        return [np.asarray(shard.data) for shard in variable.value.addressable_shards]
    return [one.numpy() for one in getattr(variable.value, "values", [variable.value])]


def network(*, synchronized: bool = True) -> keras.Model:
    options = {"synchronized": synchronized} if BACKEND == "tensorflow" else {}
    keras.utils.set_random_seed(0)
    layers = [
        keras.layers.Flatten(name="flat"),
        keras.layers.Dense(16, activation="tanh", name="first"),
        keras.layers.BatchNormalization(name="norm", **options),
        keras.layers.Dense(10, name="last"),
    ]
    return keras.Sequential([keras.Input((16, 16, 1)), *layers])


def compiled(model: keras.Model, optimizer=None) -> keras.Model:
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    model.compile(optimizer or keras.optimizers.AdamW(0.01), loss, metrics=["accuracy"])
    return model


def half(model: keras.Model, seed: int) -> dict[str, np.ndarray]:
    return {path: np.random.default_rng(seed).random(kept.shape) < 0.5 for path, kept in kt.get_mask(model).items()}


def assert_mirrored(model: keras.Model, count: int = 2) -> None:
    """All variables are the same on all devices, and pruned ones exactly zero on each."""
    masks = {path: one.mask for path, one in masked_weights(model).items()}
    for path, variable in (*named_variables(model).items(), *((f"mask of {path}", m) for path, m in masks.items())):
        values = replicas(variable)
        assert len(values) == count, path
        assert all(np.array_equal(values[0], other) for other in values), path
        if path in masks:
            assert not any(value[~mask].any() for value, mask in zip(values, replicas(masks[path]), strict=True)), path


def prune(model: keras.Model, batches, **options):
    """IMP of two rounds, rewound to epoch 1, or of other `options`."""
    options = {"rounds": 2, "fraction": 0.3, "epochs_per_round": 2, "rewind_epoch": 1, "pipeline": batches} | options
    imp = kt.callbacks.IterativeMagnitudePruning(**options)
    model.fit(batches, epochs=imp.total_epochs, callbacks=[imp], verbose=0, shuffle=False)
    return imp


def augmented():
    augmentation = kt.data.Augmentation(flip=True, one_of=("crop",))
    return kt.data.pipeline(kt.data.load("digits", images_per_class=4), batch_size=8, seed=3, augmentation=augmentation)


def masks_and_rewinding() -> None:
    distribution, batches = two(), augmented()
    with distribution.scope():
        model = compiled(kt.masked(network()))
        imp = prune(model, batches)
    alone = prune(compiled(kt.masked(network())), batches)
    for ticket, expected in zip(imp.tickets[1:], alone.tickets[1:], strict=True):
        differing = sum(np.count_nonzero(ticket.mask[path] != expected.mask[path]) for path in expected.mask)
        assert differing <= TOLERANCE * sum(kept.size for kept in expected.mask.values())
        assert ticket.kept == expected.kept
        for path, array in expected.params.items():  # AdamW makes a whole step of a gradient that is all rounding
            assert np.quantile(np.abs(ticket.params[path] - array), 0.9) < 1e-4, path
    assert_rewound(model, imp.tickets[2])
    imp.tickets[2].save("ticket.keras")
    with distribution.scope():
        resumed = prune(model, batches, rounds=1, start=imp.tickets[1])
        for path, array in imp.tickets[2].params.items():
            np.testing.assert_array_equal(resumed.tickets[1].params[path], array)
    kt.set_params(model, {path: np.ones_like(array) for path, array in kt.get_params(model).items()})
    ticket = kt.Ticket.load("ticket.keras")
    with distribution.scope():
        ticket.apply(model)
        assert_rewound(model, ticket)
        assert_rewound(ticket_model(ticket), ticket)


def ticket_model(ticket: kt.Ticket) -> keras.Model:
    """The model of a ticket that is read in a scope."""
    again = compiled(kt.Ticket.load("ticket.keras").model())
    ticket.apply(again)
    return again


def assert_rewound(model: keras.Model, ticket: kt.Ticket) -> None:
    ticket.verify(model)
    assert_mirrored(model)
    for path, variable in named_variables(model).items():
        for value in replicas(variable):
            np.testing.assert_array_equal(value, ticket.params[path], strict=True)
    slots = optimizer_state._variables(model, optimizer_state.optimizers_of(model))
    assert sum(":" in key for key in slots) >= 8
    for key, slot in slots.items():
        for value in replicas(slot):
            np.testing.assert_array_equal(value, ticket.optimizer[key])


def new_masks_in_training() -> None:
    distribution = two()
    with distribution.scope():
        original = network()
        model = compiled(kt.masked(original), keras.optimizers.Muon(0.01))
    assert_mirrored(kt.masked(original))  # outside of the scope as well
    for seed in range(2):  # the second in the same trace
        kt.set_mask(model, half(model, seed))
        model.fit(X, Y, batch_size=8, verbose=0)
        assert_mirrored(model)
        for path, kept in half(model, seed).items():
            np.testing.assert_array_equal(kt.get_mask(model)[path], kept)
            assert replicas(named_variables(model)[path])[1][kept].all()
    answers = model.predict(X, verbose=0)
    with distribution.scope():
        for plain in (kt.strip(model), kt.compact(model).model):
            np.testing.assert_allclose(plain(X), answers, atol=1e-5)
        schedule = kt.pruning.Schedule(0.9, begin=0, end=1, unit="step", frequency=1)
        model.fit(X, Y, batch_size=8, verbose=0, callbacks=[kt.callbacks.GradualPruning(schedule)])
    assert kt.sparsity(model) == pytest.approx(0.9, abs=1e-3)
    assert_mirrored(model)


def criteria_and_paths() -> None:
    distribution, found = two(), []
    for scope in (distribution.scope(), contextlib.nullcontext()):
        snip = kt.callbacks.PruneAtInitialization("snip", 0.5, data=(X, Y))
        with scope:
            model = compiled(kt.masked(network()))
            model.fit(X, Y, batch_size=8, verbose=0, shuffle=False, callbacks=[snip])
            ends = snip.dense.params, kt.get_params(model)
            found.append((snip.ticket.mask, kt.analysis.linear_path(model, *ends, (X, Y), alphas=3, batch_size=5)))
    (mask, curve), (expected_mask, expected_curve) = found
    for path, kept in expected_mask.items():
        np.testing.assert_array_equal(mask[path], kept)
    np.testing.assert_allclose(curve.loss, expected_curve.loss, rtol=1e-3)


def recipes_and_uneven_batches() -> None:
    distribution, data = two(), kt.data.load("digits", images_per_class=4)
    recipe, found = kt.training.Recipe(epochs=4, batch_size=8, passes_per_epoch=2, milestones=(0.5,)), []
    for scope in (contextlib.nullcontext(), distribution.scope()):
        with scope:
            model = kt.masked(network())
            found.append((kt.training.train(model, data, recipe).final["loss"], kt.training.evaluate(model, data)))
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-4)
    assert found[0][1] == pytest.approx(found[1][1], rel=1e-3)
    with distribution.scope():
        refuse_uneven_batches(model, data)


def refuse_uneven_batches(model: keras.Model, data) -> None:
    uneven = kt.training.Recipe(epochs=1, batch_size=13)
    with pytest.raises(ValueError, match=r"batches that 2 devices share equally.*40 images in batches of 13 and 1"):
        kt.training.train(model, data, uneven)
    with pytest.raises(ValueError, match=r"share equally.*batches of 13 and 1.*multiples of 2"):
        kt.training.evaluate(model, data, batch_size=13)
    odd = kt.data.ImageSet.from_arrays(data.images[:39], data.labels[:39], class_names=data.class_names)
    with pytest.raises(ValueError, match=r"share equally.*39 images in batches of 8 and 7"):
        prune(model, kt.data.pipeline(odd, batch_size=8))
    if BACKEND == "tensorflow":  # which counts them right
        assert 0 <= kt.training.evaluate(model, odd, batch_size=8)["accuracy"] <= 1


def other_scopes() -> None:
    distribution, plain, batches = two(), network(), augmented()
    masked = kt.masked(plain)
    with distribution.scope():
        for make in (lambda: kt.masked(plain), lambda: prune(compiled(masked), batches), kt.Ticket.dense(masked).model):
            with pytest.raises(ValueError, match=r"made in the scope of one distribution.*made in another, or in none"):
                make()
        if BACKEND == "tensorflow":
            with pytest.raises(ValueError, match=r"synchronized=True.*'norm'.*layer\.synchronized = True"):
                prune(compiled(kt.masked(network(synchronized=False))), batches)


def sharded_weights() -> None:
    mesh = keras.distribution.DeviceMesh((1, 2), ["batch", "model"], ["cpu:0", "cpu:1"])
    layouts, batches = keras.distribution.LayoutMap(mesh), augmented()
    layouts[".*first/kernel"], layouts[".*last/kernel"] = (None, "model"), ("model", None)
    with keras.distribution.ModelParallel(layout_map=layouts, batch_dim_name="batch").scope():
        model = compiled(kt.masked(network()))
        imp = prune(model, batches)
    imp.tickets[-1].verify(model)
    alone = prune(compiled(kt.masked(network())), batches)
    for path, one in masked_weights(model).items():
        shards = replicas(one.variable)
        assert sum(shard.size for shard in shards) == one.variable.value.size
        for shard, mask in zip(shards, replicas(one.mask), strict=True):  # a mask lies as its weight does
            assert not shard[~mask].any()
        np.testing.assert_array_equal(alone.tickets[1].mask[path], imp.tickets[1].mask[path])


@two_devices
def test_a_search_finds_the_masks_of_one_device_and_rewinds_all(outcomes):
    """As it is on one device for the same batches; `TOLERANCE` of the entries may differ, and none was seen to."""
    assert not outcomes["masks_and_rewinding"]


@two_devices
def test_zeros_stay_on_all_devices_under_masks_that_come_later(outcomes):
    assert not outcomes["new_masks_in_training"]


@two_devices
def test_criteria_and_linear_paths_are_those_of_one_device(outcomes):
    assert not outcomes["criteria_and_paths"]


@two_devices
def test_recipes_train_as_on_one_device_and_uneven_batches_are_refused(outcomes):
    assert not outcomes["recipes_and_uneven_batches"]


@two_devices
def test_models_of_other_scopes_and_statistics_of_each_device_are_refused(outcomes):
    assert not outcomes["other_scopes"]


@pytest.mark.skipif(BACKEND != "jax", reason="Keras has it on JAX alone")
def test_sharded_weights_have_sharded_masks(outcomes):
    assert not outcomes["sharded_weights"]


@pytest.mark.skipif(BACKEND == "jax", reason="JAX has it")
def test_a_distribution_that_keras_ignores_is_refused():
    model = network(synchronized=False)
    with (
        keras.distribution.DataParallel(devices=["cpu:0", "cpu:1"]).scope(),
        pytest.raises(ValueError, match=rf"keras.distribution on JAX alone.*DataParallel on {BACKEND}"),
    ):
        kt.masked(model)


@pytest.mark.skipif(BACKEND != "torch", reason="torch's own")
def test_one_of_several_processes_of_torch_is_refused(monkeypatch):
    from torch import distributed

    model, data = compiled(kt.masked(network())), augmented()
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    try:
        monkeypatch.setattr(distributed, "get_world_size", lambda: 2)
        with pytest.raises(ValueError, match=r"Expected one process.*torch\.distributed with 2 processes"):
            prune(model, data)
    finally:
        distributed.destroy_process_group()


PROGRAMS = [
    *(masks_and_rewinding, new_masks_in_training, criteria_and_paths, recipes_and_uneven_batches, other_scopes),
    *([sharded_weights] if BACKEND == "jax" else []),
]
if __name__ == "__main__":
    two()
    found = {program.__name__: outcome(program) for program in PROGRAMS}
    Path(sys.argv[1]).write_text(json.dumps(found))
