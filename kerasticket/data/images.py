"""Labeled images in memory: uint8 NHWC with their classes, their origin and how to normalize them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from kerasticket.data import arrays


def aligned_empty(shape: tuple[int, ...]) -> np.ndarray:
    """An uninitialized uint8 array at a multiple of 64 bytes, whose memory TensorFlow can share."""
    size = int(np.prod(shape, dtype=np.int64))
    buffer = np.empty(size + 64, np.uint8)
    start = -buffer.ctypes.data % 64
    return buffer[start : start + size].reshape(shape)


def choose_per_class(labels: np.ndarray, class_names: tuple[str, ...], count: int, seed: int) -> np.ndarray:
    """Positions of `count` seeded random examples of each class, in the order of the data.

    A class draws from (seed, class) alone, so a smaller choice is contained in a larger one of the same seed.

    Raises:
        ValueError: if `count` is not positive or a class has fewer examples.
    """
    if count < 1:
        raise ValueError(f"images_per_class must be at least 1, or None for all. Received: {count}")
    chosen = []
    for label, name in enumerate(class_names):
        candidates = np.flatnonzero(labels == label)
        if len(candidates) < count:
            most = f"Ask for at most {len(candidates)}, or None for all images."
            mend = most if len(candidates) else "Load all classes."
            raise ValueError(f"images_per_class={count}, but class {name!r} has only {len(candidates)} images. {mend}")
        order = np.argsort(np.random.default_rng([seed, label]).random(len(candidates)), kind="stable")
        chosen.append(candidates[order[:count]])
    return np.sort(np.concatenate(chosen))


def make_plain(data) -> None:
    """Brings names and normalization of an image set to tuples of str and float, as its file will give them back.

    Raises:
        ValueError: one of them is something else.
    """
    if isinstance(data.class_names, str):
        raise ValueError(f"class_names must be a sequence of names. Received: {data.class_names!r}")
    try:
        plain: dict[str, tuple] = {"class_names": tuple(map(str, data.class_names))}
        plain |= {name: tuple(map(float, getattr(data, name))) for name in ("mean", "std")}
    except TypeError as error:
        raise ValueError(
            f"class_names, mean and std must be sequences, of names and numbers. Received: "
            f"class_names={data.class_names!r}, mean={data.mean!r}, std={data.std!r}"
        ) from error
    for name, value in plain.items():
        object.__setattr__(data, name, value)
    for name in ("source", "method", "command"):
        if not isinstance(getattr(data, name, ""), str):
            raise ValueError(f"{name} must be text. Received: {getattr(data, name)!r}")


def plain_labels(labels: Any) -> Any:
    """Whole numbers of any type, also in a list or as (n, 1), as int64 (n,); anything else as it is."""
    made = np.asarray(labels) if isinstance(labels, (list, tuple)) else labels
    if not isinstance(made, np.ndarray) or made.dtype.kind not in "iu":
        return labels
    return (made[:, 0] if made.ndim == 2 and made.shape[1] == 1 else made).astype(np.int64)


def check_labels(labels: np.ndarray, count: int, class_names: tuple[str, ...]) -> None:
    """Raises ValueError unless `labels` is int64 of shape (count,) and holds positions in `class_names`."""
    if not isinstance(labels, np.ndarray):
        raise ValueError(f"labels must be a NumPy array. Received: {type(labels).__name__}")
    if labels.dtype != np.int64 or labels.shape != (count,):
        raise ValueError(
            f"labels must be int64 of shape ({count},), one per image. Received: {labels.dtype} of shape {labels.shape}"
        )
    if not class_names or len(set(class_names)) != len(class_names):
        raise ValueError(f"class_names must be given and distinct. Received: {class_names}")
    if count and (labels.min() < 0 or labels.max() >= len(class_names)):
        raise ValueError(
            f"labels must lie in 0..{len(class_names) - 1}, for {len(class_names)} classes. "
            f"Received: {labels.min()}..{labels.max()}"
        )


def check_normalization(mean: tuple[float, ...], std: tuple[float, ...], channels: int) -> None:
    """Raises ValueError unless mean and std have one finite number per channel, std positive."""
    if len(mean) != channels or len(std) != channels:
        raise ValueError(f"mean and std need one number per channel ({channels}). Received: mean={mean}, std={std}")
    if not np.isfinite([*mean, *std]).all() or min(std) <= 0:
        raise ValueError(f"mean must be finite and std positive. Received: mean={mean}, std={std}")


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Real images that fit in memory, held once as bytes.

    Attributes:
        images: uint8, (n, height, width, channels).
        labels: int64, (n,), positions in `class_names`; whole numbers of other types, lists and (n, 1) become that.
        class_names: one name per class; their order is part of the data.
        source: data set, version and split, such as "cifar10:3.0.2/train".
        mean, std: per channel, of pixels in [0, 1]; a network sees (pixel / 255 - mean) / std.

    Raises:
        ValueError: if a field has another type or shape, or the fields disagree.

    Example:
        >>> import numpy as np
        >>> pixels = np.zeros((2, 8, 8, 1), np.uint8)
        >>> images = ImageSet(pixels, np.array([0, 1]), ("cat", "dog"), "mine:1.0/train", (0.5,), (1.0,))
        >>> len(images), images.input_shape, images.num_classes
        (2, (8, 8, 1), 2)
    """

    images: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]
    source: str
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        make_plain(self)
        if not isinstance(self.images, np.ndarray):
            raise ValueError(f"images must be a NumPy array. Received: {type(self.images).__name__}")
        if self.images.dtype != np.uint8 or self.images.ndim != 4:
            raise ValueError(
                "images must be uint8 of shape (n, height, width, channels). "
                f"Received: {self.images.dtype} of shape {self.images.shape}; ImageSet.from_arrays takes others"
            )
        if not len(self.images):
            raise ValueError(f"an ImageSet needs at least one image. Received: {self.source!r} with none")
        object.__setattr__(self, "labels", plain_labels(self.labels))
        check_labels(self.labels, len(self.images), self.class_names)
        check_normalization(self.mean, self.std, self.images.shape[-1])

    @classmethod
    def from_arrays(
        cls,
        images: Any,
        labels: Any,
        class_names: Sequence[str] | None = None,
        *,
        source: str = "arrays",
        mean: tuple[float, ...] | None = None,
        std: tuple[float, ...] | None = None,
    ) -> "ImageSet":
        """Own arrays, or those of keras.datasets.

        Args:
            images: (n, height, width) or (n, height, width, channels): whole numbers in 0..255, or floats in [0, 1] or
                in 0..255, which are rounded to bytes.
            labels: whole numbers (n,) or (n, 1), one-hot rows (n, classes), or names (n,).
            class_names: in the order of the labels; None: "0", "1", ..., or the names that there are.
            source: what the data are called.
            mean, std: per channel, of pixels in [0, 1]; None: those of `images` (1 for the std of a channel that is
                the same everywhere). Test images need those of the training images.

        Raises:
            ValueError: values that are not finite or out of range, labels with gaps or not from 0 on, soft labels, a
                single class.

        Example:
            >>> import numpy as np
            >>> x, y = np.random.default_rng(0).integers(0, 256, (6, 8, 8)), np.array([[0], [1], [0], [1], [0], [1]])
            >>> train = ImageSet.from_arrays(x, y, ("cat", "dog"))
            >>> test = ImageSet.from_arrays(x / 255, y, ("cat", "dog"), mean=train.mean, std=train.std)
            >>> train.input_shape, bool((test.images == train.images).all())
            ((8, 8, 1), True)
        """
        pixels = arrays.as_bytes(images)
        given = None if class_names is None else tuple(class_names)
        positions, names = arrays.as_labels(labels, given)
        own = arrays.statistics(pixels) if mean is None or std is None else ((), ())
        mean, std = own[0] if mean is None else mean, own[1] if std is None else std
        return cls(pixels, positions, names, source, mean, std)

    def __len__(self) -> int:
        return len(self.images)

    @property
    def num_classes(self) -> int:
        """How many classes there are."""
        return len(self.class_names)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of one image."""
        height, width, channels = self.images.shape[1:]
        return height, width, channels

    def subset(self, images_per_class: int, seed: int) -> "ImageSet":
        """The same data with `images_per_class` seeded random images of each class, in the data's order.

        Raises:
            ValueError: if a class has fewer images.
        """
        chosen = choose_per_class(self.labels, self.class_names, images_per_class, seed)
        images = np.take(self.images, chosen, axis=0, out=aligned_empty((len(chosen), *self.input_shape)))
        source = f"{self.source}, {images_per_class} per class, seed {seed}"
        return replace(self, images=images, labels=self.labels[chosen], source=source)

    def to_float(self, chosen: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Pixels in [0, 1] as float32, not normalized, of all images or of those at `chosen` positions."""
        return self.images[chosen].astype(np.float32) / np.float32(255)
