"""What one round of iterative pruning reports."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Round:
    """One training inside iterative pruning; index 0 is the dense network.

    Attributes:
        index: rounds of pruning before this training, counted from the dense network.
        sparsity: share of the prunable weights that were pruned while this training ran, in [0, 1].
        kept, total: prunable weights left, and all of them.
        loss, accuracy: training metrics of the last epoch.
        seconds: wall-clock time of the training, pruning and rewinding; files and hooks apart.
        evaluation: what the per-round evaluation hook returned, e.g. `{"accuracy": .97}`.
    """

    index: int
    sparsity: float
    kept: int
    total: int
    loss: float
    accuracy: float
    seconds: float
    evaluation: dict[str, float] = dataclasses.field(default_factory=dict)
