"""Criteria rank weights: each is one function from a trained network to one score per weight, high = keep.

    scores(model, params, mask, data, rng) -> dict[kernel path, array]

`params` are the trained weights, `mask` the current one, `data` what the callback was given (None for
criteria that need none), `rng` a NumPy generator that is a pure function of seed and round.
"""

from collections.abc import Callable

import numpy as np

from kerasticket.masks import Mask, Scores
from kerasticket.params import Params

Criterion = Callable[..., Scores]


def magnitude(model, params: Params, mask: Mask, data, rng: np.random.Generator) -> Scores:
    """|w| after training (Han et al. 2015; Frankle & Carbin 2019): no normalisation per layer."""
    return {path: np.abs(params[path]) for path in mask}


def random(model, params: Params, mask: Mask, data, rng: np.random.Generator) -> Scores:
    """Uniform scores: the control that any criterion must beat."""
    return {path: rng.random(array.shape) for path, array in mask.items()}


CRITERIA: dict[str, Criterion] = {"magnitude": magnitude, "random": random}


def get(criterion: str | Criterion) -> Criterion:
    """The criterion of that name, or the function itself.

    Raises:
        ValueError: no such name; the known ones are listed.
    """
    if callable(criterion):
        return criterion
    if criterion not in CRITERIA:
        raise ValueError(f"Expected a function or one of {sorted(CRITERIA)}. Received: criterion={criterion!r}.")
    return CRITERIA[criterion]
