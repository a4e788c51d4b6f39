"""Augmentations of image batches: one draw and one application each, over any array namespace.

An application is differentiable and takes `xp`, either `keras.ops` (gradient matching, any backend) or the
TensorFlow namespace (tf.data, any backend). Its random numbers are drawn apart from it, by NumPy or by
TensorFlow, so that two batches can share them. Parameters have one row per image, or a single row for the
whole batch ("Siamese").

Definitions and constants: DSA (Zhao & Bilen 2021, `ParamDiffAug`) and IDC (Kim et al. 2022), see each
function. Unless it says otherwise an operation acts on *normalized* images (n, height, width, channels) and
fills with zeros.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from kerasticket.data.augmentation.sampling import gather, pixels, sample

Uniform = Callable[..., Any]  # shape -> independent draws from [0, 1)

FLIP_PROBABILITY = 0.5
BRIGHTNESS = 1.0
SATURATION = 2.0
CONTRAST = 0.5
SCALE_RATIO = 1.2
ROTATE_DEGREES = 15.0
CROP_PAD = 0.125
CUTOUT_SIDE = 0.5
ASPECT_RATIO = (3 / 4, 4 / 3)
# Principal axes of ImageNet's colors (Krizhevsky et al. 2012), in columns, times their spread.
LIGHTING_AXES = np.array(
    [[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]], np.float32
) * np.array([0.2175, 0.0188, 0.0045], np.float32)
GRAY = np.array([0.299, 0.587, 0.114], np.float32)


def _column(xp, parameters, images, index: int | None = None):
    """Parameters (n,) or column `index` of (n, k), shaped to multiply images, in their type."""
    column = parameters if index is None else parameters[:, index]
    return xp.reshape(xp.cast(column, images.dtype), (-1, 1, 1, 1))


def flip(xp, images, flags):
    """Mirrors left and right where `flags` (n,) is 1."""
    return xp.where(_column(xp, flags, images) > 0.5, xp.flip(images, axis=2), images)


def brightness(xp, images, offsets):
    """Adds `offsets` (n,)."""
    return images + _column(xp, offsets, images)


def saturation(xp, images, factors):
    """Scales the distance from the mean over channels by `factors` (n,); the identity on one channel."""
    channels = images.shape[3]
    mean = sum(images[..., i : i + 1] for i in range(channels)) / channels
    return (images - mean) * _column(xp, factors, images) + mean


def contrast(xp, images, factors):
    """Scales each pixel's distance from the mean of its image by `factors` (n,)."""
    mean = xp.mean(images, axis=(1, 2, 3), keepdims=True)
    return (images - mean) * _column(xp, factors, images) + mean


def crop(xp, images, draws):
    """A padded random crop: moves by whole pixels, up to .125 of the side; `draws` (n, 2) uniform."""
    positions = [_moved(xp, draws[:, axis], images.shape[1 + axis]) for axis in (0, 1)]
    return sample(xp, images, *positions)


def scale(xp, images, factors):
    """Reads at `factors` (n, 2: vertical, horizontal) times the distance from the center: above 1 shrinks."""
    positions = [_scaled(xp, factors[:, axis], images.shape[1 + axis]) for axis in (0, 1)]
    return sample(xp, images, *positions)


def rotate(xp, images, angles):
    """Rotates around the center by `angles` (n,) radians; in pixels (DSA: in sides, equal on squares)."""
    height, width = images.shape[1:3]
    down = xp.reshape(pixels(xp, height), (-1, 1)) - (height - 1) / 2
    right = pixels(xp, width) - (width - 1) / 2
    angles = xp.reshape(xp.cast(angles, "float32"), (-1, 1, 1))
    cosine, sine = xp.cos(angles), xp.sin(angles)
    rows = sine * right + cosine * down + (height - 1) / 2
    columns = cosine * right - sine * down + (width - 1) / 2
    return gather(xp, images, rows, columns)


def cutout(xp, images, centers):
    """Zeroes a box of half the side around `centers` (n, 2: fractions), cut where the image ends."""
    height, width = images.shape[1:3]
    inside = xp.logical_and(
        xp.reshape(_near(xp, centers[:, 0], height), (-1, height, 1, 1)),
        xp.reshape(_near(xp, centers[:, 1], width), (-1, 1, width, 1)),
    )
    return images * xp.cast(xp.logical_not(inside), images.dtype)


def random_resized_crop(xp, images, boxes):
    """Enlarges a box of the image to its full size, bilinearly.

    Args:
        xp: array namespace.
        images: in any value space.
        boxes: (n, 4): area as a fraction, log of width / height in pixels, and uniform draws for the top and the left
            edge. A side longer than the image is cut to it, where torchvision would draw again.
    """
    boxes, (height, width) = xp.cast(boxes, "float32"), images.shape[1:3]
    area, ratio = boxes[:, 0], xp.exp(boxes[:, 1]) * (height / width)
    tall = xp.minimum(xp.sqrt(area / ratio), 1.0)
    wide = xp.minimum(xp.sqrt(area * ratio), 1.0)
    rows = _boxed(xp, tall, boxes[:, 2], images.shape[1])
    columns = _boxed(xp, wide, boxes[:, 3], images.shape[2])
    return sample(xp, images, rows, columns)


def jitter(xp, images, factors):
    """Brightness, saturation and contrast of images in [0, 1] (IDC's ColorJitter), `factors` (n, 3) around 1.

    Brightness multiplies, saturation blends with the pixel's gray, contrast with the image's mean gray; not
    clipped, and always in this order, where IDC shuffles the order per image.
    """
    gray = _gray(xp, images)
    images = images * _column(xp, factors, images, 0)
    gray = _gray(xp, images)
    images = gray + (images - gray) * _column(xp, factors, images, 1)
    mean = xp.mean(_gray(xp, images), axis=(1, 2, 3), keepdims=True)
    return mean + (images - mean) * _column(xp, factors, images, 2)


def lighting(xp, images, amounts):
    """Adds `amounts` (n, 3) times `LIGHTING_AXES` to RGB images in [0, 1] (Krizhevsky et al. 2012, 4.1)."""
    if images.shape[3] != 3:
        raise ValueError(f"lighting needs images of 3 channels (RGB). Received: {images.shape[3]} channels")
    axes = xp.convert_to_tensor(np.ascontiguousarray(LIGHTING_AXES.T))
    shift = xp.matmul(xp.cast(amounts, "float32"), axes)
    return images + xp.reshape(xp.cast(shift, images.dtype), (-1, 1, 1, 3))


def _gray(xp, images):
    weights = GRAY if images.shape[3] == 3 else np.full(images.shape[3], 1 / images.shape[3], np.float32)
    return xp.sum(images * xp.cast(xp.convert_to_tensor(weights), images.dtype), axis=3, keepdims=True)


def _moved(xp, draws, side: int):
    reach = int(side * CROP_PAD + 0.5)
    shift = xp.floor(xp.reshape(xp.cast(draws, "float32"), (-1, 1)) * (2 * reach + 1)) - reach
    return pixels(xp, side) + shift


def _scaled(xp, factors, side: int):
    center = (side - 1) / 2
    return (pixels(xp, side) - center) * xp.reshape(xp.cast(factors, "float32"), (-1, 1)) + center


def _boxed(xp, length, draws, side: int):
    """Where the pixels of an enlarged box of `length` (n,), a fraction of the side, are read."""
    box = xp.reshape(length, (-1, 1)) * side
    start = xp.reshape(draws, (-1, 1)) * (side - box)
    centers = (pixels(xp, side) + 0.5) * (box / side)
    return start + xp.minimum(xp.maximum(centers - 0.5, 0.0), xp.maximum(box - 1, 0.0))


def _near(xp, centers, side: int):
    """(n, side): which pixels lie in a box of `CUTOUT_SIDE` of the side."""
    size = int(side * CUTOUT_SIDE + 0.5)
    first = xp.floor(xp.reshape(xp.cast(centers, "float32"), (-1, 1)) * (side + 1 - size % 2)) - size // 2
    distance = pixels(xp, side) - first
    return xp.logical_and(distance > -0.5, distance < size - 0.5)


def _spread(low: float, high: float, *columns: int) -> Callable:
    """A draw: uniform between two bounds, of shape (count, *columns)."""
    return lambda xp, uniform, count, strength: uniform(count, *columns) * (high - low) + low


def _draw_flip(xp, uniform, count, strength):
    return xp.where(uniform(count) < FLIP_PROBABILITY, 1.0, 0.0)


def _draw_jitter(xp, uniform, count, strength):
    return 1 + strength * (2 * uniform(count, 3) - 1)


def _draw_box(xp, uniform, count, strength):
    low, high = strength
    area = uniform(count) * (high - low) + low
    ratio = uniform(count) * math.log(ASPECT_RATIO[1] / ASPECT_RATIO[0]) + math.log(ASPECT_RATIO[0])
    return xp.stack([area, ratio, uniform(count), uniform(count)], axis=1)


def _draw_normal(xp, uniform, count, strength):
    """Normal draws times `strength` (Box and Muller)."""
    radius = xp.sqrt(-2.0 * xp.log(1.0 - uniform(count, 3)))
    return strength * radius * xp.cos(2 * math.pi * uniform(count, 3))


@dataclass(frozen=True)
class Operation:
    """One augmentation.

    Attributes:
        apply: (xp, images, parameters) -> images.
        draw: (xp, uniform, count, strength) -> parameters, `count` rows; `xp` and `uniform` of one library.
        identity: one row of parameters that changes nothing.
        strength: what an `Augmentation` may set; None: nothing.
        unit_space: whether it acts on images in [0, 1] instead of normalized ones.
    """

    apply: Callable
    draw: Callable
    identity: tuple[float, ...]
    strength: Any = None
    unit_space: bool = False


_ANGLE = math.radians(ROTATE_DEGREES)
AUGMENTATIONS: dict[str, Operation] = {
    "flip": Operation(flip, _draw_flip, (0.0,)),
    "brightness": Operation(brightness, _spread(-BRIGHTNESS / 2, BRIGHTNESS / 2), (0.0,)),
    "saturation": Operation(saturation, _spread(0, SATURATION), (1.0,)),
    "contrast": Operation(contrast, _spread(CONTRAST, CONTRAST + 1), (1.0,)),
    "crop": Operation(crop, _spread(0, 1, 2), (0.5, 0.5)),
    "scale": Operation(scale, _spread(1 / SCALE_RATIO, SCALE_RATIO, 2), (1.0, 1.0)),
    "rotate": Operation(rotate, _spread(-_ANGLE, _ANGLE), (0.0,)),
    "cutout": Operation(cutout, _spread(0, 1, 2), (2.0, 2.0)),
    "random_resized_crop": Operation(random_resized_crop, _draw_box, (1.0, 0.0, 0.5, 0.5), (0.5, 1.0), True),
    "jitter": Operation(jitter, _draw_jitter, (1.0, 1.0, 1.0), 0.4, True),
    "lighting": Operation(lighting, _draw_normal, (0.0, 0.0, 0.0), 0.1, True),
}
