"""The grid of augmentations: what stands where."""

import numpy as np
import pytest

import kerasticket as kt
from kerasticket.data.augmentation.transforms import AUGMENTATIONS

pytestmark = pytest.mark.same_on_every_backend


def test_rows_are_images_and_columns_operations():
    digits = kt.data.load("digits", "test", images_per_class=1, seed=6)
    figure = kt.figures.augmentations(digits, rows=3)
    columns = 1 + len(set(AUGMENTATIONS) - {"lighting"}) + 3
    assert len(figure.axes) == 3 * columns
    titles = [axis.get_title() for axis in figure.axes[:columns]]
    assert titles[0] == "original"
    assert titles[-1] == "CutMix"
    for row in range(3):
        drawn = figure.axes[row * columns].images[0].get_array()
        np.testing.assert_array_equal(drawn, digits.to_float()[row, ..., 0])
    every = [np.asarray(axis.images[0].get_array()) for axis in figure.axes]
    assert all(image.min() >= 0 and image.max() <= 1 for image in every)
    changed = [not np.array_equal(image, every[0]) for image in every[1:columns]]
    assert sum(changed) >= columns - 3  # a flip or a shift may draw nothing


def test_the_last_column_says_what_cutmix_mixed():
    digits = kt.data.load("digits", "test", images_per_class=1, seed=6)
    figure = kt.figures.augmentations(digits, rows=4, seed=1)
    captions = [axis.get_ylabel() for axis in figure.axes if axis.get_ylabel().count("%")]
    assert len(captions) == 4
    for caption in captions:
        shares = [int(line.partition("%")[0]) for line in caption.splitlines()]
        assert abs(sum(shares) - 100) <= 1
