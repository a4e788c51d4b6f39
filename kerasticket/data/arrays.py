"""Own arrays as images and labels: what keras.datasets, NumPy and lists give, brought to bytes and positions."""

from typing import Any

import numpy as np

from kerasticket.data.classes import in_order, numbered


def as_bytes(images: Any) -> np.ndarray:
    """uint8 (n, height, width, channels) of whole numbers in 0..255, or of floats in [0, 1] or in 0..255.

    Raises:
        ValueError: another shape, values out of these ranges or not finite; says what to do.

    >>> as_bytes([[[0.0, 0.5], [1.0, 0.25]]])[0, ..., 0].tolist()
    [[0, 128], [255, 64]]
    """
    try:
        images = np.asarray(images)
    except ValueError as error:
        raise ValueError(f"images must have one size: resize them. Received: {error}") from error
    images = images[..., None] if images.ndim == 3 else images
    if images.ndim != 4 or not images.size or images.dtype.kind not in "biuf":
        raise ValueError(
            "images must be numbers of shape (n, height, width) or (n, height, width, channels). "
            f"Received: {images.dtype} of shape {images.shape}"
        )
    if images.shape[1] in (1, 3) and images.shape[3] not in (1, 3):
        raise ValueError(
            f"images must have their channels last. Received: shape {images.shape}; pass images.transpose(0, 2, 3, 1)"
        )
    if images.dtype == np.uint8:
        return images
    return _scaled(images, *_range(images))


def _range(images: np.ndarray) -> tuple[float, float]:
    low, high = float(images.min()), float(images.max())
    if not np.isfinite([low, high]).all():
        broken = int(np.flatnonzero(~np.isfinite(images).all(axis=(1, 2, 3)))[0])
        raise ValueError(f"images must be finite. Received: NaN or infinite values, first in image {broken}")
    return low, high


def _scaled(images: np.ndarray, low: float, high: float) -> np.ndarray:
    received = f"Received: {images.dtype} with values {low:.6g}..{high:.6g}"
    floats = images.dtype.kind == "f"
    if low < 0 or high > 255:
        raise ValueError(
            f"images must lie in [0, 1] or in 0..255. {received}; undo a normalization, divide 16 bits by 257"
        )
    if floats and 1.001 < high <= 2:
        raise ValueError(f"images must lie in [0, 1] or in 0..255, and these may be either. {received}; pass uint8")
    if not floats:
        return (images * np.uint8(255) if images.dtype.kind == "b" else images).astype(np.uint8)
    made, factor = np.empty(images.shape, np.uint8), 255 if high <= 1.001 else 1
    for start in range(0, len(images), 4096):  # a copy of all of them in float64 would take eight times the bytes
        rows = images[start : start + 4096].astype(np.float64)
        made[start : start + 4096] = np.round(np.minimum(rows * factor, 255))
    return made


def as_labels(labels: Any, class_names: tuple[str, ...] | None) -> tuple[np.ndarray, tuple[str, ...]]:
    """int64 positions (n,), and the names of the classes, of whole numbers (n,) or (n, 1), one-hot rows, or names.

    Raises:
        ValueError: soft labels, or numbers with gaps or not from 0 on, where the classes have no names; one class.
    """
    labels = _flat(np.asarray(labels))
    if labels.dtype.kind in "US":
        texts = [each.decode() if isinstance(each, bytes) else str(each) for each in labels.tolist()]
        class_names = class_names or in_order(texts)
        unknown = sorted(set(texts) - set(class_names))
        if unknown:
            raise ValueError(f"labels must be among class_names {class_names[:12]}. Received: {unknown[:5]}")
        labels = np.array([class_names.index(text) for text in texts])
    if labels.dtype.kind not in "biu" and not (labels.dtype.kind == "f" and np.array_equal(labels, np.trunc(labels))):
        raise ValueError(f"labels must be whole numbers or names. Received: {labels.dtype}, such as {labels[:5]}")
    labels = labels.astype(np.int64)
    if class_names is None:
        class_names = numbered(_count(labels))
    if len(class_names) < 2:
        raise ValueError(f"labels must be of at least two classes. Received: {class_names}")
    return labels, tuple(class_names)


def _flat(labels: np.ndarray) -> np.ndarray:
    """(n,) of (n,), (n, 1) or one-hot rows."""
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim == 2 and labels.dtype.kind in "biuf" and labels.size:
        if not (np.isin(labels, (0, 1)).all() and (labels.sum(axis=1) == 1).all()):
            raise ValueError(
                f"labels of shape {labels.shape} must be one-hot rows: a single 1, else 0. Received: {labels[0]}; real "
                "images have one class each (take labels.argmax(axis=1)), soft labels belong to a DistilledSet"
            )
        return labels.argmax(axis=1)
    if labels.ndim != 1 or not labels.size:
        raise ValueError(f"labels must be of shape (n,), (n, 1) or (n, classes). Received: shape {labels.shape}")
    return labels


def _count(labels: np.ndarray) -> int:
    """How many classes there are, if they are 0, 1, 2, ..."""
    present = np.unique(labels)
    if np.array_equal(present, np.arange(len(present))):
        return len(present)
    raise ValueError(
        f"labels must be 0, 1, 2, ... without gaps. Received: {present[:12].tolist()}{'...' * (len(present) > 12)}; "
        "pass np.unique(labels, return_inverse=True)[1] to number those that there are, or class_names= with a name "
        "for each number from 0 on"
    )


def statistics(images: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and std of each channel, pixels in [0, 1]; the std of a channel of one value is given as 1."""
    values = np.arange(256) / 255
    counts = [np.bincount(images[..., channel].ravel(), minlength=256) for channel in range(images.shape[-1])]
    means = [float(count @ values / count.sum()) for count in counts]
    spreads = [
        float(np.sqrt(count @ (values - mean) ** 2 / count.sum())) for count, mean in zip(counts, means, strict=True)
    ]
    return tuple(means), tuple(spread if spread > 1e-9 else 1.0 for spread in spreads)
