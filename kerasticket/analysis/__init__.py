"""The stability lab: linear paths, landscapes and curvature of a loss, and what masks have in common."""

from kerasticket.analysis.connectivity import linear_path
from kerasticket.analysis.instability import instability
from kerasticket.analysis.objective import Objective

__all__ = [
    "Objective",
    "instability",
    "linear_path",
]
