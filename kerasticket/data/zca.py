"""ZCA whitening of images, as MTT and others distill in it: fitted to real images, never shipped."""

import dataclasses
from typing import Any

import numpy as np

from kerasticket.data.distilled import DistilledSet
from kerasticket.data.images import ImageSet

EPSILON = 0.1  # MTT's; kornia's own default is 1e-6
MOST_VALUES = 12_288
_ROWS = 5000  # images at a time


@dataclasses.dataclass(frozen=True, eq=False)
class ZCA:
    """z = (x - mean) U (S + epsilon)^-1/2 U', with x the pixels in [0, 1] and U S U' their covariance.

    It equals kornia's `ZCAWhitening(eps=epsilon)`, which MTT (Cazenavette et al. 2022) uses. Pixels are taken
    in the order (height, width, channel); another order would permute the rows of z and change nothing.

    Attributes:
        mean: (pixels,).
        basis: U, (pixels, pixels).
        scale: (S + epsilon)^-1/2, (pixels,).
        epsilon: added to the eigenvalues S of the unbiased covariance.
        source: the images that it was fitted to.
    """

    mean: np.ndarray
    basis: np.ndarray
    scale: np.ndarray
    epsilon: float
    source: str

    @classmethod
    def fit(cls, real: ImageSet, epsilon: float = EPSILON) -> "ZCA":
        """Fits to all images: for CIFAR-10 (3,072 pixels) half a minute on two cores.

        Raises:
            ValueError: other than images in memory, fewer than two of them, more than `MOST_VALUES` values in each, or
                epsilon <= 0.

        Example:
            >>> from kerasticket.data.sources.real import load
            >>> digits = load("digits", images_per_class=20)
            >>> whitened = ZCA.fit(digits).whiten(digits)
            >>> whitened.space, whitened.images.shape
            ('zca', (200, 16, 16, 1))
        """
        if not isinstance(real, ImageSet):
            raise ValueError(f"ZCA needs real images in memory (an ImageSet). Received: {type(real).__name__}")
        if epsilon <= 0 or len(real) < 2:
            raise ValueError(f"Expected epsilon > 0 and images to fit to. Received: {epsilon=}, {len(real)} images")
        pixels = int(np.prod(real.input_shape))
        if pixels > MOST_VALUES:
            raise ValueError(
                f"ZCA of images of {pixels:,} values would take {20 * pixels**2 / 2**30:.0f} GiB: it is meant for at "
                f"most {MOST_VALUES:,}, 64 x 64 x 3. Load smaller images (image_size=), or take space='normalized'."
            )
        sums, products = np.zeros(pixels), np.zeros((pixels, pixels))
        pivot = _pixels(real, 0, _ROWS).mean(axis=0)  # keeps the digits of the sums of products
        for start in range(0, len(real), _ROWS):
            rows = _pixels(real, start, _ROWS) - pivot
            sums += rows.sum(axis=0, dtype=np.float64)
            products += rows.T @ rows
        mean = sums / len(real)
        covariance = (products - len(real) * np.outer(mean, mean)) / (len(real) - 1)
        values, basis = np.linalg.eigh(covariance.astype(np.float32))
        scale = (np.maximum(values, 0) + epsilon) ** -0.5
        return cls((pivot + mean).astype(np.float32), basis, scale.astype(np.float32), epsilon, real.source)

    @property
    def described(self) -> dict[str, Any]:
        """What a `DistilledSet` says of it."""
        return {"epsilon": self.epsilon, "source": self.source}

    def whiten(self, real: ImageSet) -> DistilledSet:
        """The images in ZCA space, for training and testing beside distilled images of that space."""
        images = np.empty((len(real), *real.input_shape), np.float32)
        for start in range(0, len(real), _ROWS):
            rows = _pixels(real, start, _ROWS)
            images[start : start + len(rows)] = self.whitened(rows).reshape(-1, *real.input_shape)
        return DistilledSet(
            images,
            real.labels,
            real.class_names,
            real.source,
            "real",
            space="zca",
            zca=self.described,
        )

    def whitened(self, pixels: np.ndarray) -> np.ndarray:
        """Pixels in [0, 1], (n, ...), in ZCA space."""
        flat = self._times(pixels.reshape(len(pixels), -1) - self.mean, self.scale)
        return flat.reshape(pixels.shape)

    def unwhitened(self, images: np.ndarray) -> np.ndarray:
        """Images (n, height, width, channels) of ZCA space as pixels, which need not lie in [0, 1]."""
        flat = self._times(images.reshape(len(images), -1), 1 / self.scale) + self.mean
        return flat.reshape(images.shape)

    def _times(self, rows: np.ndarray, scale: np.ndarray) -> np.ndarray:
        return ((rows @ self.basis) * scale) @ self.basis.T


def _pixels(real: ImageSet, start: int, count: int) -> np.ndarray:
    """Images from `start` on as float32 rows of pixels in [0, 1]."""
    chosen = real.to_float(slice(start, start + count))
    return chosen.reshape(len(chosen), -1)
