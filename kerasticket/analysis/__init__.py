"""The stability lab: linear paths, landscapes and curvature of a loss, and what masks have in common."""

from kerasticket.analysis.alignment import align, permute, weight_matching
from kerasticket.analysis.bezier import bezier_path
from kerasticket.analysis.connectivity import linear_path
from kerasticket.analysis.distances import distance
from kerasticket.analysis.features import layerwise_feature_connectivity, layerwise_path
from kerasticket.analysis.hessian import hessian_diagonal, hessian_trace
from kerasticket.analysis.instability import instability
from kerasticket.analysis.landscape import loss_plane
from kerasticket.analysis.magnitudes import pruned_magnitude_distance, pruned_magnitudes
from kerasticket.analysis.mask_statistics import layer_sparsity, layer_sparsity_difference, mask_overlap
from kerasticket.analysis.objective import Objective
from kerasticket.analysis.results import (
    Curve,
    Diagonal,
    DiagonalStatistics,
    Instability,
    Pair,
    Surface,
    Trace,
)
from kerasticket.analysis.spectrum import spectral_density, top_eigenvalues
from kerasticket.masks import DeadUnits, dead_units

__all__ = [
    "Curve",
    "DeadUnits",
    "Diagonal",
    "DiagonalStatistics",
    "Instability",
    "Objective",
    "Pair",
    "Surface",
    "Trace",
    "align",
    "bezier_path",
    "dead_units",
    "distance",
    "hessian_diagonal",
    "hessian_trace",
    "instability",
    "layer_sparsity",
    "layer_sparsity_difference",
    "layerwise_feature_connectivity",
    "layerwise_path",
    "linear_path",
    "loss_plane",
    "mask_overlap",
    "permute",
    "pruned_magnitude_distance",
    "pruned_magnitudes",
    "spectral_density",
    "top_eigenvalues",
    "weight_matching",
]
