"""What is refused of several devices, as far as one process with one device shows it; the rest is in end_to_end."""

import contextlib

import keras
import pytest

from kerasticket.backend import distribution

BACKEND = keras.config.backend()


def model() -> keras.Model:
    made = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, name="only")], name="small")
    made.compile("sgd", "mse")
    return made


def another_scope() -> contextlib.AbstractContextManager:
    import tensorflow as tf

    return tf.distribute.OneDeviceStrategy("CPU:0").scope()


def test_a_model_without_a_distribution_trains():
    distribution.check_training(model())
    assert distribution.devices_of(model()) == 1
    with distribution.scope_of(model()):
        pass


@pytest.mark.skipif(BACKEND != "tensorflow", reason="TensorFlow's own")
def test_a_model_of_another_scope_is_refused():
    outside = model()
    with another_scope():
        inside = model()
        distribution.check_training(inside)
        with pytest.raises(ValueError, match=r"'small' with all variables.*\['small/only/kernel', .*in another"):
            distribution.scope_of(outside)
    distribution.check_training(inside)  # outside of it, its own scope is taken
    with distribution.scope_of(inside):
        added = keras.Variable(1.0)
    distribution.check_scope(inside, [added])
    with pytest.raises(ValueError, match=rf"Received: \['{added.path}'\] made in another"):
        distribution.check_scope(outside, [added])
    inside.optimizer = outside.optimizer
    with pytest.raises(ValueError, match=r"its optimizer made in the scope of one.*learning_rate"):
        distribution.check_training(inside)


@pytest.mark.skipif(BACKEND != "jax", reason="Keras distributes on JAX alone")
def test_devices_are_those_that_share_a_batch():
    with keras.distribution.DataParallel(devices=["cpu:0"]).scope():
        assert distribution.devices_of(model()) == 1
        distribution.check_training(model())


@pytest.mark.skipif(BACKEND == "jax", reason="Keras distributes on JAX")
def test_a_distribution_that_does_nothing_is_refused():
    instead = {"tensorflow": "tf.distribute.MirroredStrategy", "torch": "KERAS_BACKEND=jax"}[BACKEND]
    with (
        keras.distribution.DataParallel(devices=["cpu:0", "cpu:1"]).scope(),
        pytest.raises(ValueError, match=rf"DataParallel on {BACKEND}.*{instead}"),
    ):
        distribution.check_backend()


@pytest.mark.skipif(BACKEND != "tensorflow", reason="elsewhere statistics are those of the whole batch")
def test_statistics_that_each_device_keeps_for_itself_are_refused(monkeypatch):
    norm = keras.layers.BatchNormalization(name="norm")
    normed = keras.Sequential([keras.Input((2,)), norm])
    normed.compile("sgd", "mse")
    distribution.check_training(normed)
    monkeypatch.setattr(distribution, "devices_of", lambda model: 2)
    with pytest.raises(ValueError, match=r"synchronized=True.*\['norm'\]"):
        distribution.check_training(normed)
    norm.trainable = False
    distribution.check_training(normed)
    norm.trainable = norm.synchronized = True
    distribution.check_training(normed)


@pytest.mark.skipif(BACKEND != "torch", reason="torch's own")
def test_one_of_several_processes_of_torch_is_refused(monkeypatch):
    from torch import distributed

    distribution.check_processes()
    monkeypatch.setattr(distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(distributed, "get_world_size", lambda: 2)
    with pytest.raises(ValueError, match=r"Expected one process.*torch\.distributed with 2 processes"):
        distribution.check_training(model())
