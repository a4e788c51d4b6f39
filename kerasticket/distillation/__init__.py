"""Dataset distillation: methods that make a `DistilledSet`, and the measure of how good one is."""

from kerasticket.distillation.distribution import DistributionMatching
from kerasticket.distillation.evaluation import evaluate
from kerasticket.distillation.matching import DISTANCES, GradientMatching
from kerasticket.distillation.selection import SELECTORS, Selection

METHODS = {"idc": GradientMatching, "dm": DistributionMatching, "selection": Selection}

__all__ = [
    "DISTANCES",
    "METHODS",
    "SELECTORS",
    "DistributionMatching",
    "GradientMatching",
    "Selection",
    "evaluate",
]
