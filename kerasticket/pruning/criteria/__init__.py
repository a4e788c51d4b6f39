"""Criteria rank weights: each is one function from a network to one score per weight, high = keep.

    scores(model, params, mask, data, rng) -> dict[kernel path, array]

`model` gives the architecture, and the loss that it is compiled with; `params` are the weights to judge (trained
ones, or those at initialization) and `mask` the current mask. `data` is what the callback was given (None for
criteria that need none), `rng` a NumPy generator that is a pure function of seed and round. Scores at pruned
positions are ignored. Networks run in inference mode, and their weights, statistics and state stay as they are.
"""

import inspect
from collections.abc import Callable

from kerasticket.checks import choose
from kerasticket.masks import Scores
from kerasticket.pruning.criteria.activations import wanda
from kerasticket.pruning.criteria.flow import synflow
from kerasticket.pruning.criteria.gradients import grasp, movement, saliency, snip
from kerasticket.pruning.criteria.network import check_examples
from kerasticket.pruning.criteria.weights import lamp, magnitude, magnitude_at_init, random

Criterion = Callable[..., Scores]

CRITERIA: dict[str, Criterion] = {
    "magnitude": magnitude,
    "magnitude_at_init": magnitude_at_init,
    "lamp": lamp,
    "random": random,
    "snip": snip,
    "grasp": grasp,
    "synflow": synflow,
    "saliency": saliency,
    "movement": movement,
    "wanda": wanda,
}

SIGNATURE = ("model", "params", "mask", "data", "rng")
WITH_DATA = ("snip", "grasp", "saliency", "movement", "wanda")

__all__ = [
    "CRITERIA",
    "WITH_DATA",
    "Criterion",
    "check_data",
    "get",
    "grasp",
    "lamp",
    "magnitude",
    "magnitude_at_init",
    "movement",
    "random",
    "saliency",
    "snip",
    "synflow",
    "wanda",
]


def check_data(criterion: Criterion, data) -> None:
    """Raises ValueError if one of ours that needs examples has none; functions of users see to it themselves."""
    for name in WITH_DATA:
        if criterion is CRITERIA[name]:
            check_examples(name, data)


def get(criterion: str | Criterion) -> Criterion:
    """The criterion of that name, or the function itself.

    Raises:
        ValueError: no such name; the known ones are listed. Or a function that cannot be called with
            (model, params, mask, data, rng).

    >>> get("random").__name__
    'random'
    """
    if not callable(criterion):
        return choose(criterion, CRITERIA, "criterion")
    try:
        signature = inspect.signature(criterion)
    except (TypeError, ValueError):  # of some built-in functions Python knows none
        return criterion
    try:
        signature.bind(*SIGNATURE)
    except TypeError as error:
        name = getattr(criterion, "__name__", type(criterion).__name__)
        raise ValueError(
            f"Expected a criterion that is called as criterion({', '.join(SIGNATURE)}) and returns a dict of scores by "
            f"the paths of `mask`. Received: {name}{signature}: {error}."
        ) from error
    return criterion
