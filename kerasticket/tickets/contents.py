"""What a ticket holds: the base of `Ticket`, which its controls share."""

import dataclasses

import keras
import numpy as np

from kerasticket import masks
from kerasticket.masks import Mask
from kerasticket.params import Params


@dataclasses.dataclass(frozen=True)
class Contents:
    """The fields of a `Ticket`, which says what each of them is, and what follows from them alone."""

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
