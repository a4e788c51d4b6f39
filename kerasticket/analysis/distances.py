"""How far two trained networks lie apart."""

import dataclasses
import math

import numpy as np

from kerasticket.masks import check_alike
from kerasticket.params import Params, is_float, is_kernel

STATISTICS = ("moving_mean", "moving_variance")


@dataclasses.dataclass(frozen=True)
class Distance:
    """Of two vectors of weights.

    Attributes:
        l2: Euclidean length of the difference.
        cosine: of the angle between them, in [-1, 1]; NaN if one is zero.
        norm_a, norm_b: their lengths; two orthogonal ones lie sqrt(norm_a^2 + norm_b^2) apart.
    """

    l2: float
    cosine: float
    norm_a: float
    norm_b: float


@dataclasses.dataclass(frozen=True)
class Distances:
    """Distance over the kernels, and over all trainable weights."""

    kernels: Distance
    trainables: Distance


def distance(a: Params, b: Params) -> Distances:
    """L2 distance and cosine of two networks' weights, in double precision.

    As Params do not say what is trained, trainables are all floating arrays but the moving statistics of
    normalization layers, frozen ones too; kernels are those of them with two axes or more.

    Raises:
        ValueError: params of different models, or without a kernel.

    >>> apart = distance({"out/kernel": np.array([[3.0, 0.0]])}, {"out/kernel": np.array([[0.0, 4.0]])})
    >>> apart.kernels
    Distance(l2=5.0, cosine=0.0, norm_a=3.0, norm_b=4.0)
    """
    check_alike(a, b, ("a", "b"))
    trainables = [path for path, array in a.items() if _is_trainable(path, array)]
    kernels = [path for path in trainables if is_kernel(path, a[path])]
    if not kernels:
        raise ValueError(f"Expected params with a kernel, a floating array of two axes or more. Received: {list(a)}.")
    return Distances(_distance(a, b, kernels), _distance(a, b, trainables))


def _is_trainable(path: str, array: np.ndarray) -> bool:
    return is_float(array) and path.rpartition("/")[2] not in STATISTICS


def _distance(a: Params, b: Params, paths: list[str]) -> Distance:
    x, y = (np.concatenate([params[path].ravel().astype(float) for path in paths]) for params in (a, b))
    norm_a, norm_b = float(np.linalg.norm(x)), float(np.linalg.norm(y))
    cosine = float(x @ y) / (norm_a * norm_b) if norm_a and norm_b else math.nan
    return Distance(float(np.linalg.norm(x - y)), cosine, norm_a, norm_b)
