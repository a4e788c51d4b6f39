"""The callbacks that prune while `fit` runs: `kt.callbacks`. Schedules and structures for them are in `kt.pruning`."""

from kerasticket.pruning.at_initialization import PruneAtInitialization
from kerasticket.pruning.gradual import GradualPruning
from kerasticket.pruning.iterative import IterativeMagnitudePruning
from kerasticket.pruning.tensorboard import SparsityTensorBoard

__all__ = [
    "GradualPruning",
    "IterativeMagnitudePruning",
    "PruneAtInitialization",
    "SparsityTensorBoard",
]
