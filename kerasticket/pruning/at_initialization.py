"""Pruning at initialization: SNIP, GraSP, SynFlow and others, in one step or many, with their sanity checks."""

import dataclasses
from collections.abc import Callable, Mapping

import keras
import numpy as np

from kerasticket import masks
from kerasticket.backend.variables import array_of
from kerasticket.checks import check_seed, choose
from kerasticket.layers.restoring import lent
from kerasticket.masks import Mask, Scores
from kerasticket.pruning import criteria, structures
from kerasticket.pruning.allocation import Allocation, Target, check_target, match
from kerasticket.pruning.checks import check_model
from kerasticket.pruning.structures import Structure, Weights
from kerasticket.tickets import masking
from kerasticket.tickets.ticket import Ticket

ROUNDS = {"synflow": 100}  # as published; all others: one


@dataclasses.dataclass(frozen=True)
class Found:
    """The mask that a method found and the order in which it removed the other weights.

    Attributes:
        mask: what it kept.
        removed_in: the step that removed each weight, infinite for those kept.
        scores: the last score of each weight: of the step that removed it.
    """

    mask: Mask
    removed_in: Scores
    scores: Scores


class PruneAtInitialization(keras.callbacks.Callback):
    """Prunes a masked model before its first step; the training then is that of the ticket.

    With `rounds` above 1, scores are computed anew after each step, and densities fall exponentially:
    density^(k / rounds) after step k (Tanaka et al. 2020, arXiv 2006.05467; de Jorge et al. 2021).

    Args:
        criterion: a name in `criteria.CRITERIA` or a function with their signature.
        sparsity: share of all prunable weights to be pruned, or a dict of patterns to such shares.
        rounds: steps of scoring and pruning; None: 100 for "synflow", 1 for all others.
        control: a sanity check of Frankle et al. 2021 (arXiv 2009.08576): "shuffled" permutes the mask
            within each layer, "reinitialized" draws new weights under it, "inverted" keeps in each layer as many
            weights as before, those that the method held for the worst.
        data: handed to the criterion, e.g. ten examples of each class.
        seed: of the criterion's and the control's random numbers.
        scope, structure, empty_layers: as of `allocation.Allocation`.

    A training that goes on (another `fit` with this callback, `BackupAndRestore` before it in the list) is not pruned
    again.

    Attributes:
        dense, ticket: the network before and after, from the beginning of `fit` on; None where a restored training
            goes on.

    Raises:
        ValueError: any argument out of range, at once; a model without masks or optimizer, or whose mask is sparser
            already.

    >>> snip = PruneAtInitialization("snip", 0.9, data=(np.ones((8, 4)), np.ones((8, 2))))
    >>> snip.rounds
    1
    """

    def __init__(
        self,
        criterion: str | criteria.Criterion,
        sparsity: Target,
        *,
        rounds: int | None = None,
        control: str | None = None,
        data=None,
        seed: int = 0,
        scope: str = "global",
        structure: str | Structure = "weights",
        empty_layers: str = "keep",
    ):
        super().__init__()
        for share in sparsity.values() if isinstance(sparsity, Mapping) else [sparsity]:
            check_target(share)
        name = criterion if isinstance(criterion, str) else getattr(criterion, "__name__", repr(criterion))
        self.rounds = ROUNDS.get(name, 1) if rounds is None else rounds
        _check(self.rounds, seed, control, structures.get(structure))
        self.sparsity, self.control, self.data, self.seed = sparsity, control, data, seed
        self._scores, self._allocation = criteria.get(criterion), Allocation(scope, structure, empty_layers)
        self._stage = {"name": name, "criterion": name, "scope": scope, "rounds": self.rounds, "seed": seed}
        self._stage |= {"sparsity": dict(sparsity) if isinstance(sparsity, Mapping) else float(sparsity)}
        if structure != "weights":
            self._stage["structure"] = str(structure)
        self.dense: Ticket | None = None
        self.ticket: Ticket | None = None

    def on_train_begin(self, logs=None):
        check_model(self.model)
        if self._is_pruned():
            return
        self.dense = Ticket.dense(self.model)
        self.ticket = self.find(self.model)
        self.ticket.apply(self.model)

    def _is_pruned(self) -> bool:
        """Whether this training goes on with a network that was pruned when it began."""
        mask = masking.get_mask(self.model)
        if self.ticket is not None:
            return masks.is_nested(mask, self.ticket.mask)  # pruned further, perhaps, by another callback
        begun = getattr(self.model.optimizer, "iterations", None)
        if begun is None or not int(array_of(begun)) or not mask:
            return False
        return self._allocation.is_at(self.model, self.sparsity)

    def find(self, model: keras.Model) -> Ticket:
        """The ticket, without a training; the model stays as it is."""
        dense = Ticket.dense(model)
        with lent(model):
            found = self._search(model, dense)
        if self.control is None:
            return dense.pruned(found.mask, self._stage)
        return CONTROLS[self.control](found, dense, self._stage, self.seed)

    def _search(self, model: keras.Model, dense: Ticket) -> Found:
        mask = dense.mask
        removed_in = {path: np.full(array.shape, np.inf) for path, array in mask.items()}
        last: Scores = {path: np.zeros(array.shape) for path, array in mask.items()}
        for step in range(1, self.rounds + 1):
            rng = np.random.default_rng([self.seed, step])
            scores = self._scores(model, masks.zeroed(dense.params, mask), mask, self.data, rng)
            pruned = self._allocation.to_sparsity(model, scores, mask, self._target(model, dense.mask, step))
            for path, before in mask.items():
                last[path][before] = scores[path][before]
                removed_in[path][before & ~pruned[path]] = step
            mask = pruned
        return Found(mask, removed_in, last)

    def _target(self, model: keras.Model, start: Mask, step: int) -> Target:
        """The sparsity after a step: densities fall by the same factor from the mask that was there."""
        if step == self.rounds:
            return self.sparsity
        units = structures.get(self._allocation.structure).units(model, start)
        if not isinstance(self.sparsity, Mapping):
            return self._after(step, self.sparsity, units)
        shares = match(self.sparsity, units)
        return {name: self._after(step, share, {name: units[name]}) for name, share in shares.items()}

    def _after(self, step: int, share: float, units: Mask) -> float:
        density = 1 - masks.sparsity(units)
        return 1 - density * min(1, (1 - share) / density) ** (step / self.rounds) if density else share


def _shuffled(found: Found, dense: Ticket, stage: dict, seed: int) -> Ticket:
    return dense.pruned(found.mask, stage).shuffled(seed, dense=dense)


def _reinitialized(found: Found, dense: Ticket, stage: dict, seed: int) -> Ticket:
    return dense.pruned(found.mask, stage).reinitialized(seed)


def _inverted(found: Found, dense: Ticket, stage: dict, seed: int) -> Ticket:
    """As many weights of each kernel, from the other end of the order; ties by position."""
    mask: Mask = {}
    for path, available in dense.mask.items():
        order = np.lexsort((found.scores[path].ravel(), found.removed_in[path].ravel()))
        order = order[available.ravel()[order]][: np.count_nonzero(found.mask[path])]
        mask[path] = np.zeros(available.shape, bool)
        mask[path].ravel()[order] = True
    return dense.pruned(mask, {**stage, "control": "inverted"})


CONTROLS: dict[str, Callable[[Found, Ticket, dict, int], Ticket]] = {
    "shuffled": _shuffled,
    "reinitialized": _reinitialized,
    "inverted": _inverted,
}


def _check(rounds: int, seed: int, control: str | None, structure: Structure) -> None:
    if not (isinstance(rounds, int) and rounds >= 1):
        raise ValueError(f"Expected rounds, a whole number of at least 1. Received: rounds={rounds!r}")
    check_seed(seed)
    if control is not None:
        choose(control, CONTROLS, "control")
    if control in ("shuffled", "inverted") and not isinstance(structure, Weights):
        raise ValueError(
            f"Control {control!r} moves single weights and would break the structure. Received: {structure}. "
            "Take control='reinitialized', or structure='weights'."
        )
