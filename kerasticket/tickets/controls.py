"""Controls for a ticket: tickets that differ from it in one thing, so that what the thing is worth can be measured.

Each keeps the ticket's provenance and adds a stage of its own, at the same round. After Frankle & Carbin 2019
(random reinitialization) and Frankle et al. 2021 (arXiv 2009.08576: shuffled, reinitialized, inverted).
"""

import contextlib
import copy
import dataclasses
import json
import random
from collections.abc import Iterator
from typing import Any, TypeVar

import keras
import numpy as np

from kerasticket import masks
from kerasticket.checks import check_choice, check_seed
from kerasticket.masks import Mask
from kerasticket.models.paths import SEED_STATE, owners
from kerasticket.params import Params, same_bits
from kerasticket.tickets import masking, optimizer_state
from kerasticket.tickets.contents import Contents

PLACES = ("global", "layer")
Ticket = TypeVar("Ticket", bound=Contents)


def shuffled(ticket: Ticket, seed: int, dense: Ticket | None) -> Ticket:
    """Permutes mask and removal record within each kernel, among the weights that the dense ticket has."""
    rng, dense = _rng(ticket, seed), _dense(ticket, dense)
    removed = {path: array.copy() for path, array in ticket.removed_in.items()}
    mask: Mask = {path: array.copy() for path, array in ticket.mask.items()}
    for path, available in dense.mask.items():
        order = rng.permutation(np.flatnonzero(available))
        mask[path][available] = ticket.mask[path].ravel()[order]
        removed[path][available] = ticket.removed_in[path].ravel()[order]
    return _control(ticket, dense, mask, removed, {"name": "shuffled", "seed": seed})


def inverted(ticket: Ticket, seed: int, dense: Ticket | None) -> Ticket:
    """Keeps, per kernel, as many weights as the ticket does: those removed first, drawn within a round."""
    rng, dense = _rng(ticket, seed), _dense(ticket, dense)
    mask: Mask = {}
    for path, available in dense.mask.items():
        removed_last = ticket.removed_in[path].astype(float)
        removed_last[ticket.mask[path]] = np.inf  # after all others
        order = np.lexsort((rng.random(available.size), removed_last.ravel()))
        order = order[available.ravel()[order]][: np.count_nonzero(ticket.mask[path])]
        mask[path] = np.zeros(available.shape, bool)
        mask[path].ravel()[order] = True
    return _control(ticket, dense, mask, _one_shot(ticket, dense, mask), {"name": "inverted", "seed": seed})


def random_like(ticket: Ticket, seed: int, dense: Ticket | None, scope: str) -> Ticket:
    """Draws a mask as sparse as the ticket's, over all kernels together or in each."""
    check_choice(scope, PLACES, "scope")
    rng, dense = _rng(ticket, seed), _dense(ticket, dense)
    scores = {path: rng.random(array.shape) for path, array in dense.mask.items()}
    if scope == "global":
        mask = masks.keep_top(scores, dense.mask, ticket.kept)
    else:
        counts = {path: int(np.count_nonzero(array)) for path, array in ticket.mask.items()}
        mask = {}
        for path, available in dense.mask.items():
            mask |= masks.keep_top({path: scores[path]}, {path: available}, counts[path])
    stage = {"name": "random_like", "scope": scope, "seed": seed}
    return _control(ticket, dense, mask, _one_shot(ticket, dense, mask), stage)


def reinitialized(ticket: Ticket, seed: int) -> Ticket:
    """Draws new initial weights and statistics under the ticket's mask.

    Seed states stay the ticket's, and so does what a Normalization layer knows of the data.
    """
    check_seed(seed)
    params = initial_params(ticket.architecture, seed)
    params |= {path: array for path, array in ticket.params.items() if path.endswith(SEED_STATE)}
    params |= {path: ticket.params[path] for path in _of_data(ticket.architecture)}
    params = {path: params[path] for path in ticket.params}  # in the order of the ticket
    stages = _with_stage(ticket, {"name": "reinitialized", "seed": seed})
    params = masks.zeroed(params, ticket.mask)
    return dataclasses.replace(ticket, params=params, optimizer={}, rewind_epoch=0, stages=stages)


def _of_data(architecture: str | None) -> list[str]:
    """Paths of what was measured on data before any training: the mean and variance of Normalization layers."""
    with _seeded(0):
        found = owners(_build(json.loads(architecture or "")))
    return [path for path, layer in found.items() if isinstance(layer, keras.layers.Normalization)]


def initial_params(architecture: str | None, seed: int | None) -> Params:
    """The weights that a network starts with.

    Args:
        architecture: a model as Keras serializes it, as JSON.
        seed: overrules the seeds of all initializers; None draws with those that the architecture has.

    Raises:
        ValueError: there is no architecture, or a second build has other weights, so they are no function of the seed.
    """
    if architecture is None:
        raise ValueError(
            "Expected a ticket that holds its architecture. Received: one of a subclassed model. Build the model anew, "
            "and use Ticket.dense(model) as the dense ticket, or .pruned(mask, ...) of it as the reinitialized one."
        )
    config = json.loads(architecture)
    if seed is None:
        first, second = masking.get_params(_build(config)), masking.get_params(_build(config))
    else:
        first, second = _drawn(_without_seeds(config), seed), _drawn(_without_seeds(config), seed)
    unsteady = [path for path, a in first.items() if not path.endswith(SEED_STATE) and not same_bits(a, second[path])]
    if unsteady:
        raise ValueError(
            f"Expected initial weights that follow from seeds. Received: an architecture whose {unsteady[:4]} differ "
            "from build to build. Give their initializers a seed, or pass the weights: dense=imp.tickets[0]."
        )
    return first


def _drawn(config: dict, seed: int) -> Params:
    with _seeded(seed):
        return masking.get_params(_build(config))


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Python's generator, of which initializers without a seed, Keras' and ours, take one when they are made."""
    state = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)


def _build(config: dict) -> keras.Model:
    return keras.saving.deserialize_keras_object(copy.deepcopy(config))  # Keras empties what it reads


def _without_seeds(config: Any, key: str = "") -> Any:
    """The configuration with `seed: None` in every initializer."""
    if isinstance(config, list):
        return [_without_seeds(item, key) for item in config]
    if not isinstance(config, dict):
        return config
    result = {name: _without_seeds(item, name) for name, item in config.items()}
    inner = result.get("config")
    if key.endswith("initializer") and isinstance(inner, dict) and "seed" in inner:
        result["config"] = inner | {"seed": None}
    return result


def _rng(ticket: Ticket, seed: int) -> np.random.Generator:
    """Of its own for each round, so that controls of different rounds are independent."""
    check_seed(seed)
    return np.random.default_rng([seed, ticket.round])


def _dense(ticket: Ticket, dense: Ticket | None) -> Ticket:
    """The dense ticket, after a look that it is this ticket's; drawn from the architecture if it is not given."""
    if dense is None:
        dense = _redrawn(ticket)
    elif not hasattr(dense, "removed_in"):
        raise ValueError(f"Expected dense=imp.tickets[0], a Ticket. Received: {type(dense).__name__}.")
    if dense.rewind_epoch != ticket.rewind_epoch:
        raise ValueError(
            f"Expected the dense ticket at the rewind point of this one, epoch {ticket.rewind_epoch}. "
            f"Received: dense.rewind_epoch={dense.rewind_epoch}. Pass dense=imp.tickets[0] of the same search."
        )
    other = [path for path in ticket.mask if not _starts_alike(ticket, dense, path)]
    if other or dense.mask.keys() != ticket.mask.keys():
        raise ValueError(
            "Expected a dense ticket with the weights that this one keeps, to the bit: the control would start from "
            f"other weights. Received: one that differs at {other[:4] or 'its paths'}. Pass dense=imp.tickets[0] of "
            "the same search."
        )
    return dense


def _redrawn(ticket: Ticket) -> Ticket:
    if ticket.rewind_epoch:
        raise ValueError(
            f"Expected dense=..., the dense ticket at epoch {ticket.rewind_epoch}: pruned weights of trained networks "
            "cannot be drawn again. Received: dense=None. Pass dense=imp.tickets[0]."
        )
    drawn = initial_params(ticket.architecture, None)
    mask: Mask = {path: (removed > 0) | ticket.mask[path] for path, removed in ticket.removed_in.items()}
    params = {path: array if path in mask else ticket.params[path] for path, array in drawn.items()}
    dense = dataclasses.replace(ticket, params=params, mask=mask)
    if not all(_starts_alike(ticket, dense, path) for path in mask):
        raise ValueError(
            "Expected a ticket at the initial weights of its architecture, so that pruned ones can be drawn again. "
            "Received: one with other weights (it comes from another backend, was trained, or its initializers have no "
            "seed), and dense=None. Pass dense=imp.tickets[0]."
        )
    return dense


def _starts_alike(ticket: Ticket, dense: Ticket, path: str) -> bool:
    mask, there = ticket.mask[path], dense.mask.get(path)
    if there is None or there.shape != mask.shape or (mask & ~there).any():
        return False
    return same_bits(ticket.params[path][mask], dense.params[path][mask])


def _one_shot(ticket: Ticket, dense: Ticket, mask: Mask) -> dict[str, np.ndarray]:
    """The record of a mask that was made in one go, in the ticket's last round."""
    number = np.uint16(ticket.round)
    return {path: np.where(dense.mask[path] & ~mask[path], number, dense.removed_in[path]) for path in mask}


def _control(ticket: Ticket, dense: Ticket, mask: Mask, removed: Params, stage: dict) -> Ticket:
    """The ticket under another mask: kernels and slots are the dense ticket's, everything else its own."""
    params = {path: dense.params[path] if path in mask else array for path, array in ticket.params.items()}
    return dataclasses.replace(
        ticket,
        params=masks.zeroed(params, mask),
        mask=mask,
        removed_in=removed,
        optimizer=optimizer_state.masked_state(dense.optimizer, mask),
        stages=_with_stage(ticket, stage),
    )


def _with_stage(ticket: Ticket, stage: dict) -> tuple[dict, ...]:
    return (*ticket.stages, {**stage, "first_round": ticket.round, "last_round": ticket.round})
