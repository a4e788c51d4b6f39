"""Keras layers of this package, usable by hand in any Keras model."""

from kerasticket.layers.masked import (
    MASKED,
    Masked,
    MaskedConv1D,
    MaskedConv2D,
    MaskedConv3D,
    MaskedDense,
    MaskedEinsumDense,
)
from kerasticket.layers.normalization import BatchNormalization, InstanceNormalization

__all__ = [
    "MASKED",
    "BatchNormalization",
    "InstanceNormalization",
    "Masked",
    "MaskedConv1D",
    "MaskedConv2D",
    "MaskedConv3D",
    "MaskedDense",
    "MaskedEinsumDense",
]
