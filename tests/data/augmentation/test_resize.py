"""Resizing by matrices: by hand, constants kept, and along both axes."""

import numpy as np
import pytest

from kerasticket.data.augmentation.resize import RESIZE, area, bilinear, nearest, resize

pytestmark = pytest.mark.same_on_every_backend


@pytest.mark.parametrize("method", RESIZE)
@pytest.mark.parametrize(("target", "source"), [(16, 8), (5, 16), (8, 8), (11, 32)])
def test_every_resize_keeps_a_constant_image(method, target, source):
    np.testing.assert_allclose(RESIZE[method](target, source).sum(axis=1), 1, rtol=1e-6)


def test_resizing_by_hand():
    np.testing.assert_allclose(bilinear(4, 2), [[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]])
    np.testing.assert_allclose(nearest(2, 5), [[1, 0, 0, 0, 0], [0, 0, 1, 0, 0]])
    np.testing.assert_allclose(area(2, 3), [[2 / 3, 1 / 3, 0], [0, 1 / 3, 2 / 3]], rtol=1e-6)
    with pytest.raises(ValueError, match="method to be one of"):
        resize(np, np.zeros((1, 4, 4, 1)), 2, 2, "cubic")


@pytest.mark.parametrize("method", RESIZE)
def test_each_axis_is_resized_by_itself_and_the_same_size_is_the_image(method):
    images = np.random.default_rng(0).random((2, 4, 6, 3))
    np.testing.assert_allclose(resize(np, images, 4, 6, method), images)
    wide = resize(np, images, 4, 12, method)
    np.testing.assert_allclose(resize(np, wide, 9, 12, method), resize(np, images, 9, 12, method), rtol=1e-6)
    turned = resize(np, images.transpose(0, 2, 1, 3), 12, 9, method)
    np.testing.assert_allclose(turned.transpose(0, 2, 1, 3), resize(np, images, 9, 12, method), rtol=1e-6)


def test_halving_by_area_is_the_mean_of_four_and_doubling_by_nearest_repeats():
    image = np.arange(16.0).reshape(1, 4, 4, 1)
    blocks = image.reshape(2, 2, 2, 2).mean((1, 3))
    np.testing.assert_allclose(resize(np, image, 2, 2, "area")[0, ..., 0], blocks)
    doubled = resize(np, image, 8, 8, "nearest")[0, ..., 0]
    np.testing.assert_array_equal(doubled, image[0, ..., 0].repeat(2, 0).repeat(2, 1))
