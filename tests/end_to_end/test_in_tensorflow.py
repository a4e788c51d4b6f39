"""TensorFlow's own ways: checkpoints, exports and strategies keep zeros of masked models."""

import subprocess
import sys

import keras
import nets
import numpy as np
import pytest

import kerasticket as kt
from kerasticket.models.paths import named_variables

pytestmark = pytest.mark.skipif(keras.config.backend() != "tensorflow", reason="TensorFlow's own")

REPLICAS = """
import keras, numpy as np, tensorflow as tf
import kerasticket as kt
from kerasticket.models.paths import named_variables

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    model = kt.masked(keras.Sequential([keras.Input((6,)), keras.layers.Dense(4, name="only")]))
    model.compile(keras.optimizers.Muon(0.01), "mse")
assert model.distribute_strategy is strategy
for seed in range(2):
    mask = np.random.default_rng(seed).random((6, 4)) < 0.5
    kt.set_mask(model, {"only/kernel": mask})
    model.fit(np.ones((8, 6)), np.ones((8, 4)), batch_size=4, verbose=0)
    replicas = named_variables(model)["only/kernel"].value.values
    assert len(replicas) == 2
    for values in replicas:
        assert not values.numpy()[~mask].any() and values.numpy()[mask].all()
"""


def compiled(model: keras.Model) -> keras.Model:
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), keras.losses.CategoricalCrossentropy(from_logits=True))
    return model


def halved(seed: int = 0) -> keras.Model:
    model = kt.masked(nets.mlp())
    kt.set_mask(model, nets.half_mask(model, seed))
    return compiled(model)


def revived(model: keras.Model) -> int:
    variables = named_variables(model)
    return sum(np.count_nonzero(variables[path].numpy()[~kept]) for path, kept in kt.get_mask(model).items())


def test_replicas_keep_zeros():
    """In a process of its own: devices are chosen before TensorFlow's first operation."""
    done = subprocess.run([sys.executable, "-c", REPLICAS], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]


def test_a_checkpoint_brings_masks_zeros_and_momentum_back(tmp_path):
    import tensorflow as tf

    first, second = halved(), halved(1)
    x, y = nets.batch(first, 8)
    first.fit(x, y, verbose=0)
    path = tf.train.Checkpoint(model=first, optimizer=first.optimizer).save(tmp_path / "masked")
    second.optimizer.build(second.trainable_variables)
    tf.train.Checkpoint(model=second, optimizer=second.optimizer).restore(path).assert_consumed()
    for path, kept in kt.get_mask(first).items():
        np.testing.assert_array_equal(kt.get_mask(second)[path], kept)
    for model in (first, second):
        model.fit(x, y, shuffle=False, verbose=0)
        assert revived(model) == 0
    np.testing.assert_array_equal(*(model.predict(x, verbose=0) for model in (first, second)))


def test_a_checkpoint_of_the_dense_network_leaves_zeros(tmp_path):
    import tensorflow as tf

    dense, model = nets.mlp(), halved()
    x, y = nets.batch(model, 8)
    tf.train.Checkpoint(model=model).restore(tf.train.Checkpoint(model=dense).save(tmp_path / "dense"))
    params, given = kt.get_params(model), kt.get_params(dense)
    for path, kept in kt.get_mask(model).items():
        np.testing.assert_array_equal(params[path], np.where(kept, given[path], 0))
    model.fit(x, y, verbose=0)
    assert revived(model) == 0


def test_an_export_that_was_not_stripped_answers_as_the_model(tmp_path):
    import tensorflow as tf

    model = halved()
    x, _ = nets.batch(model, 8)
    model.export(tmp_path / "exported", verbose=False)
    loaded = tf.saved_model.load(tmp_path / "exported")
    np.testing.assert_array_equal(loaded.serve(x), model.predict(x, verbose=0))
