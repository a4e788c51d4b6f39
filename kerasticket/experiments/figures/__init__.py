"""One function per figure: results in, matplotlib Figure out; draws from plain rows, trains nothing."""

from kerasticket.experiments.figures.augmentations import augmentations
from kerasticket.experiments.figures.cost import growth, growth_slope
from kerasticket.experiments.figures.criteria import criterion_curves
from kerasticket.experiments.figures.curvature import diagonals
from kerasticket.experiments.figures.images import image_grid
from kerasticket.experiments.figures.landscape import landscapes
from kerasticket.experiments.figures.masks import layer_sparsity, mask_independence, pruned_magnitudes
from kerasticket.experiments.figures.performance import performance
from kerasticket.experiments.figures.stability import linear_paths, stability_ratios
from kerasticket.experiments.figures.style import DASHES, KINDS, STYLES, mean_and_std
from kerasticket.experiments.figures.sweep import sweep

__all__ = [
    "DASHES",
    "KINDS",
    "STYLES",
    "augmentations",
    "criterion_curves",
    "diagonals",
    "growth",
    "growth_slope",
    "image_grid",
    "landscapes",
    "layer_sparsity",
    "linear_paths",
    "mask_independence",
    "mean_and_std",
    "performance",
    "pruned_magnitudes",
    "stability_ratios",
    "sweep",
]
