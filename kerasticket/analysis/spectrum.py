"""Eigenvalues of the Hessian on surviving weights: the outermost ones, and the density of all."""

import dataclasses
import math
import numbers
from typing import Any

import keras
import numpy as np
from scipy.linalg import eigh_tridiagonal
from scipy.sparse.linalg import LinearOperator, eigsh

from kerasticket.analysis.curvature import Curvature, signs
from kerasticket.checks import check_choice
from kerasticket.params import Params

# As scipy calls them.
ENDS = {"largest": "LA", "smallest": "SA", "magnitude": "LM"}
MEMORY = 2**29  # bytes for the vectors of one probe; beyond that the iteration keeps three of them
SMALL = 1e-10  # of the largest entry: Lanczos has found all that its probe can see
POINTS, MOST_POINTS = 1000, 20_000  # of the grid


@dataclasses.dataclass(frozen=True)
class Eigenpairs:
    """Eigenvalues and eigenvectors of a Hessian.

    Attributes:
        values: (k,), the first asked for first: largest, smallest, or largest in magnitude.
        vectors: for each, arrays by path, 0 where pruned; of length 1 over all paths.
        residuals: (k,) lengths of H v - value v. An eigenvalue of H lies within that distance of the value.
    """

    values: np.ndarray
    vectors: list[Params]
    residuals: np.ndarray


@dataclasses.dataclass(frozen=True)
class Density:
    """How the eigenvalues of a Hessian are spread.

    Attributes:
        grid: (points,) eigenvalues, evenly spaced.
        density: (points,) share of the eigenvalues per unit of the grid; its integral is 1.
        standard_error: (points,) of the density, from its spread over the probes.
        nodes, weights: (probes, steps) of the quadrature: sum of weights * f(nodes) over a row estimates the mean of
            f over the eigenvalues.
        width: standard deviation of the Gaussian that each node is smoothed with.
    """

    grid: np.ndarray
    density: np.ndarray
    standard_error: np.ndarray
    nodes: np.ndarray
    weights: np.ndarray
    width: float


def top_eigenvalues(
    model: keras.Model,
    data: Any,
    k: int = 1,
    *,
    which: str = "largest",
    batches: int = 1,
    tolerance: float = 1e-4,
    seed: int = 0,
) -> Eigenpairs:
    """The k outermost eigenvalues of the Hessian over the surviving weights, by Lanczos (scipy's ARPACK).

    Args:
        model, data, batches: as in `hessian_diagonal`.
        k: how many, fewer than there are surviving weights.
        which: "largest", "smallest" (the most negative), or "magnitude".
        tolerance: relative accuracy at which the iteration stops; float32 allows 1e-4 or so.
        seed: of the vector that it begins with.

    Raises:
        ValueError: k or `which` out of range, and what `Curvature` raises about model and data.
        scipy.sparse.linalg.ArpackNoConvergence: the tolerance is below what the model's dtype allows.

    Example:

    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, use_bias=False, name="out")])
    >>> model.compile(loss="mse")
    >>> top = top_eigenvalues(model, (np.array([[1.0, 2.0]]), np.zeros((1, 1))))
    >>> [round(value, 4) for value in top.values.tolist()]
    [10.0]
    """
    check_choice(which, ENDS, "which")
    curvature = Curvature(model, data, batches)
    if not isinstance(k, numbers.Integral) or not 1 <= k < curvature.size:
        raise ValueError(
            f"Expected 1 to {curvature.size - 1} eigenvalues of {curvature.size} weights. Received: k={k!r}."
        )
    operator = LinearOperator((curvature.size,) * 2, curvature.product, dtype=float)
    start = np.random.default_rng(seed).normal(size=curvature.size)
    values, vectors = eigsh(operator, k, which=ENDS[which], tol=tolerance, v0=start)
    order = np.argsort({"largest": -values, "smallest": values, "magnitude": -np.abs(values)}[which])
    values, vectors = values[order], vectors[:, order]
    residuals = [np.linalg.norm(curvature.product(v) - value * v) for value, v in zip(values, vectors.T, strict=True)]
    return Eigenpairs(values, [curvature.split(vector) for vector in vectors.T], np.array(residuals))


def spectral_density(
    model: keras.Model,
    data: Any,
    *,
    steps: int = 80,
    probes: int = 10,
    width: float | None = None,
    batches: int = 1,
    seed: int = 0,
) -> Density:
    """Density of the eigenvalues of the Hessian over the surviving weights, by stochastic Lanczos quadrature.

    From each random sign vector, `steps` of Lanczos with full re-orthogonalization give nodes and weights of a Gauss
    quadrature (Golub & Welsch 1969; Ghorbani, Krishnan & Xiao 2019, arXiv 1901.10159, section 2), which are smoothed
    with a Gaussian and averaged over the probes. Moments of the smoothed density are wider than the spectrum's: the
    second one by `width`^2. Two moments per step are exact for each probe.

    Memory is a few vectors of the size of the weights: where those of all steps would take over `MEMORY` bytes (0.8
    million weights at 80 steps), the iteration goes on without re-orthogonalization. Rounding then finds outer
    eigenvalues again as copies, which share the weight of the one, so that the density stays what it is (Greenbaum
    1989, Linear Algebra Appl. 113; Chen, Trogdon & Ubaru 2021, arXiv 2105.06595).

    Args:
        model, data, batches, seed: as in `hessian_diagonal`.
        steps: of Lanczos, each one Hessian-vector product; no more than surviving weights are taken.
        probes: random vectors, at least 2.
        width: of the Gaussian; None: 1% of the distance between the outermost nodes.

    Raises:
        ValueError: steps, probes or width out of range, and what `Curvature` raises about model and data.

    Example:

    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, use_bias=False, name="out")])
    >>> model.compile(loss="mse")
    >>> density = spectral_density(model, (np.array([[1.0, 2.0]]), np.zeros((1, 1))), probes=4)
    >>> np.abs(density.nodes - [0, 10]).max() < 1e-3  # the two eigenvalues, from any probe
    np.True_
    """
    for name, value, least in (("steps", steps, 1), ("probes", probes, 2)):
        if not isinstance(value, numbers.Integral) or value < least:
            raise ValueError(f"Expected {name} from {least} on. Received: {name}={value!r}.")
    if width is not None and not width > 0:
        raise ValueError(f"Expected a width above 0, or None. Received: width={width!r}.")
    curvature, rng = Curvature(model, data, batches), np.random.default_rng(seed)
    steps = min(steps, curvature.size)
    pairs = [_quadrature(curvature, signs(rng, curvature.size), steps) for _ in range(probes)]
    nodes, weights = (np.array(part) for part in zip(*pairs, strict=True))
    return _smoothed(nodes, weights, width)


def _quadrature(curvature: Curvature, start: np.ndarray, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights (steps,) of one probe; weights are 0 behind an early end of the iteration."""
    keeps_all = steps * start.nbytes <= MEMORY
    basis = [start / np.linalg.norm(start)]
    diagonal, beside = [], []
    for step in range(steps):
        w = curvature.product(basis[-1])
        diagonal.append(basis[-1] @ w)
        _orthogonalize(w, basis)
        length = np.linalg.norm(w)
        if step + 1 == steps or length <= SMALL * max(map(abs, diagonal)):
            break
        beside.append(length)
        w /= length
        basis = [*(basis if keeps_all else basis[-1:]), w]
    values, vectors = eigh_tridiagonal(np.array(diagonal), np.array(beside))
    missing = steps - len(values)
    return np.pad(values, (0, missing), "edge"), np.pad(vectors[0] ** 2, (0, missing))


def _orthogonalize(vector: np.ndarray, basis: list[np.ndarray]) -> None:
    """Takes out of a vector, in place, what lies along the basis."""
    for _ in range(2):  # once is not enough to keep them orthogonal
        for other in reversed(basis):
            vector -= (other @ vector) * other


def _smoothed(nodes: np.ndarray, weights: np.ndarray, width: float | None) -> Density:
    low, high = nodes.min(), nodes.max()
    width = width or (high - low) / 100 or 1e-3 * max(abs(high), 1e-3)
    points = math.ceil(4 * (high - low + 10 * width) / width)  # so that the sum over the grid is an integral
    if points > MOST_POINTS:
        raise ValueError(
            f"Expected a width of at least {4 * (high - low) / MOST_POINTS:.2g}, a fraction of the spectrum's range. "
            f"Received: width={width:g}."
        )
    grid = np.linspace(low - 5 * width, high + 5 * width, max(POINTS, points))
    bells = np.exp(-(((grid - nodes[..., None]) / width) ** 2) / 2) / (width * np.sqrt(2 * np.pi))
    rows = (weights[..., None] * bells).sum(axis=1)
    error = rows.std(axis=0, ddof=1) / np.sqrt(len(rows))
    return Density(grid, rows.mean(axis=0), error, nodes, weights, float(width))
