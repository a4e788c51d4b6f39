"""Reading between pixels: at pixels, half-way, outside, and the same on grids and at single places."""

import keras
import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from kerasticket.data.augmentation.sampling import gather, pixels, sample
from kerasticket.data.tensorflow_ops import tensorflow_namespace

IMAGES = np.random.default_rng(0).random((2, 4, 5, 3)).astype("float32")
PLACES = np.random.default_rng(1).uniform(-1.5, 5.5, (2, 4, 5)).astype("float32")


def on_backend(function, *arguments) -> np.ndarray:
    tensors = [keras.ops.convert_to_tensor(each) for each in arguments]
    return keras.ops.convert_to_numpy(function(keras.ops, *tensors))


def test_whole_positions_are_the_pixels():
    rows, columns = np.arange(4, dtype="float32")[None], np.arange(5, dtype="float32")[None]
    assert keras.ops.convert_to_numpy(pixels(keras.ops, 4)).tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(on_backend(sample, IMAGES, rows, columns), IMAGES, rtol=1e-6)
    np.testing.assert_allclose(on_backend(sample, IMAGES, rows[:, ::-1].copy(), columns), IMAGES[:, ::-1], rtol=1e-6)


def test_between_pixels_it_is_their_mean_and_outside_zero():
    rows = np.array([[0.5, -0.5, 3.5, 9.0]], "float32")
    columns = np.arange(5, dtype="float32")[None]
    found = on_backend(sample, IMAGES, rows, columns)
    expected = [(IMAGES[:, 0] + IMAGES[:, 1]) / 2, IMAGES[:, 0] / 2, IMAGES[:, 3] / 2, 0 * IMAGES[:, 0]]
    np.testing.assert_allclose(found, np.stack(expected, 1), rtol=1e-5, atol=1e-7)


def test_single_places_are_those_of_scipy():
    """Which reads nothing beyond the border, where a pixel counts in part: so the image has one of zeros."""
    rows, columns = PLACES, PLACES[:, ::-1].copy()
    found = on_backend(gather, IMAGES, rows, columns)
    for index in range(2):
        for channel in range(3):
            padded = np.pad(IMAGES[index, ..., channel], 3)
            expected = map_coordinates(padded, [rows[index] + 3, columns[index] + 3], order=1)
            np.testing.assert_allclose(found[index, ..., channel], expected, atol=1e-5)


@pytest.mark.same_on_every_backend
def test_a_grid_is_read_alike_in_both_ways_and_in_tensorflows_names():
    xp = tensorflow_namespace()
    rows, columns = PLACES[:, :, 0], PLACES[:, 0]
    grid = np.broadcast_arrays(rows[:, :, None], columns[:, None, :])
    whole = sample(xp, xp.convert_to_tensor(IMAGES), rows, columns).numpy()
    single = gather(xp, xp.convert_to_tensor(IMAGES), *map(np.ascontiguousarray, grid)).numpy()
    np.testing.assert_allclose(whole, single, atol=1e-5)
