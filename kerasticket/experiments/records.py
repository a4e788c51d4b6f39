"""Rows of a study: plain numbers, as tables and figures need them."""

import dataclasses


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
