"""Images that tell which they are, and what a pipeline gives of them."""

import numpy as np

from kerasticket.data import (
    ImageSet,
)
from kerasticket.data.images import aligned_empty


def numbered(count: int) -> ImageSet:
    """Images that say which one they are."""
    images = aligned_empty((count, 4, 4, 3))
    images[...] = np.arange(count, dtype=np.uint8)[:, None, None, None]
    labels = np.arange(count) % 3
    return ImageSet(images, labels, ("a", "b", "c"), "numbered:1.0/train", (0.0,) * 3, (1 / 255,) * 3)


def stream(batches) -> list[tuple[np.ndarray, np.ndarray]]:
    return list(batches.as_numpy_iterator())
