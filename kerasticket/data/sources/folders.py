"""ImageNet-style folders of images: `<path>/<split>/<class>/<image>`."""

import collections
import warnings
from pathlib import Path

import numpy as np

from kerasticket.data import classes as class_rules
from kerasticket.data.sources.decoding import StreamedImages, decoded_shapes

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
GRAY_MEAN, GRAY_STD = (0.449,), (0.226,)  # the means of ImageNet's three
SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".gif"}
SPLIT_FOLDERS = {"train": ("train",), "test": ("test", "val", "validation")}
_OF_SYSTEMS = {"__MACOSX", "__pycache__", "@eaDir", "$RECYCLE.BIN", "System Volume Information", "lost+found"}
_SIZE = 224  # of images that differ in size


def scan(
    path: str | Path, split: str, classes: tuple[str, ...] | None, image_size: int | None, channels: int | None = None
) -> StreamedImages:
    """The files of one split, class by class, each sorted by name.

    Images are opened only to see their size and channels, until these are known.

    Args:
        path: folder with `train` and one of `test`, `val`, `validation`.
        split: "train" or "test".
        classes: names of the class folders, in the order of the labels; None: all, in the order of
            `kerasticket.data.classes.order_key`.
        image_size: height and width that images are brought to; None: that of the training images, 224 where they
            differ.
        channels: 1 or 3; None: 1 where all training images are gray.

    Raises:
        ValueError: if the folder, the split's folder or a class is missing or holds no images, or the splits have
            other classes.
    """
    if channels not in (None, 1, 3):
        raise ValueError(f"channels must be 1, 3 or None. Received: {channels}")
    root = _split_folder(Path(path), split)
    folders = class_folders(root)
    names = classes or class_rules.in_order(folders)
    missing = [name for name in names if name not in folders]
    if missing or not names:
        raise ValueError(f"{root} must hold one folder per class; missing: {missing}. Received: {list(folders)[:20]}")
    train = _other_split(Path(path), "train")
    if classes is None:
        _check_splits(Path(path), split, root, folders)
    files = _files(root, folders, names)
    labels = np.repeat(np.arange(len(names), dtype=np.int64), [len(group) for group in files])
    paths = np.array([str(file) for group in files for file in group], dtype=object)
    shown = paths if split == "train" or train is None else _paths(train, names)
    shape = _shape(shown, image_size, channels)
    mean, std = (GRAY_MEAN, GRAY_STD) if shape[2] == 1 else (IMAGENET_MEAN, IMAGENET_STD)
    return StreamedImages(paths, labels, names, f"folder:{root}", mean, std, shape)


def class_folders(root: Path) -> dict[str, Path]:
    """The folders of classes by their names; hidden ones and those of operating systems are none."""
    found: dict[str, Path] = {}
    for folder in sorted(each for each in root.iterdir() if each.is_dir() and not is_hidden(each)):
        name = class_rules.name_of_folder(folder.name)
        if name in found:
            raise ValueError(f"{root} holds class {name!r} twice, spelt in two ways: put both folders into one.")
        found[name] = folder
    return found


def is_hidden(path: Path) -> bool:
    """Whether a file or folder is the system's own."""
    return path.name.startswith(".") or path.name in _OF_SYSTEMS


def is_image(path: Path) -> bool:
    """Whether a path is a file of a type that is read; links that lead nowhere are, so that reading names them."""
    return path.suffix.lower() in SUFFIXES and not is_hidden(path) and not path.is_dir()


def warn_of_ignored(root: Path, ignored: list[Path]) -> None:
    """Counts what is not read by its ending: folders, hidden files, and files of other types."""
    if not ignored:
        return
    kinds = collections.Counter(
        "hidden" if is_hidden(path) else "folder" if path.is_dir() else path.suffix.lower() or "no ending"
        for path in ignored
    )
    told = ", ".join(f"{kind}: {count}" for kind, count in sorted(kinds.items()))
    warnings.warn(
        f"{root}: {len(ignored)} files and folders are no images that are read, and are ignored ({told}), such as "
        f"{ignored[0]}. Images are {', '.join(sorted(SUFFIXES))}, right in the folder of their class.",
        stacklevel=2,
    )


def _check_splits(path: Path, split: str, root: Path, folders: dict[str, Path]) -> None:
    """The other split has the same classes; one without any folder, as of unlabeled images, has no say."""
    other = _other_split(path, "test" if split == "train" else "train")
    theirs = class_folders(other) if other else {}
    if theirs:
        class_rules.check_same(class_rules.in_order(folders), class_rules.in_order(theirs), str(root), str(other))


def _files(root: Path, folders: dict[str, Path], names: tuple[str, ...]) -> list[list[Path]]:
    ignored = [path for path in sorted(root.iterdir()) if is_hidden(path) or not path.is_dir()]
    groups = []
    for name in names:
        inside = sorted(folders[name].iterdir())
        groups.append([path for path in inside if is_image(path)])
        left = [path for path in inside if not is_image(path)]
        if not groups[-1]:
            raise ValueError(
                f"{folders[name]} holds no image files ({', '.join(sorted(SUFFIXES))}). "
                f"Received: {[path.name for path in left[:5]]}"
            )
        ignored += left
    warn_of_ignored(root, ignored)
    return groups


def _paths(root: Path, names: tuple[str, ...]) -> np.ndarray:
    """The images of these classes in another split."""
    folders = class_folders(root)
    groups = [folders[name].iterdir() for name in names if name in folders]
    return np.array([str(path) for group in groups for path in sorted(group) if is_image(path)], dtype=object)


def _shape(paths: np.ndarray, image_size: int | None, channels: int | None) -> tuple[int, int, int]:
    """(height, width, channels) as told, else as the images have it: 224 where sizes differ, 3 where one has colors."""
    if image_size and channels:
        return image_size, image_size, channels
    found: set[tuple[int, int]] = set()
    colors = False
    for height, width, depth in decoded_shapes(paths):
        found.add((height, width))
        colors = colors or depth > 2
        if (image_size or len(found) > 1) and (channels or colors):
            break
    one = found.pop() if len(found) == 1 else (_SIZE, _SIZE)
    height, width = (image_size, image_size) if image_size else one
    return height, width, channels or (3 if colors else 1)


def _split_folder(path: Path, split: str) -> Path:
    if not path.is_dir():
        raise ValueError(f"Expected a folder of images with a folder per split in it. Received: {path}, not a folder")
    root = _other_split(path, split)
    if root is not None:
        return root
    found = sorted(child.name for child in path.iterdir() if child.is_dir())
    raise ValueError(f"{path} needs a folder {' or '.join(SPLIT_FOLDERS[split])} for {split!r}. Received: {found[:20]}")


def _other_split(path: Path, split: str) -> Path | None:
    return next((path / name for name in SPLIT_FOLDERS[split] if (path / name).is_dir()), None)
