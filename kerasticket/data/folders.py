"""ImageNet-style folders of images: `<path>/<split>/<class>/<image>`."""

from pathlib import Path

import numpy as np

from kerasticket.data.decoding import StreamedImages

# The ten classes of "ImageNet-10" in IDC (Kim et al. 2022) and in the paper; not those of Imagenette.
IMAGENET10 = (
    "n02869837",
    "n01749939",
    "n02488291",
    "n02107142",
    "n13037406",
    "n02091831",
    "n04517823",
    "n04589890",
    "n03062245",
    "n01773797",
)
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".gif"}
SPLIT_FOLDERS = {"train": ("train",), "test": ("test", "val", "validation")}


def scan(path: str | Path, split: str, classes: tuple[str, ...] | None, image_size: int) -> StreamedImages:
    """The files of one split, class by class, each sorted by name; no image is opened.

    Args:
        path: folder with `train` and one of `test`, `val`, `validation`.
        split: "train" or "test".
        classes: names of the class folders, in the order of the labels; None: all, sorted.
        image_size: height and width that images are brought to.

    Raises:
        ValueError: if the folder, the split's folder or a class is missing or holds no images.
    """
    root = _split_folder(Path(path), split)
    present = sorted(folder.name for folder in root.iterdir() if folder.is_dir())
    names = tuple(classes or present)
    missing = [name for name in names if name not in present]
    if missing or not names:
        raise ValueError(f"{root} must hold one folder per class; missing: {missing}. Received: {present[:20]}")
    files = [_images(root / name) for name in names]
    labels = np.repeat(np.arange(len(names), dtype=np.int64), [len(group) for group in files])
    paths = np.array([str(file) for group in files for file in group], dtype=object)
    shape = (image_size, image_size, 3)
    return StreamedImages(paths, labels, names, f"folder:{root}", IMAGENET_MEAN, IMAGENET_STD, shape)


def _split_folder(path: Path, split: str) -> Path:
    if not path.is_dir():
        raise ValueError(f"Expected a folder of images with a folder per split in it. Received: {path}, not a folder")
    for name in SPLIT_FOLDERS[split]:
        if (path / name).is_dir():
            return path / name
    found = sorted(child.name for child in path.iterdir() if child.is_dir())
    raise ValueError(f"{path} needs a folder {' or '.join(SPLIT_FOLDERS[split])} for {split!r}. Received: {found[:20]}")


def _images(folder: Path) -> list[Path]:
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES)
    if not files:
        raise ValueError(f"{folder} holds no image files ({', '.join(sorted(SUFFIXES))}).")
    return files
