"""The callbacks that prune, and what they are given: `kt.callbacks`."""

from kerasticket.pruning.at_initialization import PruneAtInitialization
from kerasticket.pruning.coupled import CoupledChannels
from kerasticket.pruning.gradual import GradualPruning
from kerasticket.pruning.iterative import IterativeMagnitudePruning
from kerasticket.pruning.movement import Movement
from kerasticket.pruning.schedules import Schedule
from kerasticket.pruning.structures import Blocks, Channels, Filters, NOfM
from kerasticket.pruning.tensorboard import SparsityTensorBoard

__all__ = [
    "Blocks",
    "Channels",
    "CoupledChannels",
    "Filters",
    "GradualPruning",
    "IterativeMagnitudePruning",
    "Movement",
    "NOfM",
    "PruneAtInitialization",
    "Schedule",
    "SparsityTensorBoard",
]
