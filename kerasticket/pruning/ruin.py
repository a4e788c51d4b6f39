"""What keeps structured pruning from ruining single layers: a share that each keeps, and a warning."""

import math
import warnings

import numpy as np

from kerasticket import masks
from kerasticket.masks import Mask, Scores

RUIN = 0.95  # of its filters, channels or blocks, which a layer seldom loses on purpose


def with_minimum(scores: Scores, before: Mask, after: Mask, minimum: float) -> Mask:
    """The mask with as many kept in all, but in each layer at least a share `minimum` of its groups, pruned ones too.

    Rounded up, or down where there are not so many for all. Where `after` leaves a smaller share of all layers
    together, that is what each keeps at least. The best of a layer come back in place of the lowest elsewhere.

    >>> scores = {"narrow": np.array([5.0, 6.0]), "wide": np.array([1.0, 3.0, 2.0, 1.0])}
    >>> whole = {"narrow": np.ones(2, bool), "wide": np.ones(4, bool)}
    >>> after = {"narrow": np.ones(2, bool), "wide": np.zeros(4, bool)}
    >>> {name: kept.tolist() for name, kept in with_minimum(scores, whole, after, 0.2).items()}
    {'narrow': [False, True], 'wide': [False, True, False, False]}
    """
    left = masks.kept(after)
    share = min(minimum, left / masks.total(after))
    counts = {name: math.ceil(share * kept.size) for name, kept in before.items()}
    if sum(counts.values()) > left:
        counts = {name: int(share * kept.size) for name, kept in before.items()}
    short = [name for name, count in counts.items() if after[name].sum() < min(count, before[name].sum())]
    if not short:
        return after
    guarded, refilled = dict(scores), dict(after)
    for name, count in counts.items():
        kept = before[name]
        best = masks.keep_top({name: scores[name]}, {name: kept}, min(count, int(kept.sum())))[name]
        guarded[name], refilled[name] = np.where(best, np.inf, scores[name]), after[name] | best
    return masks.keep_top(guarded, refilled, left)


def warn_of_ruins(before: Mask, after: Mask, stacklevel: int = 2) -> None:
    """Warns of layers that only now have lost nearly all of their groups, unless so have all together."""
    ruined = {
        name: f"{np.count_nonzero(kept)} of {kept.size} left"
        for name, kept in after.items()
        if _lost(kept) > RUIN >= _lost(before[name])
    }
    if ruined and masks.sparsity(after) <= RUIN:
        warnings.warn(
            f"Pruning takes over {RUIN:.0%} of these layers, and {masks.sparsity(after):.1%} of all: {ruined}. Take "
            "scope='layer' or a dict of targets, leave these layers without masks, or, of coupled channels, pass "
            "structure=CoupledChannels(minimum=...) with a larger share that each layer keeps.",
            UserWarning,
            stacklevel=stacklevel + 1,
        )


def _lost(kept: np.ndarray) -> float:
    return 1 - np.count_nonzero(kept) / kept.size
