"""Scopes say where a fraction of the remaining weights is taken from: one function each, exact counts."""

from collections.abc import Callable

from kerasticket import masks
from kerasticket.masks import Mask, Scores

Scope = Callable[[Scores, Mask, float], Mask]


def over_all(scores: Scores, mask: Mask, fraction: float) -> Mask:
    """Removes the fraction of all remaining weights with the lowest scores, whichever layer they are in."""
    remaining = masks.kept(mask)
    return masks.keep_top(scores, mask, remaining - masks.number_to_prune(remaining, fraction))


def in_each_layer(scores: Scores, mask: Mask, fraction: float) -> Mask:
    """Removes the fraction of each layer's remaining weights."""
    pruned: Mask = {}
    for path, array in mask.items():
        pruned |= over_all({path: scores[path]}, {path: array}, fraction)
    return pruned


SCOPES: dict[str, Scope] = {"global": over_all, "layer": in_each_layer}


def get(scope: str) -> Scope:
    """The scope of that name; raises ValueError with the known ones if there is none."""
    if scope not in SCOPES:
        raise ValueError(f"Expected one of {sorted(SCOPES)}. Received: scope={scope!r}.")
    return SCOPES[scope]
