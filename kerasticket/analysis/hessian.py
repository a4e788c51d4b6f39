"""The diagonal of the Hessian on surviving weights: exact, on all or on some of them, or estimated with its error."""

import dataclasses
import numbers
from typing import Any

import keras
import numpy as np

from kerasticket.analysis.curvature import Curvature, signs
from kerasticket.analysis.results import Diagonal, Trace
from kerasticket.analysis.taylor import AlongLines
from kerasticket.checks import check_choice
from kerasticket.masks import Mask


def hessian_diagonal(
    model: keras.Model,
    data: Any,
    *,
    method: str = "exact",
    coordinates: int | Mask | None = None,
    batches: int = 1,
    probes: int = 100,
    seed: int = 0,
) -> Diagonal:
    """Second derivatives of the mean loss at single weights: every trainable one but pruned ones.

    "exact": by second-order Taylor mode, forward from the weight's layer on, where that and all layers behind it have
    rules (`kerasticket.analysis.taylor.rules.RULES`) and no other layer shares the weight; by one compiled
    Hessian-vector product each elsewhere, and on TensorFlow in networks that end in a softmax or sigmoid. Memory does
    not grow with the number of coordinates.

    "hutchinson": the mean of z * (H z) over random signs z (Bekas, Kokiopoulou & Saad 2007), each entry with its
    standard error. Unbiased for the entries and their mean; noise inflates min, max and mean |h|.

    The loss is the compiled one without penalties, the network runs in inference mode. Second derivatives do not see
    the kinks of ReLU and max pooling: they are those of the smooth piece on which the network is.

    McDermott & Parhi (arXiv 2503.17905, section 4.2) report the exact diagonal on one batch of 64 images, pruned
    entries counted as zeros: `Diagonal.statistics(surviving_only=False)`.

    Args:
        model: built and compiled, in float32 or float64; it is left as it is.
        data: a pair (inputs, targets) of arrays, an image set, or a finite tf.data pipeline of such pairs.
        coordinates: None: all surviving ones; a number: so many of them, drawn at random, each set as likely as any
            other; a dict of boolean arrays by path: these. Probes of "hutchinson" lie on the chosen ones only.
        batches: how many batches of a pipeline; arrays and image sets are one batch, whatever their size.
        probes: random vectors of "hutchinson", at least 2.
        seed: of the coordinates that are drawn, and of the probes.

    Raises:
        ValueError: an unknown method; coordinates that are out of range, pruned, or of other paths or shapes; too few
            probes; and what `Curvature` raises about model and data.

    Example:

    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, use_bias=False, name="out")])
    >>> model.compile(loss="mse")
    >>> diagonal = hessian_diagonal(model, (np.array([[1.0, 2.0]]), np.zeros((1, 1))))
    >>> diagonal.values["out/kernel"].ravel().tolist(), diagonal.methods
    ([2.0, 8.0], {'out/kernel': 'taylor'})
    """
    check_choice(method, METHODS, "method")
    if not isinstance(probes, numbers.Integral) or probes < 2:
        raise ValueError(f"Expected at least 2 probes, as one says nothing of its error. Received: probes={probes!r}.")
    curvature = Curvature(model, data, batches)
    chosen = _chosen(curvature, coordinates, seed)
    return METHODS[method](curvature, chosen, probes, seed)


def hessian_trace(
    model: keras.Model,
    data: Any,
    *,
    method: str = "hutchinson",
    coordinates: int | Mask | None = None,
    batches: int = 1,
    probes: int = 100,
    seed: int = 0,
) -> Trace:
    """Trace of the Hessian over the surviving weights, the sum of `hessian_diagonal`, and its standard error.

    Arguments and errors are those of `hessian_diagonal`. With "hutchinson" it is the mean of z' H z (Hutchinson 1989).
    "exact" has an error if only some coordinates were drawn, which stand for all; of a dict of coordinates it is the
    trace of their block.

    Example:

    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, use_bias=False, name="out")])
    >>> model.compile(loss="mse")
    >>> hessian_trace(model, (np.array([[1.0, 2.0]]), np.zeros((1, 1))), method="exact")
    Trace(value=10.0, standard_error=0.0)
    """
    options: dict[str, Any] = {"batches": batches, "probes": probes, "seed": seed}
    diagonal = hessian_diagonal(model, data, method=method, coordinates=coordinates, **options)
    if isinstance(coordinates, dict):  # chosen ones stand for themselves
        number = sum(int(np.count_nonzero(seen)) for seen in diagonal.sampled.values())
        diagonal = dataclasses.replace(diagonal, surviving=number)
    return diagonal.trace


def _chosen(curvature: Curvature, coordinates: int | Mask | None, seed: int) -> Mask:
    if coordinates is None:
        return curvature.surviving
    if isinstance(coordinates, dict):
        return _checked(curvature, coordinates)
    if not isinstance(coordinates, numbers.Integral) or not 1 <= coordinates <= curvature.size:
        raise ValueError(
            f"Expected a number of coordinates from 1 to {curvature.size}, the surviving ones, a dict of boolean "
            f"arrays, or None for all. Received: coordinates={coordinates!r}."
        )
    drawn = np.zeros(curvature.size, bool)
    drawn[np.random.default_rng(seed).choice(curvature.size, coordinates, replace=False)] = True
    return curvature.split(drawn)


def _checked(curvature: Curvature, coordinates: Mask) -> Mask:
    none = {path: np.zeros(kept.shape, bool) for path, kept in curvature.surviving.items()}
    unknown = [path for path in coordinates if path not in none]
    if unknown:
        raise ValueError(f"Expected paths of trainable weights: {list(none)}. Received: coordinates at {unknown}.")
    for path, array in coordinates.items():
        if np.asarray(array).dtype != bool or np.shape(array) != none[path].shape:
            raise ValueError(
                f"Expected a boolean array of shape {none[path].shape} at '{path}'. "
                f"Received: dtype {np.asarray(array).dtype}, shape {np.shape(array)}."
            )
        if (array & ~curvature.surviving[path]).any():
            raise ValueError(
                f"Expected surviving coordinates. Received: pruned ones at '{path}', which have no curvature."
            )
    if not any(np.any(array) for array in coordinates.values()):
        raise ValueError("Expected at least one coordinate. Received: none.")
    return none | coordinates


def _exact(curvature: Curvature, chosen: Mask, probes: int, seed: int) -> Diagonal:
    lines = AlongLines(curvature.model, curvature.loss, *curvature.batches[0][:2])
    quick = {path: v for path, v in curvature.variables.items() if chosen[path].any() and lines.covers(v)}
    values = {path: np.zeros(mask.shape) for path, mask in chosen.items()}
    for inputs, targets, share in curvature.batches:
        points = lines.points(inputs) if quick else []
        for path, variable in quick.items():
            values[path][chosen[path]] += share * lines.second(variable, np.flatnonzero(chosen[path]), points, targets)
    rest = {path: mask & (path not in quick) for path, mask in chosen.items()}
    products = curvature.split(_by_products(curvature, np.flatnonzero(curvature.join(rest))))
    return Diagonal(
        values={path: values[path] + products[path] for path in values},
        sampled={path: mask.copy() for path, mask in chosen.items()},
        methods={path: "taylor" if path in quick else "products" for path, mask in chosen.items() if mask.any()},
        surviving=curvature.size,
        pruned=curvature.pruned,
        examples=curvature.examples,
    )


def _by_products(curvature: Curvature, positions: np.ndarray) -> np.ndarray:
    """e' H e at these positions of a flat vector, one product each; 0 elsewhere."""
    diagonal = np.zeros(curvature.size)
    for position in positions:
        diagonal[position] = curvature.product(np.eye(1, curvature.size, position)[0])[position]
    return diagonal


def _hutchinson(curvature: Curvature, chosen: Mask, probes: int, seed: int) -> Diagonal:
    rng = np.random.default_rng(seed)
    where = curvature.join(chosen)
    mean, squares, sums = np.zeros(curvature.size), np.zeros(curvature.size), []
    for count in range(1, probes + 1):
        z = signs(rng, curvature.size) * where
        draw = z * curvature.product(z)
        change = draw - mean  # running sums of squares (Welford 1962), which lose no digits
        mean += change / count
        squares += change * (draw - mean)
        sums.append(draw.sum())
    error = np.sqrt(squares / (probes - 1) / probes)
    return Diagonal(
        values=curvature.split(mean),
        sampled={path: mask.copy() for path, mask in chosen.items()},
        methods={path: "hutchinson" for path, mask in chosen.items() if mask.any()},
        surviving=curvature.size,
        pruned=curvature.pruned,
        examples=curvature.examples,
        probes=probes,
        standard_error=curvature.split(error),
        sum_error=float(np.std(sums, ddof=1) / np.sqrt(probes)),
    )


METHODS = {"exact": _exact, "hutchinson": _hutchinson}
