"""Own arrays as images and labels: what is understood, what is refused, and the statistics of channels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kerasticket as kt
from kerasticket.data.arrays import as_bytes, as_labels, statistics

pytestmark = pytest.mark.same_on_every_backend


X = np.random.default_rng(0).integers(0, 256, (6, 8, 10), dtype=np.uint8)


Y = np.array([0, 1, 2, 0, 1, 2])


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        (X, Y.astype(np.uint8)[:, None]),
        (X[..., None], Y.tolist()),
        (X.tolist(), Y.astype(float)),
        (X / 255, np.eye(3)[Y]),
        ((X / 255).astype(np.float32), np.array(["0", "1", "2"])[Y]),
        (X.astype(np.float64), Y),
        (X.astype(np.int64), Y.astype(np.int32)),
    ],
)
def test_own_arrays_become_bytes_and_positions(images, labels):
    own = kt.data.ImageSet.from_arrays(images, labels)
    assert (own.images[..., 0] == X).all()
    assert (own.labels == Y).all()
    assert (own.labels.dtype, own.class_names) == (np.int64, ("0", "1", "2"))
    np.testing.assert_allclose((own.mean, own.std), [[(X / 255).mean()], [(X / 255).std()]], rtol=1e-9)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.where(X > 3, X, np.nan), Y, "finite. Received: NaN .* image 0"),
        (X / 127.5 - 1, Y, "undo a normalization"),
        (X.astype(np.uint16) * 257, Y, "divide 16 bits by 257"),
        (X / 170, Y, "may be either"),
        (np.zeros((6, 3, 8, 8)), Y, "channels last"),
        ([np.zeros((3, 3)), np.zeros((4, 4))], [0, 1], "one size"),
        (X, Y + 1, r"without gaps. Received: \[1, 2, 3\].*np.unique"),
        (X, Y * 2, r"without gaps. Received: \[0, 2, 4\]"),
        (X, Y * 0, "at least two classes"),
        (X, np.full((6, 3), 1 / 3), "one-hot rows"),
        (X, Y / 2, "whole numbers or names"),
        (X, Y[:3], "one per image"),
        (X, Y[None, :, None], r"shape \(n,\)"),
    ],
)
def test_arrays_that_cannot_be_images_and_classes_are_refused(images, labels, message):
    with pytest.raises(ValueError, match=message):
        kt.data.ImageSet.from_arrays(images, labels)


def test_bytes_are_taken_as_they_are_and_booleans_are_black_and_white():
    images = X[..., None]
    assert as_bytes(images) is images
    assert as_bytes(X > 127)[..., 0].tolist() == np.where(X > 127, 255, 0).tolist()


def test_names_decide_the_order_if_they_are_given():
    texts = ["dog", "cat", "dog"]
    assert [part if isinstance(part, tuple) else part.tolist() for part in as_labels(texts, None)] == [
        [1, 0, 1],
        ("cat", "dog"),
    ]
    assert as_labels(np.array([b"dog", b"cat"]), ("dog", "cat", "cow"))[0].tolist() == [0, 1]
    with pytest.raises(ValueError, match=r"among class_names \('dog', 'cow'\). Received: \['cat'\]"):
        as_labels(texts, ("dog", "cow"))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 3))
def test_statistics_are_those_of_numpy_channel_by_channel(seed, channels):
    images = np.random.default_rng(seed).integers(0, 256, (3, 4, 5, channels), dtype=np.uint8)
    mean, std = statistics(images)
    pixels = images.reshape(-1, channels) / 255
    np.testing.assert_allclose(mean, pixels.mean(0))
    np.testing.assert_allclose(std, pixels.std(0))


def test_a_channel_of_one_value_is_divided_by_1():
    assert statistics(np.full((2, 3, 3, 1), 51, np.uint8)) == (pytest.approx((0.2,)), (1.0,))
