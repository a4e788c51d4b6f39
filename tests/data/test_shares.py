"""Which batches several devices can share, by hand."""

import keras
import numpy as np
import pytest
from numbered_images import numbered

from kerasticket.data import pipeline, shares

MODEL = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])


@pytest.fixture
def two_devices(monkeypatch):
    monkeypatch.setattr(shares, "devices_of", lambda model: 2)


def test_one_device_takes_all_batches():
    shares.check_shares(pipeline(numbered(5), batch_size=3), MODEL)


@pytest.mark.parametrize(
    ("count", "size", "received"),
    [(5, 3, "5 images in batches of 3 and 2"), (7, 4, "7 images in batches of 4 and 3"), (3, 8, "batches of 3")],
)
def test_uneven_batches_are_refused(two_devices, count, size, received):
    batches = pipeline(numbered(count), batch_size=size)
    for data in (batches, batches.map(lambda x, y: (x, y)), batches.prefetch(1)):
        with pytest.raises(ValueError, match=f"Expected batches that 2 devices share equally. Received: .*{received}"):
            shares.check_shares(data, MODEL)


@pytest.mark.parametrize(("count", "size"), [(8, 4), (6, 4), (2, 8), (4, 4)])
def test_even_ones_pass(two_devices, count, size):
    shares.check_shares(pipeline(numbered(count), batch_size=size, passes=3), MODEL)


def test_what_is_not_known_passes(two_devices):
    shares.check_shares(pipeline(numbered(7), batch_size=4).take(1), MODEL)
    shares.check_shares((np.ones((3, 2)), np.ones((3, 1))), MODEL)
    shares.check_shares(None, MODEL)


def test_an_evaluation_on_tensorflow_may_end_in_any_batch(two_devices):
    batches, first = pipeline(numbered(7), batch_size=4), pipeline(numbered(7), batch_size=3)
    with pytest.raises(ValueError, match="batches of 3 and 1"):
        shares.check_shares(first, MODEL, training=False)
    if keras.config.backend() == "jax":
        with pytest.raises(ValueError, match="batches of 4 and 3"):
            shares.check_shares(batches, MODEL, training=False)
    else:
        shares.check_shares(batches, MODEL, training=False)
