"""Small networks of each layer whose derivatives are tested."""

from keras import layers

import kerasticket as kt
from kerasticket.layers.normalization import InstanceNormalization

LAYERS = {
    "dense": (lambda: layers.Dense(4), (5,)),
    "einsum_dense": (lambda: layers.EinsumDense("abc,cd->abd", (3, 4), bias_axes="d"), (3, 5)),
    "conv1d": (lambda: layers.Conv1D(3, 3, padding="same"), (6, 2)),
    "conv2d": (lambda: layers.Conv2D(3, 3, padding="same"), (6, 6, 2)),
    "conv2d_strided": (lambda: layers.Conv2D(3, 3, strides=2), (7, 7, 2)),
    "conv3d": (lambda: layers.Conv3D(2, 2), (4, 4, 4, 2)),
    "instance_normalization_3d": (InstanceNormalization, (6, 2)),
    "instance_normalization_4d": (InstanceNormalization, (5, 5, 2)),
    "instance_normalization_5d": (InstanceNormalization, (3, 3, 3, 2)),
    "batch_normalization": (layers.BatchNormalization, (5, 5, 2)),
    "average_pooling": (lambda: layers.AveragePooling2D(2), (6, 6, 2)),
    "max_pooling": (lambda: layers.MaxPooling2D(3, strides=2), (7, 7, 2)),
    "global_average_pooling": (layers.GlobalAveragePooling2D, (5, 5, 2)),
}


MASKED_LAYERS = {
    "masked_dense": (lambda: kt.layers.MaskedDense(4), (5,)),
    "masked_einsum_dense": (lambda: kt.layers.MaskedEinsumDense("abc,cd->abd", (3, 4), bias_axes="d"), (3, 5)),
    "masked_conv1d": (lambda: kt.layers.MaskedConv1D(3, 3, padding="same"), (6, 2)),
    "masked_conv2d": (lambda: kt.layers.MaskedConv2D(3, 3, strides=2), (7, 7, 2)),
    "masked_conv3d": (lambda: kt.layers.MaskedConv3D(2, 2), (4, 4, 4, 2)),
}
