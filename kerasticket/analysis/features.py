"""Connectivity layer by layer: are features linear on the line between two nets, and which layers make the barrier?"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from kerasticket.analysis.connectivity import check_statistics, curve, evaluate, grid, zeros_overlap
from kerasticket.analysis.objective import Objective
from kerasticket.analysis.results import Curve
from kerasticket.analysis.statistics import reestimated
from kerasticket.backend import autodiff
from kerasticket.backend.keras_internals import calls
from kerasticket.models.graph.calls import check_graph
from kerasticket.models.paths import SEED_STATE
from kerasticket.params import Params, interpolate


@dataclasses.dataclass(frozen=True)
class FeatureConnectivity:
    """How far the output of one layer is from linear on the line between two nets; means over the examples.

    Attributes:
        distance: 1 - cos(f_alpha, (1 - alpha) f_a + alpha f_b), in [0, 2]; 0 is linear feature connectivity.
        ends: 1 - cos(f_a, f_b): what `distance` has to be compared with. Where it is small, so is any distance.
        coefficient: c of the nearest c ((1 - alpha) f_a + alpha f_b) to f_alpha; 1 where the features do not shrink.
            Over the examples whose interpolated feature is not zero; NaN if there are none.
    """

    distance: float
    ends: float
    coefficient: float


def layerwise_feature_connectivity(
    model: keras.Model,
    a: Params,
    b: Params,
    data: Any,
    *,
    alpha: float = 0.5,
    statistics: str = "interpolate",
    batch_size: int = 256,
) -> dict[str, FeatureConnectivity]:
    """Compares the features of the net between a and b with the interpolation of their features.

    Layerwise linear feature connectivity (Zhou et al. 2023, arXiv 2307.08286). The feature of an example is the whole
    output of a layer as one vector. A feature that is zero in both has distance 0, in one of them distance 1. The
    distance is computed as half the squared distance of the unit vectors, which does not cancel for small angles.

    Args:
        model, data, statistics, batch_size: as in `linear_path`, but the model has to be functional or Sequential.
        a, b: params of the two ends.
        alpha: in [0, 1]; 0 is `a`.

    Returns:
        By layer in the order of the graph, those without weights included. A nested model counts as one layer; the
        second call of a layer is "name#2".

    Raises:
        ValueError: as `linear_path`; a subclassed model, or alpha outside [0, 1].

    Example:

    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, use_bias=False, name="out")])
    >>> model.compile(loss="mean_squared_error")
    >>> a, b = ({"out/kernel": np.array(kernel, "float32")} for kernel in ([[1, 0], [0, 1]], [[0, 1], [1, 0]]))
    >>> layerwise_feature_connectivity(model, a, b, (np.eye(2, dtype="float32"),) * 2)["out"]  # one layer is linear
    FeatureConnectivity(distance=0.0, ends=1.0, coefficient=1.0)
    """
    check_graph(model)
    objective = _checked(model, a, b, data, statistics, batch_size)
    if not 0 <= alpha <= 1:
        raise ValueError(f"Expected alpha in [0, 1]. Received: alpha={alpha}.")
    between = interpolate(a, b, alpha)
    if statistics == "reestimate":
        between = reestimated(objective, between)
    tensors = _outputs(model)
    compare = _comparison(model, list(tensors.values()), alpha)
    values = [value for params in (a, b, between) for value in objective.values(params)]
    batches = [[ops.convert_to_numpy(row) for row in compare(*values, inputs)] for inputs, _ in objective.batches]
    sums = np.sum(batches, axis=0, dtype=float)
    return {
        name: FeatureConnectivity(float(distance / count), float(ends / count), _ratio(coefficient, of))
        for name, (distance, ends, coefficient, of, count) in zip(tensors, sums, strict=True)
    }


def layerwise_path(
    model: keras.Model,
    a: Params,
    b: Params,
    data: Any,
    *,
    alphas: int | Sequence[float] = 11,
    statistics: str = "interpolate",
    batch_size: int = 256,
) -> dict[str, Curve]:
    """Loss and accuracy while one layer alone moves in a straight line from a to b; all others stay those of `a`.

    After layer-wise linear mode connectivity (Adilova et al. 2023, arXiv 2307.06966). The end at alpha = 1 is not `b`
    but `a` with one layer of `b`, whose loss counts in the barriers of `Curve` as that of any end. With batch
    normalization, "interpolate" moves the statistics of a normalization with that layer alone.

    Args:
        model, a, b, data, alphas, statistics, batch_size: as in `linear_path`.

    Returns:
        A curve by canonical path of each layer with weights. `mask_overlap` is that of the layer's own kernels.

    Raises:
        ValueError: as `linear_path`.

    Example:

    >>> stack = [keras.Input((1,)), keras.layers.Dense(1, use_bias=False, name="one")]
    >>> model = keras.Sequential([*stack, keras.layers.Dense(1, use_bias=False, name="two")])
    >>> model.compile(loss="mean_squared_error")
    >>> a, b = ({"one/kernel": np.full((1, 1), w), "two/kernel": np.full((1, 1), w)} for w in (1.0, 3.0))
    >>> data = (np.ones((4, 1), "float32"),) * 2
    >>> {layer: curve.loss.tolist() for layer, curve in layerwise_path(model, a, b, data, alphas=3).items()}
    {'one': [0.0, 1.0, 4.0], 'two': [0.0, 1.0, 4.0]}
    """
    points = grid(alphas)
    objective = _checked(model, a, b, data, statistics, batch_size)
    start = evaluate(objective, a, statistics)
    curves = {}
    for layer, paths in _layers(a).items():
        here, there = ({path: params[path] for path in paths} for params in (a, b))
        moved = (a | interpolate(here, there, alpha) for alpha in points[1:])
        evaluations = [start, *(evaluate(objective, params, statistics) for params in moved)]
        curves[layer] = curve(objective, points, evaluations, statistics, zeros_overlap(here, there))
    return curves


def _checked(model: keras.Model, a: Params, b: Params, data: Any, statistics: str, batch_size: int) -> Objective:
    check_statistics(statistics)
    objective = data if isinstance(data, Objective) else Objective(model, data, batch_size=batch_size)
    for name, params in (("a", a), ("b", b)):
        objective.check(params, name)
    return objective


def _layers(params: Params) -> dict[str, list[str]]:
    """The paths of each layer with weights."""
    layers: dict[str, list[str]] = {}
    for path in params:
        if not path.endswith(SEED_STATE):
            layers.setdefault(path.rpartition("/")[0], []).append(path)
    return layers


def _outputs(model: keras.Model) -> dict[str, Any]:
    """The tensors of the graph, but its inputs, by the name of their layer."""
    found: dict[str, Any] = {}
    for call in calls(model):
        for tensor in call.output_tensors:
            names = _numbered(call.operation.name)
            found[next(name for name in names if name not in found)] = tensor
    return found


def _numbered(name: str) -> Iterator[str]:
    yield name
    number = 2
    while True:
        yield f"{name}#{number}"
        number += 1


def _comparison(model: keras.Model, tensors: list, alpha: float):
    """A compiled function of the variables of a, b and the net between, and inputs: five sums for each tensor."""
    probe = keras.Model(model.inputs[0], tensors)  # `model.input` of a Sequential wants a call
    variables = [*model.trainable_variables, *model.non_trainable_variables]

    def features(trainable, other, inputs):
        value_of = {id(variable): value for variable, value in zip(variables, [*trainable, *other], strict=True)}
        chosen = ([value_of[id(v)] for v in vs] for vs in (probe.trainable_variables, probe.non_trainable_variables))
        outputs, _ = probe.stateless_call(*chosen, inputs, training=False)
        return [_vectors(output) for output in keras.tree.flatten(outputs)]

    def sums(trainable_a, other_a, trainable_b, other_b, trainable, other, inputs):
        nets = ((trainable_a, other_a), (trainable_b, other_b), (trainable, other))
        triples = zip(*(features(*net, inputs) for net in nets), strict=True)
        return [_sums(of_a, of_b, between, alpha) for of_a, of_b, between in triples]

    return autodiff.jit(sums)


def _vectors(output):
    """(examples, numbers), in float32 at least."""
    exact = keras.backend.standardize_dtype(output.dtype) == "float64"
    return ops.cast(ops.reshape(output, (ops.shape(output)[0], -1)), "float64" if exact else "float32")


def _sums(of_a, of_b, between, alpha: float):
    """Sums over examples of distance, distance of the ends, coefficient, examples that have one, and examples."""
    line = (1 - alpha) * of_a + alpha * of_b
    square = ops.sum(line * line, 1)
    usable = ops.cast(square > 0, line.dtype)
    coefficients = ops.sum(between * line, 1) / (square + (1 - usable)) * usable
    parts = [_distances(between, line), _distances(of_a, of_b), coefficients, usable, ops.ones_like(usable)]
    return ops.sum(ops.stack(parts), 1)


def _distances(x, y):
    """1 - cos of each pair of vectors."""
    (x, x_is_zero), (y, y_is_zero) = _units(x), _units(y)
    return ops.where(ops.equal(x_is_zero, y_is_zero), ops.sum(ops.square(x - y), 1) / 2, ops.ones_like(x[:, 0]))


def _units(vectors):
    lengths = ops.sqrt(ops.sum(vectors * vectors, 1, keepdims=True))
    is_zero = ops.equal(lengths, 0)
    return vectors / (lengths + ops.cast(is_zero, lengths.dtype)), is_zero[:, 0]


def _ratio(numerator: float, denominator: float) -> float:
    return float(numerator / denominator) if denominator else float("nan")
