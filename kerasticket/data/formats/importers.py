"""Distilled sets that others published, as `DistilledSet`: IDC, MTT, TESLA, DC, DSA, DM, RDED, arrays, image folders.

The files do not say which space their pixels are in, and most are misread by somebody. So the space is checked
against the real images, where they are given: in the right one, distilled images lie near the mean of their class.
"""

import dataclasses
import math
import re
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from kerasticket.data import classes
from kerasticket.data.distilled import SPACES, DistilledSet
from kerasticket.data.formats import torch_files
from kerasticket.data.images import ImageSet
from kerasticket.data.sources.decoding import decode
from kerasticket.data.sources.folders import SUFFIXES, is_hidden, is_image, warn_of_ignored
from kerasticket.data.tensorflow_ops import tensorflow
from kerasticket.data.zca import EPSILON, ZCA
from kerasticket.files import limits
from kerasticket.files.arrays import Arrays
from kerasticket.files.members import BROKEN

_ABSENT = 0.2  # of a class's share of the labels: it has no image of its own
_SAMPLE, _SAMPLE_BYTES = 500, 2**27  # real images that a class mean is taken over; all of them, as float32
_ZCA_PIXELS = 4096
_FACTORS = (1, 2, 3)  # that were published
_RDED = re.compile(r"class(\d+)_id")
_WHITENED_BACK = "images_zca"


class Contents(NamedTuple):
    """What a file holds: images as stored (channels first or last), integer or soft labels.

    Where classes have names of their own, labels are positions in `names`.
    """

    images: np.ndarray
    labels: np.ndarray
    names: tuple[str, ...] = ()


def _pair(path: Path, index: int) -> Contents:
    """IDC's `data.pt`: [images, labels]."""
    loaded = torch_files.load(path)
    if not isinstance(loaded, (list, tuple)) or len(loaded) != 2:
        raise ValueError(f"{path} must hold [images, labels]. Received: {_outline(loaded)}")
    return Contents(*loaded)


def _two_files(path: Path, index: int) -> Contents:
    """MTT's and TESLA's `images_*.pt`, with `labels_*.pt` beside it; `images_zca_*.pt` is the same whitened back."""
    if "images" not in path.name:
        raise ValueError(f"Expected the file of the images, such as images_best.pt. Received: {path}")
    labels = path.with_name(path.name.replace(_WHITENED_BACK, "images").replace("images", "labels"))
    return Contents(torch_files.load(path), torch_files.load(labels))


def _several(path: Path, index: int) -> Contents:
    """`res_*.pt` of DC, DSA and DM: {"data": [[images, labels], ...]}, one pair per experiment."""
    loaded = torch_files.load(path)
    if not isinstance(loaded, dict) or "data" not in loaded:
        raise ValueError(f'{path} must hold a dict with a list "data". Received: {_outline(loaded)}')
    sets = loaded["data"]
    if not isinstance(sets, (list, tuple)) or not -len(sets) <= index < len(sets):
        raise ValueError(f"{path} holds {_outline(sets)}. Received: index={index}")
    return Contents(*sets[index])


def _arrays(path: Path, index: int) -> Contents:
    """`.npz` with `images` and `labels`."""
    try:
        with Arrays(path, extra=limits.DECODED) as file:
            names = file.names
            if {"images", "labels"} <= set(names):
                return Contents(file["images"], file["labels"])
    except BROKEN as error:
        raise ValueError(f"{path} cannot be read as a set of format 'arrays': {error}") from error
    raise ValueError(f"{path} must hold the arrays 'images' and 'labels'. Received: {list(names)}")


def _image_files(path: Path, index: int) -> Contents:
    """RDED's `class00003_id00007.jpg`, or a folder per class; classes by number, or by name."""
    if not path.is_dir():
        raise ValueError(f"Expected a folder of images. Received: {path}, which is none")
    found = [file for file in sorted(path.rglob("*")) if not _in_hidden(file.parent, path)]
    files = [file for file in found if is_image(file)]
    if not files:
        raise ValueError(f"{path} holds no image files ({', '.join(sorted(SUFFIXES))}).")
    warn_of_ignored(path, [file for file in found if is_hidden(file) or not (is_image(file) or file.is_dir())])
    of_files = [_class_of(file) for file in files]
    _check_folders(path, files, of_files)
    names = classes.in_order(of_files)
    if all(_RDED.match(file.name) for file in files):
        names, labels = (), [int(name) for name in of_files]
    else:
        labels = [names.index(name) for name in of_files]
    encoded = [file.read_bytes() for file in files]
    shapes = {_decoded_shape(file, each) for file, each in zip(files, encoded, strict=True)}
    sizes = {shape[:2] for shape in shapes}
    if len(sizes) > 1:
        raise ValueError(f"{path} holds images of {len(sizes)} sizes, such as {sorted(sizes)[:3]}: resize them to one.")
    channels = 1 if {shape[2] for shape in shapes} == {1} else 3
    height, width = sizes.pop()
    images = [decode(each, height, width, channels).numpy() for each in encoded]
    return Contents(np.stack(images), np.array(labels, np.int64), names)


def _check_folders(path: Path, files: list[Path], classes: list[str]) -> None:
    """Raises ValueError where a class lies in several folders, as those of "train" and of "test" beside it."""
    folders: dict[str, Path] = {}
    for file, name in zip(files, classes, strict=True):
        if folders.setdefault(name, file.parent) != file.parent:
            raise ValueError(
                f"{path} holds class {name!r} in {folders[name]} and in {file.parent}: pass one folder of the set."
            )


def _class_of(file: Path) -> str:
    match = _RDED.match(file.name)
    return match[1] if match else classes.name_of_folder(file.parent.name)


def _in_hidden(folder: Path, root: Path) -> bool:
    return folder != root and (is_hidden(folder) or _in_hidden(folder.parent, root))


def _decoded_shape(file: Path, encoded: bytes) -> tuple[int, ...]:
    try:
        return tuple(tensorflow().io.decode_image(encoded, expand_animations=False).shape)
    except tensorflow().errors.OpError as error:
        raise ValueError(f"{file} cannot be read as an image: {error.message[:200]}") from error


class Format(NamedTuple):
    """How a project's files are read, and the space that they are in if nobody says otherwise."""

    read: Callable[[Path, int], Contents]
    space: str
    factor: int = 1


FORMATS: dict[str, Format] = {
    "idc": Format(_pair, "unit", 2),
    "mtt": Format(_two_files, "zca"),
    "tesla": Format(_two_files, "zca"),
    "dc": Format(_several, "normalized"),
    "dsa": Format(_several, "normalized"),
    "dm": Format(_several, "normalized"),
    "rded": Format(_image_files, "unit"),
    "arrays": Format(_arrays, "unit"),
    "folder": Format(_image_files, "unit"),
}


def read(
    path: str | Path,
    format: str,
    *,
    real: ImageSet | None = None,
    space: str | None = None,
    factor: int | None = None,
    index: int = -1,
    temperature: float | None = None,
    **fields: Any,
) -> DistilledSet:
    """Reads a distilled set of another project; torch is not needed, and nothing in the file is run.

    Args:
        path: the file; for "mtt" and "tesla" the one of the images, for "rded" and "folder" the folder.
        format: a name in `FORMATS`.
        real: the training images that were distilled. They give class names, mean, std and, for ZCA, the whitening;
            and the space of the file is checked against them.
        space: "unit", "normalized" or "zca"; default: the format's usual one (MTT, TESLA: "zca" for images of up to 32
            pixels a side, "normalized" for larger ones).
        factor: multi-formation cells per side; default: what IDC's folder name says, else the format's usual one
            (IDC: 2).
        index: which set of a file of several ("dc", "dsa", "dm").
        temperature: of soft labels that the file holds as logits: labels are softmax(logits / temperature). None: it
            holds probabilities.
        **fields: of `DistilledSet`, instead of what `real` says: class_names, source, mean, std, zca.

    Raises:
        ValueError: the file is damaged, holds more than tensors, or cannot be a set of this format; its shape or
            classes are not those of `real`, or its pixels fit another space or factor better.
    """
    if format not in FORMATS:
        raise ValueError(f"Expected a format of {list(FORMATS)}. Received: {format!r}")
    chosen, told = FORMATS[format], space
    space = chosen.space if space is None else space
    if space not in SPACES:
        raise ValueError(f"Expected a space of {SPACES}. Received: {space!r}")
    path = Path(path)
    if real is not None and not isinstance(real, ImageSet):
        raise ValueError(
            f"Expected real images in memory (an ImageSet). Received: {type(real).__name__}; load fewer with "
            "images_per_class=, or give class_names=, mean= and std= instead."
        )
    try:
        contents = chosen.read(path, index)
    except (OSError, EOFError, TypeError, zlib.error, zipfile.BadZipFile, tensorflow().errors.OpError) as error:
        raise ValueError(f"{path} cannot be read as a set of format {format!r}: {error}") from error
    images, labels = _images(contents.images, path), _labels(contents.labels, path)
    if told is None:
        space = _usual_space(chosen, path, images)
    if factor is None:
        factor = _usual_factor(chosen, path)
    known = tuple(fields.get("class_names") or (real.class_names if real else ()))
    labels = _by_name(labels, contents.names, known, path)
    if labels.ndim == 2:
        labels = _probabilities(labels, temperature, path)
    elif temperature is not None:
        raise ValueError(f"{path} holds classes and no logits. Received: temperature={temperature}")
    about = _about(real, space, labels, known or contents.names) | fields
    distilled = DistilledSet(images, labels, method=format, space=space, factor=factor, **about)
    if real is not None:
        _check(distilled, real, path)
    return distilled


def _usual_space(chosen: Format, path: Path, images: np.ndarray) -> str:
    """MTT and TESLA whiten images of 32 pixels alone, and write a copy that is whitened back."""
    if chosen.space == "zca" and _WHITENED_BACK in path.name:
        return "unit"
    return "normalized" if chosen.space == "zca" and images[0].size > _ZCA_PIXELS else chosen.space


def _usual_factor(chosen: Format, path: Path) -> int:
    """IDC's folders tell it: `.../conv3in_grad_mse_nd2000_cut_niter2000_factor2_lr0.005_mix_ipc10/data.pt`."""
    told = re.findall(r"_factor(\d+)_", str(path)) if chosen.factor > 1 else []
    return int(told[-1]) if told else chosen.factor


def _by_name(labels: np.ndarray, names: tuple[str, ...], known: tuple[str, ...], path: Path) -> np.ndarray:
    """Labels, which are positions in the names of the file, as positions in those that are known.

    By name; folders that are all numbers, where other names are known, by number: they count the classes from 0 on.
    """
    if not names or not known:
        return labels
    if all(name.isdecimal() for name in names) and not set(names) <= set(known):
        by_value = {int(name): place for place, name in enumerate(known) if name.isdecimal()}
        numbers = [int(name) for name in names]
        if len(by_value) == len(known) and set(numbers) <= set(by_value):
            return np.array([by_value[number] for number in numbers], np.int64)[labels]
        if not by_value and max(numbers) < len(known):
            return np.array(numbers, np.int64)[labels]
    return classes.positions(names, known, str(path))[labels]


def _images(images: Any, path: Path) -> np.ndarray:
    """float32, channels last; bytes become [0, 1]."""
    if not _is_numbers(images) or images.ndim != 4 or not images.size:
        raise ValueError(f"{path} must hold images, numbers with four axes. Received: {_outline(images)}")
    if images.shape[1] in (1, 3) and images.shape[3] not in (1, 3):
        images = images.transpose(0, 2, 3, 1)
    if images.dtype == np.uint8:
        images = images / np.float32(255)
    return np.ascontiguousarray(images, np.float32)


def _labels(labels: Any, path: Path) -> np.ndarray:
    if not _is_numbers(labels) or labels.ndim not in (1, 2):
        raise ValueError(f"{path} must hold labels with one axis, or two if soft. Received: {_outline(labels)}")
    if labels.ndim < 2 and not np.array_equal(labels, np.trunc(labels)):
        raise ValueError(f"{path} must hold whole numbers as labels. Received: {labels[:5]}")
    return labels.astype(np.float32) if labels.ndim == 2 else labels.astype(np.int64)


def _probabilities(labels: np.ndarray, temperature: float | None, path: Path) -> np.ndarray:
    """Soft labels that sum to 1."""
    if temperature is None:
        if labels.min() < 0 or not np.allclose(labels.sum(axis=1), 1, atol=1e-3):
            raise ValueError(
                f"{path} must hold soft labels that are not negative and sum to 1. Received: values in "
                f"[{labels.min():.3g}, {labels.max():.3g}], which look like logits. Pass temperature=1.0, or the one "
                "that they are meant for, if they are."
            )
        return labels
    if not temperature > 0 or not np.isfinite(labels).all():
        raise ValueError(f"Expected temperature > 0 and finite logits in {path}. Received: temperature={temperature}")
    scaled = (labels.astype(np.float64) - labels.max(axis=1, keepdims=True)) / temperature
    probabilities = np.exp(scaled)
    return (probabilities / probabilities.sum(axis=1, keepdims=True)).astype(np.float32)


def _is_numbers(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind in "biuf"


def _outline(value: Any) -> str:
    """What something is, in a few words."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype} of shape {value.shape}"
    length = f" of {len(value)}" if isinstance(value, (list, tuple, dict)) else ""
    return f"{type(value).__name__}{length}"


def _about(real: ImageSet | None, space: str, labels: np.ndarray, names: tuple[str, ...]) -> dict[str, Any]:
    """The fields that the file itself does not tell."""
    if real is None and names:
        return {"class_names": names, "source": "unknown"}
    if real is None:
        if labels.ndim == 1 and not 0 <= labels.max(initial=-1) < len(labels):
            raise ValueError(
                f"Expected labels in 0..{len(labels) - 1}, or class_names=. Received: up to {labels.max()}"
            )
        classes = labels.shape[1] if labels.ndim == 2 else int(labels.max()) + 1
        return {"class_names": tuple(str(label) for label in range(classes)), "source": "unknown"}
    about: dict[str, Any] = {"class_names": real.class_names, "source": real.source}
    if space == "zca":
        return about | {"zca": {"epsilon": EPSILON, "source": real.source}}
    return about | {"mean": real.mean, "std": real.std}


def _check(distilled: DistilledSet, real: ImageSet, path: Path) -> None:
    """Raises ValueError unless the set can be one of `real` in the space that it is said to be in."""
    if distilled.input_shape != real.input_shape:
        raise ValueError(
            f"{path} holds images of shape {distilled.input_shape}; those of {real.source} have {real.input_shape}."
        )
    if distilled.is_soft:
        lacks = distilled.labels.mean(axis=0) < _ABSENT / real.num_classes  # none is exactly 0
    else:
        lacks = np.bincount(distilled.labels, minlength=real.num_classes) == 0
    missing = np.flatnonzero(lacks).tolist()
    if missing:
        raise ValueError(f"{path} has no images of the classes {[real.class_names[label] for label in missing]}.")
    absent = [name for label, name in enumerate(real.class_names) if not (real.labels == label).any()]
    if absent:
        raise ValueError(f"Expected real images of every class, to compare with. Received: none of {absent}.")
    found = evidence(distilled, real)
    better = _better_space(found, distilled.space, distilled.decoded_count)
    if better:
        told = "; ".join(
            f"{space!r}: {fit.own:.0%} lie nearest to the mean of their class, spread {fit.spread:.2g} of the real one"
            for space, fit in found.items()
        )
        raise ValueError(
            f"{path} is said to be in space {distilled.space!r}, but looks like {better!r} ({told}). "
            f"Pass space={better!r} if that is right."
        )
    _check_factor(distilled, real, path)


def _check_factor(distilled: DistilledSet, real: ImageSet, path: Path) -> None:
    """Raises ValueError if images that are taken apart fit the real ones clearly better in cells of another size."""
    if distilled.factor == 1 or distilled.space == "zca":
        return

    def own(factor: int) -> float:
        return evidence(dataclasses.replace(distilled, factor=factor), real)[distilled.space].own

    told, others = own(distilled.factor), [factor for factor in _FACTORS if factor != distilled.factor]
    shares = {factor: own(factor) for factor in others}
    best = max(shares, key=lambda factor: shares[factor])
    if _is_nearer(shares[best], told, len(distilled) * best**2):
        raise ValueError(
            f"{path} is said to be of factor {distilled.factor}, but looks like {best} ({told:.0%} of the decoded "
            f"images lie nearest to the mean of their class, {shares[best]:.0%} with factor {best}). "
            f"Pass factor={best} if that is right."
        )


def _is_nearer(share: float, told: float, count: int) -> bool:
    """Whether a share of so many images that lie near their class's mean is clearly larger than what is told gives."""
    return share > told / 0.6 + 0.5 / np.sqrt(count)


class Fit(NamedTuple):
    """How images fit a space: the share whose nearest class mean is their own; their std over that of real images."""

    own: float
    spread: float


def evidence(distilled: DistilledSet, real: ImageSet) -> dict[str, Fit]:
    """How the images fit each space, were they in it.

    Class means and std are those of some real images, brought to that space; ZCA is fitted to all of `real`. It is left
    out for a set in [0, 1], where it would not lie, and as a mere alternative for images of more than 4,096 values.
    """
    images, labels = distilled.decode()
    labels = labels.argmax(axis=1) if distilled.is_soft else labels
    rows, of_rows = _sample(real)
    mean, std = (np.asarray(ours or of_real, np.float32) for ours, of_real in _normalizations(distilled, real))
    spaces = {"unit": rows, "normalized": (rows - mean) / std}
    pixels = math.prod(real.input_shape)
    if distilled.space == "zca" or (distilled.space != "unit" and pixels <= _ZCA_PIXELS):
        spaces["zca"] = ZCA.fit(real, distilled.zca.get("epsilon", EPSILON)).whitened(rows)
    found = {}
    for space, those in spaces.items():
        centers = np.stack([those[of_rows == label].mean(axis=0) for label in range(real.num_classes)])
        found[space] = Fit(_nearest_is_own(images, labels, centers), float(images.std() / those.std()))
    return found


def _normalizations(distilled: DistilledSet, real: ImageSet):
    return (distilled.mean, real.mean), (distilled.std, real.std)


def _sample(real: ImageSet) -> tuple[np.ndarray, np.ndarray]:
    """Pixels in [0, 1] and labels of the first images of each class."""
    fitting = _SAMPLE_BYTES // (4 * math.prod(real.input_shape) * real.num_classes)
    count = max(1, min(_SAMPLE, fitting))
    chosen = np.concatenate([np.flatnonzero(real.labels == label)[:count] for label in range(real.num_classes)])
    return real.to_float(chosen), real.labels[chosen]


def _better_space(found: dict[str, Fit], told: str, count: int) -> str | None:
    """A space that the images fit clearly better than the one that was told, or None.

    Large values lie near the mean of their class in any space, so that the spread decides there; distilled images
    have up to about three times that of real ones.
    """
    ours, better = found[told], {}
    for space, fit in found.items():
        nearer = _is_nearer(fit.own, ours.own, count)
        spread = not 1 / 3 < ours.spread < 3 and 1 / 3 < fit.spread < 3 and fit.own > 0.8 * ours.own
        if space != told and (nearer or spread):
            better[space] = fit.own
    return max(better, key=lambda space: better[space], default=None)


def _nearest_is_own(images: np.ndarray, labels: np.ndarray, centers: np.ndarray) -> float:
    rows, centers = images.reshape(len(images), -1), centers.reshape(len(centers), -1)
    distances = (centers**2).sum(axis=1) - 2 * rows @ centers.T
    return float(np.mean(distances.argmin(axis=1) == labels))
