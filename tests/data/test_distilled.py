"""Distilled sets: what they hold and refuse, their file, and what decoding makes of them."""

import re
from dataclasses import fields, replace

import numpy as np
import pytest
from distilled_sets import SOFT, ZCA, distilled

from kerasticket.data import DistilledSet, ImageSet


@pytest.mark.parametrize("changes", [{}, {"labels": SOFT}, ZCA, {"space": "normalized", "factor": 1}])
def test_a_file_gives_back_every_field(tmp_path, changes):
    before = distilled(**changes)
    before.save(tmp_path / "set.h5")
    after = DistilledSet.load(tmp_path / "set.h5")
    for each in fields(DistilledSet):
        ours, theirs = getattr(before, each.name), getattr(after, each.name)
        assert type(ours) is type(theirs)
        np.testing.assert_equal(theirs, ours)
    assert after.images.dtype == np.float32
    assert [path.name for path in tmp_path.iterdir()] == ["set.h5"]


def test_fields_become_plain_and_match_what_the_file_gives_back(tmp_path):
    """NumPy's floats and lists, as people pass them."""
    given = distilled(class_names=["cat", np.str_("dog")], mean=np.full(3, 0.5, np.float32), std=[0.25] * 3)
    given.save(tmp_path / "set.h5")
    DistilledSet.load(tmp_path / "set.h5").check_matches(given)
    pixels = np.zeros((2, 8, 8, 3), np.uint8)
    real = ImageSet(pixels, np.array([0, 1]), ["cat", "dog"], "mine", np.full(3, 0.5, np.float32), [0.25] * 3)
    given.check_matches(real)
    swapped = ZCA | {"zca": dict(reversed(ZCA["zca"].items()))}
    distilled(**ZCA).check_matches(distilled(**swapped))
    for wrong in ({"class_names": "cd"}, {"mean": 0.5}, {"method": 3}, {"labels": [0, 0, 1, 1]}):
        with pytest.raises(ValueError, match="must be"):
            distilled(**wrong)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": np.zeros((4, 8, 8, 3))}, "images must be float32"),
        ({"images": np.zeros((0, 8, 8, 3), np.float32), "labels": np.zeros(0, np.int64)}, "n at least 1"),
        ({"images": np.full((4, 8, 8, 3), np.nan, np.float32)}, "images must be finite.*768 NaN"),
        ({"images": np.full((4, 8, 8, 3), 200, np.float32)}, r"pixels in \[0, 1\].*200.*divide bytes by 255"),
        ({"labels": np.array([0, 0, 1, 2])}, r"labels must lie in 0\.\.1.*Received: 0\.\.2"),
        ({"labels": np.array([0, 0, 1])}, r"labels must be int64 of shape \(4,\)"),
        ({"labels": SOFT.astype(np.float64)}, "soft labels must be float32"),
        ({"labels": SOFT[:, :1]}, r"soft labels must be float32 of shape \(4, 2\)"),
        ({"labels": SOFT * 2}, "sum to 1"),
        ({"space": "lab"}, "space to be one of"),
        ({"space": "zca"}, 'space "zca" needs zca='),
        ({"mean": (), "std": ()}, "one number per channel"),
        ({"factor": 0}, "factor must be at least 1"),
        ({"factor": 7}, "factor must be at least 1 and leave pixels"),
        ({"settings": {"function": print}}, "settings must be a dict that JSON can hold"),
        ({"accuracy": {"mean": float("nan")}}, "accuracy must be a dict that JSON can hold"),
        ({"seeds": [1]}, "seeds must be a dict that JSON can hold"),
    ],
)
def test_impossible_fields_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        distilled(**changes)


def test_cells_are_decoded_class_by_class_then_cell_by_cell():
    """Every stored cell has its own gray, 100 * image + cell, so the order can be read off."""
    images = np.zeros((4, 4, 4, 1), np.float32)
    for image in range(4):
        for cell, (row, column) in enumerate(np.ndindex(2, 2)):
            images[image, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2] = (100 * image + cell) / 400
    stored = distilled(images=images, mean=(0.0,), std=(1.0,))
    decoded, labels = stored.decode()
    grays = np.round(decoded[:, 0, 0, 0] * 400).astype(int).tolist()
    assert grays == [0, 100, 1, 101, 2, 102, 3, 103, 200, 300, 201, 301, 202, 302, 203, 303]
    assert labels.tolist() == [0] * 8 + [1] * 8
    assert (decoded == decoded[:, :1, :1]).all()
    assert (stored.images_per_class, stored.decoded_count) == (2, 16)


def test_factor_one_changes_nothing():
    stored = distilled(factor=1, labels=SOFT)
    images, labels = stored.decode()
    assert (images == stored.images).all()
    assert (labels == SOFT).all()


def test_soft_labels_follow_their_image():
    stored = distilled(labels=SOFT)
    images, labels = stored.decode()
    assert labels.shape == (16, 2)
    # Most probable classes 0 0 1 1: two runs of two images.
    np.testing.assert_array_equal(labels[:8], np.tile(SOFT[:2], (4, 1)))
    np.testing.assert_array_equal(labels[8:], np.tile(SOFT[2:], (4, 1)))
    assert images.shape == (16, 8, 8, 3)


def real(**changes) -> ImageSet:
    values = {
        "images": np.zeros((2, 8, 8, 3), np.uint8),
        "labels": np.array([0, 1]),
        "class_names": ("cat", "dog"),
        "source": "mine:1.0/test",
        "mean": (0.5, 0.4, 0.3),
        "std": (0.25, 0.2, 0.1),
    }
    return ImageSet(**(values | changes))


def test_matching_data_are_accepted():
    distilled().check_matches(real())
    distilled(space="normalized").check_matches(real())


@pytest.mark.parametrize(
    ("ours", "theirs", "message"),
    [
        ({}, {"images": np.zeros((2, 4, 4, 3), np.uint8)}, "image shape: (8, 8, 3) against (4, 4, 3)"),
        ({}, {"class_names": ("dog", "cat")}, "order: ('cat', 'dog') against ('dog', 'cat')"),
        ({}, {"mean": (0.5, 0.4, 0.2)}, "value space: [0, 1] normalized with mean (0.5, 0.4, 0.3)"),
        (
            ZCA,
            {},
            "value space: ZCA of cifar10:3.0.2/train with epsilon 0.1 against [0, 1] normalized",
        ),
    ],
)
def test_data_of_another_kind_are_refused_with_both_sides_named(ours, theirs, message):
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        distilled(**ours).check_matches(real(**theirs))
    assert "mine:1.0/train" in str(error.value)
    assert "mine:1.0/test" in str(error.value)


def test_images_per_class_needs_equal_classes():
    with pytest.raises(ValueError, match=r"equal classes. Received: \[3, 1\]"):
        _ = replace(distilled(), labels=np.array([0, 0, 0, 1])).images_per_class
