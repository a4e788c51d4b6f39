"""Resizing along one axis as a small matrix, so that a resize is two matrix products and has a gradient."""

import numpy as np

from kerasticket.checks import choose


def bilinear(target: int, source: int) -> np.ndarray:
    """(target, source) float32 weights of bilinear interpolation with half-pixel centers and no antialiasing.

    Equal to torch's `interpolate(mode="bilinear", align_corners=False)` along one axis.
    """
    centers = np.clip((np.arange(target) + 0.5) * source / target - 0.5, 0, source - 1)
    return np.maximum(0, 1 - np.abs(centers[:, None] - np.arange(source))).astype(np.float32)


def nearest(target: int, source: int) -> np.ndarray:
    """(target, source) float32 selection of pixel floor(i * source / target), as torch's mode "nearest"."""
    return np.eye(source, dtype=np.float32)[np.arange(target) * source // target]


def area(target: int, source: int) -> np.ndarray:
    """(target, source) float32 weights of the mean over the source interval that a target pixel covers."""
    left = np.arange(target)[:, None] * source / target
    right = left + source / target
    pixel = np.arange(source)
    covered = np.clip(np.minimum(right, pixel + 1) - np.maximum(left, pixel), 0, None)
    return (covered * target / source).astype(np.float32)


RESIZE = {"bilinear": bilinear, "nearest": nearest, "area": area}


def resize(xp, images, height: int, width: int, method: str = "bilinear"):
    """Images (n, h, w, c) resized to (n, height, width, c) in the array namespace `xp`.

    Args:
        xp: `numpy`, `keras.ops` or another namespace with `einsum`.
        images: floating point, (n, h, w, c).
        height, width: of the result.
        method: a name of `RESIZE`.

    Example:
        >>> resize(np, np.ones((1, 8, 8, 3), np.float32), 16, 16).shape
        (1, 16, 16, 3)
    """
    from keras.backend import standardize_dtype  # late: importing the data room stays light

    axis = choose(method, RESIZE, "method")
    dtype = standardize_dtype(images.dtype)
    rows = axis(height, images.shape[1]).astype(dtype)
    columns = axis(width, images.shape[2]).astype(dtype)
    return xp.einsum("vw,nhwc->nhvc", columns, xp.einsum("uh,nhwc->nuwc", rows, images))
