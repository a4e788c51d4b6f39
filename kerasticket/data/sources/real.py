"""Real data sets by name: one line in `DATASETS` each, and one `load`."""

import difflib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from kerasticket.checks import check_choice
from kerasticket.data.images import ImageSet, choose_per_class
from kerasticket.data.sources import digits
from kerasticket.data.sources.archives import Archive
from kerasticket.data.sources.decoding import StreamedImages
from kerasticket.data.sources.folders import IMAGENET10, IMAGENET_MEAN, IMAGENET_STD, scan
from kerasticket.data.sources.npz import read_npz

SPLITS = ("train", "test")
GIBIBYTE = 2**30


@dataclass(frozen=True)
class TensorFlowDataset:
    """How to read one data set of TensorFlow Datasets, and what to normalize it with.

    That is what the code of the paper, IDC, DC and MTT uses (for CIFAR-100 the numbers of CIFAR-10), as their distilled
    sets are to be read; a data set's own statistics differ.
    """

    name: str
    url: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    test_split: str = "test"
    image_size: int | None = None


@dataclass(frozen=True)
class EmbeddedDataset:
    """A data set that an installed package carries."""

    load: Callable[[str, int | None], ImageSet]


_TORONTO = "https://www.cs.toronto.edu/~kriz/"
_CIFAR = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
DATASETS: dict[str, TensorFlowDataset | EmbeddedDataset] = {
    "digits": EmbeddedDataset(digits.load_digits),
    "cifar10": TensorFlowDataset("cifar10", _TORONTO, *_CIFAR),
    "cifar100": TensorFlowDataset("cifar100", _TORONTO, *_CIFAR),
    "mnist": TensorFlowDataset("mnist", "https://storage.googleapis.com/cvdf-datasets/mnist/", (0.1307,), (0.3081,)),
    "fashion_mnist": TensorFlowDataset(
        "fashion_mnist", "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/", (0.2861,), (0.3530,)
    ),
    "svhn_cropped": TensorFlowDataset(
        "svhn_cropped",
        "http://ufldl.stanford.edu/housenumbers/",
        (0.4377, 0.4438, 0.4728),
        (0.1980, 0.2010, 0.1970),
    ),
    "imagenette": TensorFlowDataset(
        "imagenette/160px-v2",
        "https://s3.amazonaws.com/fast-ai-imageclas/",
        IMAGENET_MEAN,
        IMAGENET_STD,
        test_split="validation",
        image_size=64,
    ),
}
# "folder:/path" takes all classes of a folder, "imagenet10:/path" the paper's ten in the paper's order.
FOLDERS: dict[str, tuple[str, ...] | None] = {"folder": None, "imagenet10": IMAGENET10}


def load(
    name: str,
    split: str = "train",
    *,
    images_per_class: int | None = None,
    seed: int = 0,
    image_size: int | None = None,
    data_dir: str | Path | None = None,
    download: bool = True,
    memory_limit: int = 2 * GIBIBYTE,
) -> ImageSet | StreamedImages:
    """Real images by name, all or a seeded choice per class.

    Args:
        name: a name of `DATASETS`, or "folder:<path>" or "imagenet10:<path>" (see `load_folder`), or "npz:<file>" of
            own arrays: `images` and `labels` (and `test_images`, `test_labels`, `class_names`), or `x_train`,
            `y_train`, `x_test`, `y_test` as Keras names them; see `ImageSet.from_arrays`.
        split: "train" or "test" (what a set calls "validation" is its "test" where it has no other).
        images_per_class: how many of each class; None: all. Only these are decoded.
        seed: of that choice. A smaller choice is contained in a larger one of the same seed.
        image_size: height and width. None: as stored; digits 16, imagenette 64, folders whose images differ in size
            224. Others are scaled until the shorter side fits, then cropped at the center.
        data_dir: TensorFlow Datasets folder. None: TFDS_DATA_DIR, then TFDS' default.
        download: whether TFDS may download what is absent.
        memory_limit: bytes; a set that needs more decoded is returned as `StreamedImages`.

    Raises:
        ValueError: unknown name or split, absent data and no network, a class with too few images.

    Example:
        >>> images = load("digits", images_per_class=5)
        >>> len(images), images.input_shape, images.source
        (50, (16, 16, 1), 'digits:1.0.0/train, 5 per class, seed 0')
    """
    _check(split, image_size)
    prefix, colon, path = name.partition(":")
    if colon and prefix in FOLDERS:
        return load_folder(
            path,
            split,
            wnids=FOLDERS[prefix],
            images_per_class=images_per_class,
            seed=seed,
            image_size=image_size,
            memory_limit=memory_limit,
        )
    if colon and prefix == "npz":
        if image_size is not None:
            raise ValueError(f"image_size is not for arrays, which have their size. Received: {image_size=}, {name!r}")
        arrays = read_npz(path, split)
        return arrays if images_per_class is None else arrays.subset(images_per_class, seed)
    dataset = _find(name)
    if isinstance(dataset, EmbeddedDataset):
        whole = dataset.load(split, image_size)
        return whole if images_per_class is None else whole.subset(images_per_class, seed)
    archive = _open(dataset, split, data_dir, download)
    shape = archive.image_shape(image_size or dataset.image_size)
    return _read(archive, dataset, shape, (images_per_class, seed), memory_limit)


def load_folder(
    path: str | Path,
    split: str = "train",
    *,
    wnids: tuple[str, ...] | None = None,
    images_per_class: int | None = None,
    seed: int = 0,
    image_size: int | None = None,
    channels: int | None = None,
    memory_limit: int = 2 * GIBIBYTE,
) -> ImageSet | StreamedImages:
    """Images of an ImageNet-style folder, `<path>/<split>/<class>/<image>`; otherwise as `load`.

    Args:
        path: holds `train` and one of `test`, `val`, `validation`.
        wnids: class folders in the order of the labels, such as `IMAGENET10`; None: all, sorted by name, numbers in
            names by their value ("2" before "10"). Both splits must then have the same classes.
        image_size: height and width; None: those that all training images have, 224 where they differ.
        channels: 1 or 3; None: 1 where all training images are gray.

    Files that end in .jpg, .jpeg, .png, .bmp or .gif are read, of an animation the first frame, of an image with an
    alpha channel its colors. All else is counted in a warning.

    Raises:
        ValueError: a folder is missing or empty, the splits have other classes, an image cannot be decoded (it is
            named), a class has too few images.
    """
    _check(split, image_size)
    images = scan(path, split, wnids, image_size, channels)
    if images_per_class is not None:
        images = images.subset(images_per_class, seed)
    return images if _bytes(len(images), images.input_shape) > memory_limit else images.to_memory()


def _bytes(count: int, shape: tuple[int, int, int]) -> int:
    return count * int(np.prod(shape))


def _check(split: str, image_size: int | None) -> None:
    check_choice(split, SPLITS, "split")
    if image_size is not None and image_size < 1:
        raise ValueError(f"image_size must be at least 1, or None. Received: {image_size}")


def _find(name: str) -> TensorFlowDataset | EmbeddedDataset:
    if name in DATASETS:
        return DATASETS[name]
    near = difflib.get_close_matches(name, DATASETS, n=1, cutoff=0.4)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    folders = " or ".join(f"'{prefix}:<path>'" for prefix in (*FOLDERS, "npz"))
    raise ValueError(f"Unknown data set. Expected one of {sorted(DATASETS)}, or {folders}. Received: {name!r}.{hint}")


def _open(dataset: TensorFlowDataset, split: str, data_dir: str | Path | None, download: bool) -> Archive:
    own_split = dataset.test_split if split == "test" else "train"
    folder = None if data_dir is None else str(data_dir)
    return Archive(dataset.name, own_split, folder, dataset.url if download else None)


def _read(archive: Archive, dataset: TensorFlowDataset, shape, choice: tuple[int | None, int], memory_limit: int):
    count, seed = choice
    labels, names = archive.labels, archive.class_names
    chosen = np.arange(len(labels)) if count is None else choose_per_class(labels, names, count, seed)
    reader = archive.stream if _bytes(len(chosen), shape) > memory_limit else archive.load
    images = reader(chosen, shape, dataset.mean, dataset.std)
    return images if count is None else replace(images, source=f"{archive.source}, {count} per class, seed {seed}")
