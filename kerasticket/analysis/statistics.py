"""Moving statistics of batch normalization, computed anew for weights that no training has visited."""

import math
import weakref

import keras
import numpy as np

from kerasticket.analysis.objective import Objective
from kerasticket.backend.keras_internals import all_layers
from kerasticket.models.paths import SEED_STATE, named_variables
from kerasticket.params import Params


def has_statistics(model: keras.Model) -> bool:
    """Whether the model has batch normalization, whose moving statistics are no function of its weights."""
    return any(isinstance(layer, keras.layers.BatchNormalization) for layer in all_layers(model))


def reestimated(objective: Objective, params: Params) -> Params:
    """Params whose moving means and variances are those of the objective's data under these weights.

    One pass in training mode: each layer normalizes a batch with that batch's own statistics, and the moments of
    all batches are pooled. The first layer's are then exact; deeper ones depend on the batch size, as they do in
    training. Frozen layers, and networks without such layers, keep what they have.

    Raises:
        ValueError: the model has layers that draw random numbers, which they would do in training mode.
    """
    model = objective.model
    layers = _learning_layers(model)
    if not layers:
        return params
    random = [path for path in params if path.endswith(SEED_STATE)]
    if random:
        raise ValueError(
            "Expected a model without random layers, as statistics are re-estimated in training mode. "
            f"Received: '{model.name}' with {random}. Pass statistics='interpolate'."
        )
    # From zero, one step of an average with momentum m is (1 - m) times the statistics of the batch; a layer that is
    # called k times makes k steps, and comes to rest at what they give from zero, divided by 1 - m^k.
    counts, states = zip(*objective.training_states(_filled(params, layers, 0)), strict=True)
    if objective not in _CALLS:
        _, from_one = next(objective.training_states(_filled(params, layers, 1)))
        _CALLS[objective] = {mean: _calls(from_one[mean] - states[0][mean], momentum) for mean, _, momentum in layers}
    pooled = dict(params)
    for mean, variance, momentum in layers:
        forgotten = 1 - momentum ** _CALLS[objective][mean]
        means, variances = (np.stack([state[path] for state in states]) / forgotten for path in (mean, variance))
        average = np.average(means, 0, counts)
        spread = np.average(variances + (means - average) ** 2, 0, counts)
        pooled[mean], pooled[variance] = average.astype(means.dtype), spread.astype(variances.dtype)
    return pooled


# How often each layer is called in a forward pass: the same for all weights, so that a path asks once.
_CALLS: "weakref.WeakKeyDictionary[Objective, dict[str, int]]" = weakref.WeakKeyDictionary()


def _filled(params: Params, layers: list[tuple[str, str, float]], value: float) -> Params:
    """The params with this value in all moving statistics."""
    return params | {path: np.full_like(params[path], value) for each in layers for path in each[:2]}


def _calls(remembered: np.ndarray, momentum: float) -> int:
    """k, given what is left of 1 after k steps of an average, m^k but for rounding."""
    left = float(np.mean(remembered, dtype=float))
    return max(1, round(math.log(left) / math.log(momentum))) if momentum > 0 and 0 < left < 1 else 1


def _learning_layers(model: keras.Model) -> list[tuple[str, str, float]]:
    """(path of the moving mean, of the moving variance, momentum) of each layer that updates them in training."""
    paths = {id(variable): path for path, variable in named_variables(model).items()}
    layers = [layer for layer in all_layers(model) if isinstance(layer, keras.layers.BatchNormalization)]
    return [
        (paths[id(layer.moving_mean)], paths[id(layer.moving_variance)], layer.momentum)
        for layer in layers
        if layer.trainable and layer.momentum < 1
    ]
