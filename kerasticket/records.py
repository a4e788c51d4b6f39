"""Frozen records that results are made of; plain numbers, so that they are written as one line of JSON."""

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


@dataclasses.dataclass(frozen=True)
class Trained:
    """One training of one ticket on real data, as a table or a figure needs it.

    Attributes:
        kind: "dense", "imp", "synthetic", "random", or "start": the ticket that a run begins with in place of dense.
        round: rounds of pruning that made the ticket.
        init_seed, data_order: seeds of the initial weights and of the SGD noise.
        sparsity: share of prunable weights pruned, in [0, 1].
        loss, accuracy: on the test split, last weights.
        train_loss: mean loss of the last training epoch, under augmentation.
        stored, decoded: images that *finding* this ticket has used, stored x epochs x rounds as the paper
            counts, and as many as the network has seen after decoding.
        seconds: wall-clock time of this training.
    """

    kind: str
    round: int
    init_seed: int
    data_order: int
    sparsity: float
    loss: float
    accuracy: float
    train_loss: float
    stored: int
    decoded: int
    seconds: float
