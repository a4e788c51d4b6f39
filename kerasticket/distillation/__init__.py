"""Dataset distillation: methods that make a `DistilledSet`, and the measure of how good one is."""

from kerasticket.distillation.evaluation import evaluate
from kerasticket.distillation.matching import DISTANCES, GradientMatching

__all__ = ["DISTANCES", "GradientMatching", "evaluate"]
