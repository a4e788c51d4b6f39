"""The callbacks of `kt.callbacks` are Keras callbacks, each from its own file, and no more than those."""

import keras
import pytest

import kerasticket as kt
from kerasticket.pruning import callbacks

pytestmark = pytest.mark.same_on_every_backend


def test_they_are_keras_callbacks_under_one_name():
    assert kt.callbacks is callbacks
    public = {name for name, value in vars(callbacks).items() if isinstance(value, type)}
    assert public == set(callbacks.__all__)
    assert all(issubclass(getattr(callbacks, name), keras.callbacks.Callback) for name in public)
