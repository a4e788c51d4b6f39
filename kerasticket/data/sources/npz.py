"""Own images and labels from an `.npz` file."""

from pathlib import Path

import numpy as np

from kerasticket.data.images import ImageSet
from kerasticket.files.arrays import Arrays
from kerasticket.files.members import BROKEN

_SPLITS = {
    "train": (("images", "labels"), ("x_train", "y_train"), ("train_images", "train_labels")),
    "test": (("test_images", "test_labels"), ("x_test", "y_test")),
}
_NAMES = {"class_names"} | {name for pairs in _SPLITS.values() for pair in pairs for name in pair}


def read_npz(path: str | Path, split: str) -> ImageSet:
    """A split of an `.npz` of own arrays, normalized with mean and std of its training images.

    Raises:
        ValueError: the file is absent or damaged, lacks the arrays of the split, or they cannot be images and labels.
    """
    try:
        with Arrays(path) as file:
            arrays = {name: file[name] for name in file.names if name in _NAMES}
    except BROKEN as error:
        raise ValueError(f"{path} cannot be read as an .npz of images and labels: {error}") from error
    train, asked = (_pair(path, arrays, each) for each in ("train", split))
    names = tuple(map(str, arrays["class_names"])) if "class_names" in arrays else None
    try:
        whole = ImageSet.from_arrays(*train, class_names=names, source=f"npz:{path}/train")
        if split == "train":
            return whole
        return ImageSet.from_arrays(
            *asked, class_names=whole.class_names, source=f"npz:{path}/test", mean=whole.mean, std=whole.std
        )
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _pair(path: str | Path, arrays: dict[str, np.ndarray], split: str) -> tuple[np.ndarray, np.ndarray]:
    for images, labels in _SPLITS[split]:
        if images in arrays and labels in arrays:
            return arrays[images], arrays[labels]
    expected = " or ".join(map(str, _SPLITS[split]))
    raise ValueError(f"{path} must hold the arrays {expected} for {split!r}. Received: {sorted(arrays)}")
