"""From scores to a mask: where, how much, in what structure, and what if a layer would be emptied."""

import dataclasses
import fnmatch
import glob
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import keras
import numpy as np

from kerasticket import masks
from kerasticket.checks import choose, suggestion
from kerasticket.masks import Mask, Scores
from kerasticket.params import differing
from kerasticket.pruning import scopes, structures
from kerasticket.pruning.ruin import warn_of_ruins, with_minimum
from kerasticket.pruning.structures import Structure
from kerasticket.tickets import masking

Target = float | Mapping[str, float]


class AlreadyPassedError(ValueError):
    """The mask is sparser than the target; pruned weights do not come back."""


@dataclasses.dataclass(frozen=True)
class Allocation:
    """How scores become a mask.

    Counts are exact, ties go by position, and masks are nested in the one given. With a structure, fractions and
    targets count its groups (filters, blocks), whose sizes differ from layer to layer.

    Attributes:
        scope: a name in `scopes.SCOPES`.
        structure: a name in `structures.STRUCTURES` or a structure, such as `NOfM(keep=2, of=4)`.
        empty_layers: what to do where a layer would lose its last weights: "keep" its best one, in place of the lowest
            elsewhere if the scope has one total; "refuse" with an error; "warn" and empty it.

    Raises:
        ValueError: an unknown name, or a scope that does not go with the structure.

    Warns:
        UserWarning: on pruning with a structure, where a layer loses over 95% of its groups and the network does not.

    >>> Allocation(scope="erk").scope
    'erk'
    """

    scope: str = "global"
    structure: str | Structure = "weights"
    empty_layers: str = "keep"

    def __post_init__(self):
        scopes.get(self.scope)
        structure = structures.get(self.structure)
        choose(self.empty_layers, EMPTY_LAYERS, "empty_layers")
        if self.scope in scopes.OF_KERNELS and not structure.takes_all_scopes:
            others = sorted(set(scopes.SCOPES) - set(scopes.OF_KERNELS))
            raise ValueError(
                f"Scope '{self.scope}' looks at kernels, not at groups of weights. Received: structure={structure}. "
                f"Take one of {others}."
            )

    def by_fraction(self, model: keras.Model, scores: Scores, mask: Mask, fraction: float) -> Mask:
        """Removes a fraction of what is left."""

        structure = structures.get(self.structure)
        shares = self.scope not in scopes.EACH_ON_ITS_OWN

        def select(scores, units):
            chosen = scopes.get(self.scope)(scores, units, fraction)
            if shares and structure.minimum:
                chosen = with_minimum(scores, units, chosen, structure.minimum)
            chosen = self._without_empty_layers(scores, units, chosen)
            if structure.counts_groups:
                warn_of_ruins(units, chosen, stacklevel=4)
            return chosen

        return structure.prune(model, scores, mask, select)

    def to_sparsity(self, model: keras.Model, scores: Scores, mask: Mask, target: Target) -> Mask:
        """Prunes until a share `target` of all prunable weights, or groups, is gone.

        Under scope "layer" that is the share of each kernel, under "unit" that of each unit but for rounding; the other
        scopes share out one total.

        Args:
            target: a number in [0, 1), or a dict of patterns (`fnmatch`, on the path of a kernel, of its layer or of
                one around it) to such numbers. Then each kernel has the target of the first pattern that it matches,
                and those without one stay as they are.

        Raises:
            ValueError: a target out of range or already passed, a pattern that matches nothing, or a dict under a scope
                that shares out a total by a rule of its own.
        """
        if not isinstance(target, Mapping):
            if self.scope not in scopes.EACH_ON_ITS_OWN:
                return self._to_one_sparsity(model, scores, mask, target)
            target = {"*": target}
        if self.scope not in ("global", *scopes.EACH_ON_ITS_OWN):
            raise ValueError(
                f"A dict of targets says itself what each layer keeps. Received: scope={self.scope!r} with it. "
                "Take scope 'layer'."
            )
        if structures.get(self.structure).crosses_kernels:
            return self._to_sparsity_of_each_unit(model, scores, mask, target)
        pruned = dict(mask)
        for path, sparsity in match(target, mask).items():
            pruned |= self._to_one_sparsity(model, {path: scores[path]}, {path: mask[path]}, sparsity)
        return pruned

    def _to_sparsity_of_each_unit(self, model: keras.Model, scores: Scores, mask: Mask, target: Mapping) -> Mask:
        """Each entry of the structure's units to a target of its own, the kernels that share them at once."""

        def select(scores, units):
            chosen = dict(units)
            for name, sparsity in match(target, units).items():
                score, kept = {name: scores[name]}, {name: units[name]}
                pruned = scopes.get(self.scope)(score, kept, _fraction(kept, sparsity))
                chosen |= self._without_empty_layers(score, kept, pruned)
            return chosen

        return structures.get(self.structure).prune(model, scores, mask, select)

    def try_out(self, model: keras.Model, targets: Iterable[Target]) -> None:
        """Raises ValueError if the mask of a model cannot reach these targets, one after the other, by any scores."""
        mask = masking.get_mask(model)
        for target in targets:
            mask = self._rehearsed(Allocation.to_sparsity, model, mask, target)

    def try_out_fraction(self, model: keras.Model, fraction: float) -> None:
        """Raises ValueError if a fraction of the mask of a model cannot be removed, by any scores."""
        self._rehearsed(Allocation.by_fraction, model, masking.get_mask(model), fraction)

    def is_at(self, model: keras.Model, target: Target) -> bool:
        """Whether a model is as sparse as this, or sparser, already."""
        mask = masking.get_mask(model)
        try:
            return not differing(self._rehearsed(Allocation.to_sparsity, model, mask, target), mask)
        except AlreadyPassedError:
            return True

    def is_beyond(self, model: keras.Model, target: Target) -> bool:
        """Whether a model, or a kernel of it that has a target of its own, is sparser than this already."""
        try:
            self._rehearsed(Allocation.to_sparsity, model, masking.get_mask(model), target)
        except AlreadyPassedError:
            return True
        return False

    def raised(self, model: keras.Model, target: Target) -> Target:
        """The target, of each kernel where they have their own, but at least the sparsity that a model has already."""
        units = structures.get(self.structure).units(model, masking.get_mask(model))
        if self.scope == "unit":
            return target  # it leaves units that have lost more as they are
        if not isinstance(target, Mapping) and self.scope not in scopes.EACH_ON_ITS_OWN:
            return _raised(target, units)
        shares = match(target if isinstance(target, Mapping) else {"*": target}, units)
        return {glob.escape(path): _raised(share, {path: units[path]}) for path, share in shares.items()}

    def _rehearsed(self, prune: Callable[..., Mask], model: keras.Model, mask: Mask, amount: Any) -> Mask:
        """What a method of this class gives for random scores, which may empty a layer that real ones would not."""
        lenient = dataclasses.replace(self, empty_layers="warn") if self.empty_layers == "refuse" else self
        rng = np.random.default_rng(0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return prune(lenient, model, {path: rng.random(array.shape) for path, array in mask.items()}, mask, amount)

    def _to_one_sparsity(self, model: keras.Model, scores: Scores, mask: Mask, target: float) -> Mask:
        if self.scope == "unit":
            check_target(target)
            pruned = scopes.each_unit_to(scores, mask, target)
            if masks.sparsity(mask) > target and masks.kept(pruned) == masks.kept(mask):
                _check_not_passed(mask, target)
            return self._without_empty_layers(scores, mask, pruned)
        units = structures.get(self.structure).units(model, mask)
        return self.by_fraction(model, scores, mask, _fraction(units, target)) if masks.kept(units) else mask

    def _without_empty_layers(self, scores: Scores, before: Mask, after: Mask) -> Mask:
        emptied = [path for path in before if before[path].any() and not after[path].any()]
        return EMPTY_LAYERS[self.empty_layers](scores, before, after, emptied, self.scope) if emptied else after


def _fraction(units: Mask, target: float) -> float:
    """The share of what is left of `units` that has to go for a share `target` of all to be gone.

    Raises:
        ValueError: the target is out of range or already passed.
    """
    check_target(target)
    keep, remaining = masks.total(units) - masks.number_to_prune(masks.total(units), target), masks.kept(units)
    if keep > remaining:
        where = "the mask" if len(units) > 1 else f"'{next(iter(units))}'"
        raise AlreadyPassedError(
            f"Expected a target of at least the sparsity that {where} has, {masks.sparsity(units):.4f}: pruned "
            f"weights do not come back. Received: target={target}."
        )
    return (remaining - keep) / remaining if remaining else 0.0


def _raised(target: float, units: Mask) -> float:
    return max(target, masks.sparsity(units)) if masks.kept(units) else target


def match(targets: Mapping[str, float], paths: Iterable[str]) -> dict[str, float]:
    """The target of each kernel path that a pattern matches, the first such pattern counting.

    Raises:
        ValueError: a pattern matches nothing; names near it are suggested.

    >>> match({"conv_1": 0.5, "conv_*": 0.9}, ["conv_1/kernel", "conv_2/kernel", "logits/kernel"])
    {'conv_1/kernel': 0.5, 'conv_2/kernel': 0.9}
    """
    known = list(paths)
    names = {path: _names_of(path) for path in known}
    for pattern, target in targets.items():
        check_target(target)
        if not any(fnmatch.fnmatchcase(name, pattern) for both in names.values() for name in both):
            layers = [name for each in names.values() for name in each[1:]]
            raise ValueError(
                f"Expected patterns that match one of {known}. Received: {pattern!r}, which matches none."
                f"{suggestion(pattern, [*layers, *known])}"
            )
    found: dict[str, float] = {}
    for path in known:
        for pattern, target in targets.items():
            if path not in found and any(fnmatch.fnmatchcase(name, pattern) for name in names[path]):
                found[path] = float(target)
    return found


def _names_of(path: str) -> list[str]:
    """The path, and those of its layer and all around that: an LSTM is around its cell."""
    parts = path.split("/")
    return ["/".join(parts[:end]) for end in range(len(parts), 0, -1)]


def _check_not_passed(mask: Mask, target: float) -> None:
    """Raises ValueError if every unit has lost more than the target takes, beyond rounding."""
    if all(masks.sparsity({path: kept}) > target + kept.shape[-1] / kept.size for path, kept in mask.items()):
        _fraction(mask, target)


def check_target(target: float) -> None:
    """Raises ValueError unless this is a sparsity in [0, 1)."""
    if isinstance(target, bool) or not (isinstance(target, (int, float, np.floating)) and 0 <= target < 1):
        raise ValueError(f"Expected a sparsity in [0, 1), a share of all prunable weights. Received: {target!r}")


def _keep_the_best(scores: Scores, before: Mask, after: Mask, emptied: list[str], scope: str) -> Mask:
    """Every emptied layer has its best weight back; scopes with one total give up the lowest ones elsewhere."""
    best = {path: masks.keep_top({path: scores[path]}, {path: before[path]}, 1)[path] for path in emptied}
    refilled = after | best
    if scope in scopes.EACH_ON_ITS_OWN:
        return refilled
    living = [path for path in refilled if refilled[path].any()]
    if masks.kept(after) < len(living):
        raise ValueError(
            f"Expected a target that leaves each of the {len(living)} layers a weight. Received: one that leaves "
            f"{masks.kept(after)} in all. Lower it, or pass empty_layers='warn'."
        )
    guarded: Scores = {}
    for path, kept in refilled.items():
        top = masks.keep_top({path: scores[path]}, {path: kept}, min(1, int(kept.sum())))[path]
        guarded[path] = np.where(top, np.inf, scores[path])
    return masks.keep_top(guarded, refilled, masks.kept(after))


def _refuse(scores: Scores, before: Mask, after: Mask, emptied: list[str], scope: str) -> Mask:
    raise ValueError(
        f"Expected a target that leaves every layer a weight. Received: one that empties {emptied}. Lower it, take "
        "another scope, or pass empty_layers='keep', which leaves each its best weight."
    )


def _warn(scores: Scores, before: Mask, after: Mask, emptied: list[str], scope: str) -> Mask:
    warnings.warn(f"Pruning empties the layers {emptied}: nothing flows through them.", UserWarning, stacklevel=2)
    return after


EMPTY_LAYERS = {"keep": _keep_the_best, "refuse": _refuse, "warn": _warn}
