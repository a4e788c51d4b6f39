"""What a ticket holds: the base of `Ticket`, which its controls share."""

import dataclasses

import keras
import numpy as np

from kerasticket import masks
from kerasticket.masks import Mask
from kerasticket.params import Params


@dataclasses.dataclass(frozen=True)
class Contents:
    """A subnetwork at its rewind point.

    Attributes:
        params: weights, statistics and seed states; pruned weights are exactly zero.
        mask: which entries of each masked weight are kept.
        removed_in: like `mask`, the round that removed each weight, 0 where it is kept.
        architecture: the masked network as Keras serializes it, as JSON; None for models that cannot be.
        optimizer: state of the optimizer at the rewind point, slots times mask; empty = fresh.
        rewind_epoch: epochs of training behind `params`; 0 = initialization.
        stages: how the mask came about, one dict per call of a pruning method, in order.
        template: what `model` copies: a masked model with all that no config tells, vocabularies, functions, flags.
    """

    params: Params
    mask: Mask
    removed_in: dict[str, np.ndarray]
    architecture: str | None
    optimizer: Params = dataclasses.field(default_factory=dict)
    rewind_epoch: int = 0
    stages: tuple[dict, ...] = ()
    template: keras.Model | None = dataclasses.field(default=None, compare=False, repr=False)

    @property
    def round(self) -> int:
        """Rounds of pruning behind the mask, over all stages."""
        return max((stage["last_round"] for stage in self.stages), default=0)

    @property
    def sparsity(self) -> float:
        """Share of the prunable weights that are pruned."""
        return masks.sparsity(self.mask)

    @property
    def kept(self) -> int:
        return masks.kept(self.mask)

    @property
    def total(self) -> int:
        return masks.total(self.mask)
