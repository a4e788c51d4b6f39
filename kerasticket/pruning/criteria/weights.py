"""Criteria that look at the weights alone."""

import numpy as np

from kerasticket.masks import Mask, Scores
from kerasticket.params import Params, mismatch


def magnitude(model, params: Params, mask: Mask, data, rng: np.random.Generator) -> Scores:
    """|w| (Han et al. 2015; Frankle & Carbin 2019): no normalization per layer."""
    return {path: np.abs(params[path]) for path in mask}


def magnitude_at_init(model, params: Params, mask: Mask, data, rng: np.random.Generator) -> Scores:
    """|w| before training, whatever the weights have become (Frankle & Carbin 2019; Zhou et al. 2019, "large init").

    Args:
        data: the initial weights: a Ticket (`Ticket.dense(model)` before training), or its dict of arrays.

    Raises:
        ValueError: `data` is something else, or another model's weights.
    """
    initial = getattr(data, "params", data)
    if not isinstance(initial, dict):
        raise ValueError(
            f"Criterion 'magnitude_at_init' needs the initial weights. Received: data={type(data).__name__}. "
            "Pass data=Ticket.dense(model), made before training."
        )
    wrong = mismatch({path: initial[path] for path in mask if path in initial}, mask, "data")
    if wrong:
        raise ValueError(f"Criterion 'magnitude_at_init' needs the initial weights of this model. {wrong}")
    return {path: np.abs(initial[path]) for path in mask}


def random(model, params: Params, mask: Mask, data, rng: np.random.Generator) -> Scores:
    """Uniform scores: the control that any criterion must beat."""
    return {path: rng.random(array.shape) for path, array in mask.items()}


def lamp(model, params: Params, mask: Mask, data, rng: np.random.Generator) -> Scores:
    """w^2 over the sum of the squares that are not smaller, within each kernel (Lee et al. 2021).

    Layer-adaptive magnitude pruning (arXiv 2010.07611) ranks these over all kernels: the largest weight of every
    kernel scores 1, so none is emptied. Of equal weights the earlier position scores higher.
    """
    return {path: lamp_scores(params[path], kept) for path, kept in mask.items()}


def lamp_scores(values: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """The squares of one kernel's kept values, each over the sum of those that are not smaller; 0 where pruned."""
    squares = values[kept].astype(np.float64) ** 2
    falling = np.argsort(-squares, kind="stable")
    sums = np.cumsum(squares[falling])
    ranked = np.divide(squares[falling], sums, out=np.zeros_like(sums), where=sums > 0)
    own = np.empty_like(ranked)
    own[falling] = ranked
    scores = np.zeros(values.shape)
    scores[kept] = own
    return scores
