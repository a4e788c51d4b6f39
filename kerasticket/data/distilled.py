"""A distilled data set: a few synthetic images, how to decode them, and where they came from."""

import json
from dataclasses import dataclass, field, fields
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from kerasticket.checks import check_choice
from kerasticket.data.formats import distilled_file
from kerasticket.data.images import check_labels, check_normalization, make_plain
from kerasticket.data.multi_formation import cell_size, decode_cells
from kerasticket.data.sets import located

# What the pixel values mean: [0, 1] un-normalized; (unit - mean) / std; whitened over pixels (MTT).
SPACES = ("unit", "normalized", "zca")
# Images whitened back leave [0, 1] (about -.9..1.9 for MTT); bytes and normalized data lie beyond this.
UNIT_LIMITS = (-1.0, 2.0)


def library_versions() -> dict[str, str]:
    """Versions of the libraries that make or read a set."""
    names = ("keras", "tensorflow", "jax", "torch", "numpy", "h5py")
    present = {name: distribution_version(name) for name in names}
    return {name: version for name, version in present.items() if version}


def distribution_version(name: str) -> str | None:
    """The installed version, or None where the library is absent."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


@dataclass(frozen=True, eq=False)
class DistilledSet:
    """Synthetic images as stored, with all that is needed to use, judge and remake them.

    Attributes:
        images: float32, (n, height, width, channels), in `space`; class-major where a class has several.
        labels: int64 (n,), positions in `class_names`; or soft labels, float32 (n, classes), or a label for each
            cell of multi-formation, (n, factor^2, classes), cells row-major.
        class_names: their order is part of the data.
        source: data set, version and split that was distilled, as `ImageSet.source`.
        method: name of the method, such as "idc" or "random_real".
        space: "unit" ([0, 1], un-normalized), "normalized" or "zca".
        mean, std: per channel; what a network's input is normalized with. Empty allowed for "zca".
        zca: for "zca": {"epsilon": ..., "source": ...}, enough to compute the whitening again; else empty.
        factor: multi-formation cells per side; 1: an image is an image.
        settings: the method's settings; anything that JSON holds.
        seeds: by purpose.
        accuracy: measured test accuracies, such as {"convnet3": {"mean": .9, "std": .01, "nets": 5}}.
        command: what made the file.
        versions: of the libraries that made it.

    Raises:
        ValueError: if a field has another type, shape or range, or the fields disagree.

    Example:
        >>> stored = np.full((2, 8, 8, 1), 0.5, np.float32)
        >>> distilled = DistilledSet(stored, np.array([0, 1]), ("cat", "dog"), "mine:1.0/train", "by hand",
        ...                          mean=(0.5,), std=(0.2,), factor=2)
        >>> images, labels = distilled.decode()
        >>> images.shape, labels.tolist()
        ((8, 8, 8, 1), [0, 0, 0, 0, 1, 1, 1, 1])
    """

    images: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]
    source: str
    method: str
    space: str = "unit"
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    zca: dict[str, Any] = field(default_factory=dict)
    factor: int = 1
    settings: dict[str, Any] = field(default_factory=dict)
    seeds: dict[str, Any] = field(default_factory=dict)
    accuracy: dict[str, Any] = field(default_factory=dict)
    command: str = ""
    versions: dict[str, str] = field(default_factory=library_versions)

    def __post_init__(self) -> None:
        make_plain(self)
        self._check_images()
        if not isinstance(self.factor, int):
            raise ValueError(f"factor must be a whole number. Received: {self.factor!r}")
        cell_size(self.images.shape[1], self.factor)
        cell_size(self.images.shape[2], self.factor)
        self._check_labels()
        self._check_space()
        for name in ("zca", "settings", "seeds", "accuracy", "versions"):
            object.__setattr__(self, name, _as_json(name, getattr(self, name)))

    def _check_images(self) -> None:
        if not (isinstance(self.images, np.ndarray) and isinstance(self.labels, np.ndarray)):
            raise ValueError(
                "images and labels must be NumPy arrays. "
                f"Received: {type(self.images).__name__} and {type(self.labels).__name__}"
            )
        if self.images.dtype != np.float32 or self.images.ndim != 4 or not len(self.images):
            raise ValueError(
                "images must be float32 of shape (n, height, width, channels), n at least 1. "
                f"Received: {self.images.dtype} of shape {self.images.shape}"
            )
        if not np.isfinite(self.images).all():
            raise ValueError(
                f"images must be finite. Received: {np.sum(~np.isfinite(self.images))} NaN or infinite values"
            )

    def _check_labels(self) -> None:
        if not self.is_soft:
            check_labels(self.labels, len(self.images), self.class_names)
            return
        of_images, of_cells = (len(self.images), self.num_classes), (len(self.images), self.factor**2, self.num_classes)
        if self.labels.dtype != np.float32 or self.labels.shape not in (of_images, of_cells):
            raise ValueError(
                f"soft labels must be float32 of shape {of_images} or {of_cells}. "
                f"Received: {self.labels.dtype} of shape {self.labels.shape}"
            )
        if not np.allclose(self.labels.sum(axis=-1), 1, atol=1e-3) or self.labels.min() < 0:
            raise ValueError(
                "soft labels must be non-negative and sum to 1 for each image. Received: values in "
                f"[{self.labels.min():.3g}, {self.labels.max():.3g}]. If they are logits, pass their softmax, or read "
                "their file by kerasticket.data.importers.read(..., temperature=1.0)."
            )

    def _check_space(self) -> None:
        check_choice(self.space, SPACES, "space")
        if self.space == "zca" and not {"epsilon", "source"} <= set(self.zca):
            raise ValueError(f'space "zca" needs zca={{"epsilon": ..., "source": ...}}. Received: zca={self.zca}')
        if self.space != "zca" or self.mean or self.std:
            check_normalization(self.mean, self.std, self.images.shape[-1])
        low, high = self.images.min(), self.images.max()
        if self.space == "unit" and not (UNIT_LIMITS[0] <= low and high <= UNIT_LIMITS[1]):
            raise ValueError(
                f'space "unit" means pixels in [0, 1]. Received: {low:.3g}..{high:.3g}; '
                'divide bytes by 255, or say space="normalized" or "zca".'
            )

    def __len__(self) -> int:
        return len(self.images)

    @property
    def is_soft(self) -> bool:
        """Whether the labels are distributions."""
        return self.labels.ndim > 1

    @property
    def num_classes(self) -> int:
        """How many classes there are."""
        return len(self.class_names)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of an image, stored or decoded."""
        height, width, channels = self.images.shape[1:]
        return height, width, channels

    @property
    def hard_labels(self) -> np.ndarray:
        """int64 (n,): the labels, or the most probable class of each soft one, over all cells."""
        if not self.is_soft:
            return self.labels
        return self.labels.reshape(len(self.images), -1, self.num_classes).mean(axis=1).argmax(axis=1)

    @property
    def images_per_class(self) -> int:
        """Stored images of each class.

        Raises:
            ValueError: if classes have different numbers of images.
        """
        counts = np.bincount(self.hard_labels, minlength=self.num_classes)
        if counts.min() != counts.max():
            raise ValueError(f"images_per_class needs equal classes. Received: {counts.tolist()} images")
        return int(counts[0])

    @property
    def decoded_count(self) -> int:
        """How many images `decode` returns."""
        return len(self.images) * self.factor**2

    def decode(self) -> tuple[np.ndarray, np.ndarray]:
        """The images a network is trained on, in the same value space as stored.

        Multi-formation as in IDC (Kim et al. 2022; `decode_cells`). The order is IDC's: class by class as
        stored (a class is a run of neighbors with the same label), within a class cell by cell
        (row-major), and within a cell image by image.

        Returns:
            images: float32, (n * factor^2, height, width, channels).
            labels: of each cell where it has its own, else of the image that it came from (int64 or soft).
        """
        count, cells = len(self.images), self.factor**2
        run = np.cumsum(np.diff(self.hard_labels, prepend=self.hard_labels[0]) != 0)
        image, cell = np.tile(np.arange(count), cells), np.repeat(np.arange(cells), count)
        order = np.lexsort((image, cell, run[image]))
        decoded = decode_cells(np, self.images, self.factor)[order]
        labels = self.labels[image, cell] if self.labels.ndim == 3 else self.labels[image]
        return decoded.astype(np.float32, copy=False), labels[order]

    def check_matches(self, real) -> None:
        """Raises ValueError, naming both sides, unless a network trained on one can be judged on the other.

        Args:
            real: `ImageSet`, `StreamedImages`, or real images in ZCA space, as `ZCA.whiten` gives them.
        """
        space = real._space_name() if isinstance(real, DistilledSet) else _normalized_name(real.mean, real.std)
        pairs = {
            "image shape": (self.input_shape, real.input_shape),
            "classes and their order": (self.class_names, real.class_names),
            "value space": (self._space_name(), space),
        }
        for what, (ours, theirs) in pairs.items():
            if ours != theirs:
                raise ValueError(
                    f"The distilled set ({self.method} of {self.source}) and the real data ({real.source}) "
                    f"differ in {what}: {ours} against {theirs}. Load the data that was distilled."
                )

    def _space_name(self) -> str:
        if self.space == "zca":
            return f"ZCA of {self.zca['source']} with epsilon {float(self.zca['epsilon'])}"
        return _normalized_name(self.mean, self.std)

    def save(self, path: str | Path) -> None:
        """Writes one HDF5 file, whole or not at all (a temporary name, then a rename).

        Raises:
            ValueError: if the folder cannot be written to.
        """
        arrays = {"images": self.images, "labels": self.labels}
        described = {each.name: getattr(self, each.name) for each in fields(self) if each.name not in arrays}
        distilled_file.write(Path(path), arrays, described)

    @classmethod
    def load(cls, path: str | Path) -> "DistilledSet":
        """Reads and checks a file of `save`; runs nothing that the file says.

        Args:
            path: of the file, or the name of a set that comes with kerasticket, of `kt.data.distilled_sets`.

        Raises:
            ValueError: if the file is absent, truncated, foreign, of another version or holds impossible
                values.
        """
        names = {each.name for each in fields(cls)}
        values = distilled_file.read(located(path), {"images", "labels"}, names - {"images", "labels"})
        try:
            return cls(**values)
        except (ValueError, TypeError, AttributeError) as error:
            raise ValueError(f"{path} is not a usable distilled set: {error}") from error


def _normalized_name(mean: tuple[float, ...], std: tuple[float, ...]) -> str:
    return f"[0, 1] normalized with mean {mean} and std {std}"


def _as_json(name: str, value: dict) -> dict:
    """`value` as it will read from a file (tuples become lists)."""
    try:
        if not isinstance(value, dict):
            raise TypeError("not a dict")
        return json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be a dict that JSON can hold ({error}). Received: {value}") from error
