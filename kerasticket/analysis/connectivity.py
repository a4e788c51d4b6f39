"""Linear mode connectivity: loss and accuracy on straight lines between two nets."""

import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import keras
import numpy as np

from kerasticket.analysis.objective import Evaluation, Objective
from kerasticket.analysis.results import Curve
from kerasticket.analysis.statistics import has_statistics, reestimated
from kerasticket.checks import check_choice
from kerasticket.params import Params, interpolate, is_kernel

STATISTICS = ("interpolate", "reestimate")


def linear_path(
    model: keras.Model,
    a: Params,
    b: Params,
    data: Any,
    *,
    alphas: int | Sequence[float] = 30,
    statistics: str = "interpolate",
    batch_size: int = 256,
) -> Curve:
    """Loss and accuracy at (1 - alpha) a + alpha b (Frankle et al. 2020, arXiv 1912.05671, section 2).

    All weights and the moving statistics are interpolated, as the code of McDermott & Parhi (arXiv 2503.17905)
    does. With `statistics="reestimate"` the moving statistics are computed anew at each point, over the same data
    (Jordan et al. 2023, arXiv 2211.08403, section 3): the batches then are training batches.

    Pruned weights are those that are zero in `a` and in `b`; the masks of the model play no part.

    Args:
        model: built and compiled; it is left as it is.
        a, b: `kerasticket.get_params` of the two ends; alpha = 0 is `a`.
        data: a pair (inputs, targets) of arrays, a finite tf.data pipeline, an image set, or an `Objective`.
        alphas: how many, evenly spaced, or the alphas themselves in [0, 1], with both ends; .5 is always added.
        statistics: "interpolate" or "reestimate", for networks with moving statistics.
        batch_size: examples per batch.

    Raises:
        ValueError: as `Objective`; params of another model or not finite; alphas outside [0, 1] or without ends.

    Warns:
        UserWarning: a and b have not the same zeros, so their masks differ.

    Example:

    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, name="out")])
    >>> model.compile(loss=keras.losses.CategoricalCrossentropy(from_logits=True))
    >>> unit, bias = np.eye(2, dtype="float32"), np.zeros(2, "float32")
    >>> a, b = ({"out/kernel": sign * unit, "out/bias": bias} for sign in (1, -1))
    >>> [round(float(loss), 4) for loss in linear_path(model, a, b, (unit, unit), alphas=3).loss]
    [0.3133, 0.6931, 1.3133]
    """
    points = grid(alphas)
    objective = data if isinstance(data, Objective) else Objective(model, data, batch_size=batch_size)
    check_statistics(statistics)
    for name, params in (("a", a), ("b", b)):
        objective.check(params, name)
    overlap = zeros_overlap(a, b)
    if overlap < 1:
        warnings.warn(f"The ends have different masks: they share {overlap:.1%} of the weights that either keeps.",
                      UserWarning, stacklevel=2)  # fmt: skip
    evaluations = [evaluate(objective, interpolate(a, b, alpha), statistics) for alpha in points]
    return curve(objective, points, evaluations, statistics, overlap)


def evaluate(objective: Objective, params: Params, statistics: str) -> Evaluation:
    """The objective at params whose moving statistics are taken as they are or computed anew."""
    return objective(reestimated(objective, params) if statistics == "reestimate" else params)


def curve(
    objective: Objective, alphas: Iterable[float], evaluations: Iterable[Evaluation], statistics: str, overlap: float
) -> Curve:
    """The record of evaluations along a path."""
    losses, accuracies = zip(*evaluations, strict=True)
    named = statistics if has_statistics(objective.model) else "none"
    return Curve(np.array(list(alphas)), np.array(losses), np.array(accuracies), named, overlap)


def grid(alphas: int | Sequence[float]) -> list[float]:
    """The alphas in increasing order, .5 among them.

    >>> grid(2), grid([0, 0.1, 1])
    ([0.0, 0.5, 1.0], [0.0, 0.1, 0.5, 1.0])
    """
    if isinstance(alphas, (int, np.integer)):
        given = np.linspace(0, 1, int(alphas)).tolist() if alphas >= 2 else []
    else:
        given = [float(alpha) for alpha in alphas]
    # What is .5 but for rounding is .5.
    points = sorted({0.5 if abs(alpha - 0.5) < 1e-9 else alpha for alpha in given} | {0.5})
    if points[0] != 0 or points[-1] != 1:
        raise ValueError(
            f"Expected a number of alphas from 2 on, or alphas in [0, 1] with 0 and 1. Received: {alphas}."
        )
    return points


def check_statistics(statistics: str) -> None:
    """Raises ValueError for an unknown way to treat moving statistics."""
    check_choice(statistics, STATISTICS, "statistics")


def zeros_overlap(a: Params, b: Params) -> float:
    """Weights that are not zero in both, as a share of those that are not zero in either; over kernels.

    >>> zeros_overlap({"kernel": np.array([[1.0, 0.0]])}, {"kernel": np.array([[2.0, 3.0]])})
    0.5
    """
    kernels = [path for path in a if is_kernel(path, a[path])]
    both = sum(np.count_nonzero((a[path] != 0) & (b[path] != 0)) for path in kernels)
    either = sum(np.count_nonzero((a[path] != 0) | (b[path] != 0)) for path in kernels)
    return float(both / either) if either else 1.0
