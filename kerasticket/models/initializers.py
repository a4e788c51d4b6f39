"""Initial weights drawn by NumPy: with a seed, the same on every rebuild and on every backend."""

import math
import random
import zlib
from typing import Any

import keras
import numpy as np
from keras import ops


@keras.saving.register_keras_serializable(package="kerasticket")
class SeededInitializer(keras.initializers.Initializer):
    """Uniform or normal draws that are a pure function of (seed, key), on every backend.

    Keras' own initializers give other numbers on each backend, and take a bias' fan from its own shape, which
    is not the layer's fan-in: here the spread is given outright.

    Args:
        distribution: "uniform" draws from U(-spread, spread), "normal" from N(0, spread^2), not truncated.
        spread: the half-width or the standard deviation.
        seed: non-negative integer, or None for new draws, which `keras.utils.set_random_seed` governs.
        key: what tells this weight from the others of a model, such as "conv_1/kernel".

    Raises:
        ValueError: an unknown distribution, a spread that is not positive, or a negative seed.

    Example:

    >>> tuple(SeededInitializer("uniform", 0.5, seed=0, key="conv/bias")((2,)).shape)
    (2,)
    """

    def __init__(self, distribution: str, spread: float, seed: int | None = None, key: str = "") -> None:
        if distribution not in ("uniform", "normal"):
            raise ValueError(f"Expected distribution 'uniform' or 'normal'. Received: distribution={distribution!r}")
        if not spread > 0:
            raise ValueError(f"Expected spread > 0. Received: spread={spread}")
        if seed is not None and seed < 0:
            raise ValueError(f"Expected a seed >= 0, or None for new draws. Received: seed={seed}")
        self.distribution = distribution
        self.spread = spread
        self.seed = seed
        self.key = key

    def __call__(self, shape: tuple[int, ...], dtype: str | None = None):
        seed = random.getrandbits(32) if self.seed is None else self.seed
        rng = np.random.default_rng([seed, zlib.crc32(self.key.encode())])
        if self.distribution == "uniform":
            values = rng.uniform(-self.spread, self.spread, shape)
        else:
            values = rng.normal(0.0, self.spread, shape)
        return ops.convert_to_tensor(values, dtype=dtype or keras.config.floatx())

    def get_config(self) -> dict[str, Any]:
        return {"distribution": self.distribution, "spread": self.spread, "seed": self.seed, "key": self.key}


def torch_default(fan_in: int, seed: int | None, name: str) -> dict[str, SeededInitializer]:
    """Kernel and bias initializers U(+-1/sqrt(fan_in)): what torch gives its Linear and Conv layers."""
    return {
        f"{weight}_initializer": SeededInitializer("uniform", 1 / math.sqrt(fan_in), seed, f"{name}/{weight}")
        for weight in ("kernel", "bias")
    }


def he_fan_out(fan_out: int, seed: int | None, name: str) -> SeededInitializer:
    """Kernel initializer N(0, 2 / fan_out) (He et al. 2015, section 2.2, backward case)."""
    return SeededInitializer("normal", math.sqrt(2 / fan_out), seed, f"{name}/kernel")


def glorot_normal(fan_in: int, fan_out: int, seed: int | None, name: str) -> SeededInitializer:
    """Kernel initializer N(0, 2 / (fan_in + fan_out)) (Glorot & Bengio 2010, equation 12), not truncated."""
    return SeededInitializer("normal", math.sqrt(2 / (fan_in + fan_out)), seed, f"{name}/kernel")
