"""Dataset distillation: methods that make a `DistilledSet`, and the measure of how good one is."""

from kerasticket.distillation.condensation import dc, dsa
from kerasticket.distillation.distribution import DistributionMatching
from kerasticket.distillation.evaluation import evaluate
from kerasticket.distillation.experts import record_experts
from kerasticket.distillation.matching import GradientMatching
from kerasticket.distillation.method import Method
from kerasticket.distillation.objectives import DISTANCES, OBJECTIVES
from kerasticket.distillation.patches import RealisticPatches
from kerasticket.distillation.selection import SELECTORS, Selection
from kerasticket.distillation.soft_labels import soft_labels, trained_teacher
from kerasticket.distillation.trajectory import TrajectoryMatching

METHODS: dict[str, type[Method]] = {
    "idc": GradientMatching,
    "dm": DistributionMatching,
    "mtt": TrajectoryMatching,
    "rded": RealisticPatches,
    "selection": Selection,
}

__all__ = [
    "DISTANCES",
    "METHODS",
    "OBJECTIVES",
    "SELECTORS",
    "DistributionMatching",
    "GradientMatching",
    "Method",
    "RealisticPatches",
    "Selection",
    "TrajectoryMatching",
    "dc",
    "dsa",
    "evaluate",
    "record_experts",
    "soft_labels",
    "trained_teacher",
]
