"""The two controls that every distilled set is measured against: real images, and IDC's starting values."""

from dataclasses import replace

import numpy as np

from kerasticket.data.distilled import DistilledSet
from kerasticket.data.images import ImageSet, choose_per_class
from kerasticket.data.multi_formation import cell_size, tile_cells


def random_real(image_set: ImageSet, images_per_class: int, seed: int = 0) -> DistilledSet:
    """`images_per_class` random real images of each class, class-major, as if they were a distilled set.

    Raises:
        ValueError: if a class has fewer images.

    Example:
        >>> from kerasticket.data.sources.real import load
        >>> random_real(load("digits"), 1).images.shape
        (10, 16, 16, 1)
    """
    chosen = chosen_real(image_set, _class_major(image_set, images_per_class, seed))
    return replace(chosen, method="random_real", seeds={"images": seed})


def chosen_real(image_set: ImageSet, positions: np.ndarray) -> DistilledSet:
    """The real images at `positions`, class-major if these are, as if they were a distilled set."""
    return _as_set(image_set, image_set.to_float(positions), image_set.labels[positions], "chosen_real")


def mix(
    image_set: ImageSet,
    images_per_class: int,
    factor: int,
    seed: int | None = None,
    *,
    method: str = "nearest",
) -> DistilledSet:
    """IDC's 'mix' initialization, which is IDC after zero iterations (Kim et al. 2022).

    Each stored image is tiled with factor x factor real images, shrunk. Of a class's images, the first
    `images_per_class` fill the top left cells of the stored images, the next the cell beside it, and so on.

    Args:
        image_set: the real images.
        images_per_class: *stored* images per class; needs factor^2 times as many real ones.
        factor: cells per side.
        seed: of a random choice; None: the first images of each class, as IDC.
        method: how to shrink, "nearest" as IDC, or "area" or "bilinear". For digits at 16 x 16, "area" with
            factor 2 comes closest to the native 8 x 8 pixels.

    Raises:
        ValueError: if a class has too few images, or the factor does not suit the image size.
    """
    cell_size(image_set.input_shape[0], factor)
    chosen = _class_major(image_set, images_per_class * factor**2, seed)
    by_class = chosen.reshape(image_set.num_classes, -1)
    images = np.concatenate([tile_cells(image_set.to_float(positions), factor, method) for positions in by_class])
    labels = np.repeat(np.arange(image_set.num_classes, dtype=np.int64), images_per_class)
    return _as_set(image_set, images, labels, "mix", factor=factor, settings={"resize": method}, seeds={"images": seed})


def _class_major(image_set: ImageSet, count: int, seed: int | None) -> np.ndarray:
    """Positions of `count` images of each class, class by class; in a class, in the data's order."""
    if not isinstance(image_set, ImageSet):
        raise ValueError(f"Expected images in memory (an ImageSet). Received: {type(image_set).__name__}")
    labels, names = image_set.labels, image_set.class_names
    if seed is not None:
        chosen = choose_per_class(labels, names, count, seed)
        return chosen[np.argsort(labels[chosen], kind="stable")]
    choose_per_class(labels, names, count, 0)  # for its error: a class that has too few
    return np.concatenate([np.flatnonzero(labels == label)[:count] for label in range(len(names))])


def _as_set(image_set: ImageSet, images: np.ndarray, labels: np.ndarray, method: str, **options) -> DistilledSet:
    return DistilledSet(
        images,
        labels,
        image_set.class_names,
        image_set.source,
        method,
        mean=image_set.mean,
        std=image_set.std,
        **options,
    )
