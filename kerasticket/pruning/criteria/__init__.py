"""Criteria rank weights: each is one function from a network to one score per weight, high = keep.

    scores(model, params, mask, data, rng) -> dict[kernel path, array]

`model` gives the architecture, and the loss that it is compiled with; `params` are the weights to judge (trained
ones, or those at initialisation) and `mask` the current mask. `data` is what the callback was given (None for
criteria that need none), `rng` a NumPy generator that is a pure function of seed and round. Scores at pruned
positions are ignored. Networks run in inference mode, and their weights, statistics and state stay as they are.
"""

from collections.abc import Callable

from kerasticket.masks import Scores
from kerasticket.names import choose
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

WITH_DATA = ("snip", "grasp", "saliency", "movement", "wanda")

__all__ = ["CRITERIA", "WITH_DATA", "Criterion", "check_data", "get", *CRITERIA]


def check_data(criterion: Criterion, data) -> None:
    """Raises ValueError if one of ours that needs examples has none; functions of users see to it themselves."""
    for name in WITH_DATA:
        if criterion is CRITERIA[name]:
            check_examples(name, data)


def get(criterion: str | Criterion) -> Criterion:
    """The criterion of that name, or the function itself.

    Raises:
        ValueError: no such name; the known ones are listed.
    """
    return criterion if callable(criterion) else choose(criterion, CRITERIA, "criterion")
