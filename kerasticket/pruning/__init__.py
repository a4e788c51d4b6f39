"""Pruning: what decides which weights go, and when: `kt.pruning`. The callbacks that do it are in `kt.callbacks`."""

from kerasticket.pruning import criteria
from kerasticket.pruning.coupled import CoupledChannels
from kerasticket.pruning.movement import Movement
from kerasticket.pruning.round import Round
from kerasticket.pruning.schedules import Schedule
from kerasticket.pruning.structures import Blocks, Channels, Filters, NOfM

__all__ = [
    "Blocks",
    "Channels",
    "CoupledChannels",
    "Filters",
    "Movement",
    "NOfM",
    "Round",
    "Schedule",
    "criteria",
]
