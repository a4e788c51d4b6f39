"""Real images in memory: what an ImageSet refuses, and its subsets."""

import numpy as np
import pytest

from kerasticket.data import ImageSet, load
from kerasticket.data.images import aligned_empty

pytestmark = pytest.mark.same_on_every_backend

NAMES = ("cat", "dog")


def image_set(**changes) -> ImageSet:
    fields = {
        "images": np.zeros((4, 8, 8, 1), np.uint8),
        "labels": np.array([0, 1, 0, 1]),
        "class_names": NAMES,
        "source": "mine:1.0/train",
        "mean": (0.5,),
        "std": (0.25,),
    }
    return ImageSet(**(fields | changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": np.zeros((4, 8, 8, 1), np.float32)}, "images must be uint8"),
        ({"images": np.zeros((4, 8, 8), np.uint8)}, "images must be uint8"),
        ({"images": np.zeros((0, 8, 8, 1), np.uint8), "labels": np.zeros(0, np.int64)}, "at least one image"),
        ({"labels": np.array([0, 1, 0])}, r"labels must be int64 of shape \(4,\)"),
        ({"labels": np.array([0.0, 1, 0, 1])}, "labels must be int64"),
        ({"labels": np.array([0, 1, 0, 2])}, r"labels must lie in 0\.\.1"),
        ({"labels": np.array([0, 1, 0, -1])}, r"labels must lie in 0\.\.1"),
        ({"class_names": ("cat", "cat")}, "distinct"),
        ({"mean": (0.5, 0.5)}, "one number per channel"),
        ({"std": (0.0,)}, "std positive"),
        ({"mean": (float("nan"),)}, "mean must be finite"),
    ],
)
def test_an_image_set_refuses_fields_that_disagree(changes, message):
    with pytest.raises(ValueError, match=message):
        image_set(**changes)


def test_a_subset_is_seeded_balanced_and_nested():
    whole = load("digits")
    small, large = load("digits", images_per_class=5, seed=3), whole.subset(20, seed=3)
    assert np.bincount(small.labels).tolist() == [5] * 10
    assert "5 per class, seed 3" in small.source
    rows = {image.tobytes() for image in large.images}
    assert all(image.tobytes() in rows for image in small.images)
    assert (load("digits", images_per_class=5, seed=3).images == small.images).all()
    assert not (load("digits", images_per_class=5, seed=4).images == small.images).all()
    with pytest.raises(ValueError, match="class '0' has only 100 images"):
        whole.subset(101, seed=0)
    with pytest.raises(ValueError, match="at least 1"):
        whole.subset(0, seed=0)


def test_aligned_memory_is_aligned():
    for side in (1, 3, 7):
        assert aligned_empty((5, side, side, 1)).ctypes.data % 64 == 0
