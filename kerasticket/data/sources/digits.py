"""The 1,797 handwritten digits inside scikit-learn: real images that need no download."""

import numpy as np

from kerasticket.data.augmentation.resize import resize
from kerasticket.data.images import ImageSet

TRAIN_PER_CLASS = 100
SPLIT_SEED = 0
# At 16 x 16 a factor-2 multi-formation cell has the native 8 x 8 pixels.
DEFAULT_SIZE = 16
CLASS_NAMES = tuple("0123456789")


def load_digits(split: str, image_size: int | None) -> ImageSet:
    """The digits, resized from 8x8 (bilinear, half-pixel centers), as bytes.

    The split is ours, fixed and stratified: "train" has 100 images of each class (1,000), "test" the other
    797; no image is in both, each is in the order of scikit-learn. A native pixel is v in 0..16 and becomes
    the byte round(v * 255 / 16), half to even; v after a resize to 16 is an exact multiple of 1/16.

    Args:
        split: "train" or "test".
        image_size: height and width; None: 16.
    """
    from sklearn import datasets  # late: importing it takes a second

    digits = datasets.load_digits()
    chosen = split_positions(digits.target)[split]
    size = image_size or DEFAULT_SIZE
    native = digits.images[chosen, :, :, None].astype(np.float64)
    images = np.round(resize(np, native, size, size) * 255 / 16).astype(np.uint8)
    labels = digits.target[chosen].astype(np.int64)
    return ImageSet(images, labels, CLASS_NAMES, f"digits:1.0.0/{split}", MEAN, STD)


def split_positions(labels: np.ndarray) -> dict[str, np.ndarray]:
    """Ascending positions of the "train" and "test" images among scikit-learn's 1,797."""
    draws = np.random.default_rng(SPLIT_SEED).random(len(labels))
    by_class = [np.flatnonzero(labels == label) for label in range(len(CLASS_NAMES))]
    train = np.sort(np.concatenate([where[np.argsort(draws[where])[:TRAIN_PER_CLASS]] for where in by_class]))
    return {"train": train, "test": np.setdiff1d(np.arange(len(labels)), train)}


# Measured on the train split at 16 x 16, pixels in [0, 1].
MEAN, STD = (0.3051,), (0.3186,)
