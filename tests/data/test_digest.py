"""Digests of data: of what the images and labels are, and not of their names."""

import numpy as np
import pytest
from image_folders import folders, write

from kerasticket.data import ImageSet, load_folder
from kerasticket.data.digest import digest

pytestmark = pytest.mark.same_on_every_backend


def image_set(value: int = 0, labels=(0, 1), source: str = "mine") -> ImageSet:
    images = np.full((2, 4, 4, 1), value, np.uint8)
    return ImageSet(images, np.array(labels), ("a", "b"), source, (0.5,), (0.5,))


def test_images_in_memory_are_told_by_pixels_and_labels_alone():
    assert len({digest(each) for each in (image_set(), image_set(1), image_set(labels=(1, 0)))}) == 3
    assert digest(image_set()) == digest(image_set(source="another"))
    assert len(digest(image_set())) == 64


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    data = load_folder(folders(tmp_path, ("a", "b")), memory_limit=0)
    (tmp_path / "train" / "b" / "0.png").unlink()
    with pytest.raises(ValueError, match=r"train/b/0.png cannot be read: No such file"):
        digest(data)


def test_the_digest_of_files_is_of_their_content(tmp_path):
    folders(tmp_path, ("a", "b"))
    data = load_folder(tmp_path, memory_limit=0)
    before = digest(data)
    assert digest(load_folder(tmp_path, memory_limit=0)) == before
    write(tmp_path / "train" / "a" / "0.png", 7)
    assert digest(data) != before
