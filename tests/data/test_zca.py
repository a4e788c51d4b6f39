"""ZCA whitening: the inverse root of the covariance, taken back, and refused where it makes no sense."""

import dataclasses

import numpy as np
import pytest

import kerasticket as kt
from kerasticket.data import zca as module
from kerasticket.data.zca import ZCA

pytestmark = pytest.mark.same_on_every_backend


@pytest.fixture(scope="module")
def digits():
    return kt.data.load("digits", image_size=8)


def test_zca_is_the_inverse_root_of_the_covariance(digits):
    """In float64, from its definition; and it can be taken back."""
    few = digits.subset(30, 0)
    zca = ZCA.fit(few, epsilon=0.1)
    pixels = few.to_float().reshape(len(few), -1).astype(np.float64)
    values, vectors = np.linalg.eigh(np.cov(pixels.T))
    transform = vectors @ np.diag((values + 0.1) ** -0.5) @ vectors.T
    expected = (pixels - pixels.mean(axis=0)) @ transform
    whitened = zca.whiten(few)
    np.testing.assert_allclose(whitened.images.reshape(len(few), -1), expected, atol=2e-5)
    np.testing.assert_allclose(zca.unwhitened(whitened.images), few.to_float(), atol=2e-5)
    assert whitened.zca == {"epsilon": 0.1, "source": few.source}
    with pytest.raises(ValueError, match="epsilon > 0"):
        ZCA.fit(few, epsilon=0.0)


def test_images_are_taken_in_parts_with_the_same_result(digits, monkeypatch):
    few = digits.subset(10, 0)
    whole = ZCA.fit(few)
    monkeypatch.setattr(module, "_ROWS", 7)
    parts = ZCA.fit(few)
    np.testing.assert_allclose(parts.mean, whole.mean, atol=1e-6)
    np.testing.assert_allclose(parts.whiten(few).images, whole.whiten(few).images, atol=1e-3)


def test_what_cannot_be_whitened_is_refused(digits):
    streamed = kt.data.random_real(digits, 1)
    with pytest.raises(ValueError, match="real images in memory.*Received: DistilledSet"):
        ZCA.fit(streamed)
    one = dataclasses.replace(digits, images=digits.images[:1], labels=digits.labels[:1])
    with pytest.raises(ValueError, match="images to fit to. Received: epsilon=0.1, 1 images"):
        ZCA.fit(one)
    large = dataclasses.replace(digits, images=np.zeros((2, 120, 120, 1), np.uint8), labels=digits.labels[:2])
    with pytest.raises(ValueError, match=r"of 14,400 values would take 4 GiB.*space='normalized'"):
        ZCA.fit(large)
