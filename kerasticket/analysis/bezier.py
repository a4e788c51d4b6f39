"""Non-linear mode connectivity: a curve of low loss between two nets, which is trained."""

import dataclasses
import itertools
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from kerasticket.analysis.connectivity import curve, evaluate, grid, zeros_overlap
from kerasticket.analysis.objective import Batch, Objective
from kerasticket.analysis.results import Curve
from kerasticket.analysis.statistics import has_statistics
from kerasticket.backend import autodiff
from kerasticket.data.pipeline import Data
from kerasticket.models.paths import SEED_STATE
from kerasticket.params import Params, combine, interpolate, is_kernel
from kerasticket.training.optimizers import paper_schedule
from kerasticket.training.recipe import Recipe

# Garipov et al.'s for CIFAR, but for the schedule: theirs falls linearly from half of the epochs on.
RECIPE = Recipe(epochs=200, batch_size=128, learning_rate=0.015)


@dataclasses.dataclass(frozen=True)
class BezierPath:
    """A trained curve.

    Attributes:
        curve: loss and accuracy on it, evenly spaced in its parameter (not in length).
        middle: the control point that was trained; the curve does not pass through it.
        losses: mean training loss of each pass, at random points of the curve.
    """

    curve: Curve
    middle: Params
    losses: tuple[float, ...]


def bezier_path(
    model: keras.Model,
    a: Params,
    b: Params,
    data: Any,
    *,
    recipe: Recipe = RECIPE,
    alphas: int | Sequence[float] = 30,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> BezierPath:
    """Trains a quadratic Bezier curve from a to b for a low mean loss, and walks it (Garipov et al. 2018).

    The net at t is (1-t)^2 a + 2t(1-t) middle + t^2 b; the middle starts half-way between a and b, and each batch
    trains it at a new t from U(0, 1) (arXiv 1802.10026, section 3; the L2 penalty is of the net at t, as in their
    code). The L2 penalty is no part of the losses that are reported. Weights of kernels that are zero in both a and
    b are pruned: they stay exactly zero on the whole curve.

    Batch normalization uses the statistics of the batch while the middle is trained, and statistics that are
    re-estimated over `data` at each alpha, at the ends too, when the curve is walked. Other networks are trained in
    inference mode, so without dropout.

    Args:
        model: built and compiled, whose loss is minimized; it is left as it is.
        a, b: `kerasticket.get_params` of the two ends.
        data: an image set, which can be augmented; or a pair (inputs, targets) of arrays, a finite tf.data pipeline,
            or an `Objective`, whose examples are shuffled. The curve is of all of them as they are.
        recipe: epochs, batch size, rate and its milestones, momentum, L2 and augmentation.
        alphas: as in `linear_path`: values of t.
        seed: of the order of the examples, augmentation and t.
        progress: called with the number of passes that are done, out of `recipe.epochs`.

    Raises:
        ValueError: as `linear_path`; augmentation of what is no image set; a network with batch normalization and
            random layers.
        FloatingPointError: the loss is not finite.

    Warns:
        UserWarning: a and b have not the same zeros, so their masks differ.

    Example:

    >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False, name="out")])
    >>> model.compile(loss="mean_squared_error")
    >>> a, b = ({"out/kernel": np.array([[w]], "float32")} for w in (1, 3))
    >>> data = np.ones((8, 1), "float32"), np.zeros((8, 1), "float32")
    >>> path = bezier_path(model, a, b, data, recipe=Recipe(epochs=50, batch_size=4, l2=0.0), alphas=3)
    >>> path.middle["out/kernel"].item() < 0, path.curve.loss[1] < 1 < 4  # 4 is the loss in the middle of the line
    (True, True)
    """
    points = grid(alphas)
    objective = data if isinstance(data, Objective) else Objective(model, data)
    for name, params in (("a", a), ("b", b)):
        objective.check(params, name)
    statistics = "reestimate" if has_statistics(model) else "interpolate"
    _check_trainable(model, a, data, recipe)
    overlap = zeros_overlap(a, b)
    if overlap < 1:
        warnings.warn(f"The ends have different masks: they share {overlap:.1%} of the weights that either keeps.",
                      UserWarning, stacklevel=2)  # fmt: skip
    training = _Training(objective, a, b, recipe, np.random.default_rng([seed, 1]))
    losses = []
    for batches in _passes(objective, data, recipe, seed):
        losses.append(training.passed(batches))
        if progress:
            progress(len(losses))
    evaluations = [evaluate(objective, bezier_point(a, training.middle, b, t), statistics) for t in points]
    return BezierPath(curve(objective, points, evaluations, statistics, overlap), training.middle, tuple(losses))


def bezier_point(a: Params, middle: Params, b: Params, t: float) -> Params:
    """(1-t)^2 a + 2t(1-t) middle + t^2 b; 0 gives `a` and 1 gives `b`, both to the bit.

    >>> bezier_point({"w": np.zeros(1)}, {"w": np.ones(1)}, {"w": np.zeros(1)}, 0.5)["w"]
    array([0.5])
    """
    return interpolate(a, b, t) if t in (0, 1) else combine([a, middle, b], [(1 - t) ** 2, 2 * t * (1 - t), t**2])


class _Training:
    """The control point on its way, with its momentum.

    In NumPy but for the gradient, so that the same steps are taken on every backend.
    """

    def __init__(self, objective: Objective, a: Params, b: Params, recipe: Recipe, rng: np.random.Generator):
        self.objective, self.a, self.b, self.recipe, self.rng = objective, a, b, recipe, rng
        self.middle = interpolate(a, b, 0.5)
        self.paths = objective.trainable_paths
        self.kept = {path: (a[path] != 0) | (b[path] != 0) if is_kernel(path, a[path]) else True for path in self.paths}
        self.buffers = {path: np.zeros_like(a[path]) for path in self.paths}
        self.schedule = paper_schedule(recipe.learning_rate, recipe.epochs, 1, recipe.milestones, recipe.factor)
        self.passes = 0
        mode = autodiff.mode(objective.model, has_statistics(objective.model))

        def mean_loss(trainable, other, inputs, targets):
            outputs, _ = objective.model.stateless_call(trainable, other, inputs, **mode)
            return autodiff.mean_of_loss(objective.loss, targets, outputs)

        self.slope = autodiff.jit(autodiff.value_and_gradient(mean_loss))

    def passed(self, batches: Iterator[Batch]) -> float:
        """One pass over the data; the mean of its losses."""
        rate = float(self.schedule(self.passes))
        losses, sizes = zip(*((self.step(*batch, rate), len(batch[0])) for batch in batches), strict=True)
        self.passes += 1
        return float(np.average(losses, weights=sizes))

    def step(self, inputs: np.ndarray, targets: np.ndarray, rate: float) -> float:
        """One step of SGD at a random point of the curve, whose net moves 2t(1-t) times as far as the middle."""
        t = self.rng.uniform()
        net = bezier_point(self.a, self.middle, self.b, t)
        loss, slopes = self.slope(*self.objective.values(net), inputs, targets)
        if not math.isfinite(float(loss)):
            raise FloatingPointError(
                f"The loss on the curve is {float(loss)} in pass {self.passes + 1}. Lower the learning rate."
            )
        for path, slope in zip(self.paths, slopes, strict=True):
            whole = ops.convert_to_numpy(slope) + self.recipe.l2 * net[path]
            gradient = 2 * t * (1 - t) * np.where(self.kept[path], whole, 0)
            self.buffers[path] = (self.recipe.momentum * self.buffers[path] + gradient).astype(net[path].dtype)
            self.middle[path] = self.middle[path] - (rate * self.buffers[path]).astype(net[path].dtype)
        return float(loss)


def _passes(objective: Objective, data: Any, recipe: Recipe, seed: int) -> Iterator[Iterator[Batch]]:
    """Batches of each pass over the data."""
    if isinstance(data, Data):
        pipeline = recipe.pipeline(data, seed)
        steps = int(pipeline.cardinality()) // recipe.passes_per_epoch
        for _ in range(recipe.keras_epochs):
            batches = ((np.asarray(inputs), np.asarray(targets)) for inputs, targets in pipeline)
            for _ in range(recipe.passes_per_epoch):
                yield itertools.islice(batches, steps)
        return
    inputs, targets = (
        np.concatenate([ops.convert_to_numpy(part) for part in parts]) for parts in zip(*objective.batches, strict=True)
    )
    rng = np.random.default_rng([seed, 0])
    for _ in range(recipe.epochs):
        order = rng.permutation(len(inputs))
        chosen = (order[start : start + recipe.batch_size] for start in range(0, len(order), recipe.batch_size))
        yield ((inputs[some], targets[some]) for some in chosen)


def _check_trainable(model: keras.Model, params: Params, data: Any, recipe: Recipe) -> None:
    """Raises ValueError for what cannot be trained as `bezier_path` says."""
    if recipe.augmentation is not None and not isinstance(data, Data):
        raise ValueError(f"Expected an image set, for augmentation. Received: data of type {type(data).__name__}.")
    random = [path for path in params if path.endswith(SEED_STATE)]
    if has_statistics(model) and random:
        raise ValueError(
            "Expected a model without random layers, as batch normalization is run in training mode. "
            f"Received: '{model.name}' with {random}."
        )
