"""The masked Keras layers: two lines each, and what is known of them in `traits.py`."""

from collections.abc import Callable
from typing import TypeVar

import keras
from keras import layers

from kerasticket.layers.composite import MaskedComposite
from kerasticket.layers.convolution import TrainingConv2D
from kerasticket.layers.masked import MASKED, Masked

Kind = TypeVar("Kind", bound=type)


def _of(plain: type[layers.Layer]) -> Callable[[Kind], Kind]:
    """Registers the masked class of a Keras layer, here and with Keras."""

    def register(kind: Kind) -> Kind:
        MASKED[plain] = kind
        return keras.saving.register_keras_serializable(package="kerasticket")(kind)

    return register


@_of(layers.Dense)
class MaskedDense(Masked, layers.Dense):
    """`keras.layers.Dense` with a mask on its kernel."""


@_of(layers.EinsumDense)
class MaskedEinsumDense(Masked, layers.EinsumDense):
    """`keras.layers.EinsumDense` with a mask on its kernel."""


@_of(layers.Conv1D)
class MaskedConv1D(Masked, layers.Conv1D):
    """`keras.layers.Conv1D` with a mask on its kernel."""


@_of(layers.Conv2D)
class MaskedConv2D(Masked, TrainingConv2D):
    """`keras.layers.Conv2D` with a mask on its kernel, which trains by `fused.convolution`."""


@_of(layers.Conv3D)
class MaskedConv3D(Masked, layers.Conv3D):
    """`keras.layers.Conv3D` with a mask on its kernel."""


@_of(layers.Conv1DTranspose)
class MaskedConv1DTranspose(Masked, layers.Conv1DTranspose):
    """`keras.layers.Conv1DTranspose` with a mask on its kernel."""


@_of(layers.Conv2DTranspose)
class MaskedConv2DTranspose(Masked, layers.Conv2DTranspose):
    """`keras.layers.Conv2DTranspose` with a mask on its kernel."""


@_of(layers.Conv3DTranspose)
class MaskedConv3DTranspose(Masked, layers.Conv3DTranspose):
    """`keras.layers.Conv3DTranspose` with a mask on its kernel."""


@_of(layers.DepthwiseConv1D)
class MaskedDepthwiseConv1D(Masked, layers.DepthwiseConv1D):
    """`keras.layers.DepthwiseConv1D` with a mask on its kernel."""


@_of(layers.DepthwiseConv2D)
class MaskedDepthwiseConv2D(Masked, layers.DepthwiseConv2D):
    """`keras.layers.DepthwiseConv2D` with a mask on its kernel."""


@_of(layers.SeparableConv1D)
class MaskedSeparableConv1D(Masked, layers.SeparableConv1D):
    """`keras.layers.SeparableConv1D` with a mask on its pointwise kernel, and on the depthwise one if asked."""


@_of(layers.SeparableConv2D)
class MaskedSeparableConv2D(Masked, layers.SeparableConv2D):
    """`keras.layers.SeparableConv2D` with a mask on its pointwise kernel, and on the depthwise one if asked."""


@_of(layers.Embedding)
class MaskedEmbedding(Masked, layers.Embedding):
    """`keras.layers.Embedding` with a mask on its embeddings."""


@_of(layers.SimpleRNNCell)
class MaskedSimpleRNNCell(Masked, layers.SimpleRNNCell):
    """`keras.layers.SimpleRNNCell` with masks on its two kernels."""


@_of(layers.GRUCell)
class MaskedGRUCell(Masked, layers.GRUCell):
    """`keras.layers.GRUCell` with masks on its two kernels."""


@_of(layers.LSTMCell)
class MaskedLSTMCell(Masked, layers.LSTMCell):
    """`keras.layers.LSTMCell` with masks on its two kernels."""


@_of(layers.SimpleRNN)
class MaskedSimpleRNN(MaskedComposite, layers.SimpleRNN):
    """`keras.layers.SimpleRNN` around a masked cell."""


@_of(layers.GRU)
class MaskedGRU(MaskedComposite, layers.GRU):
    """`keras.layers.GRU` around a masked cell."""


@_of(layers.LSTM)
class MaskedLSTM(MaskedComposite, layers.LSTM):
    """`keras.layers.LSTM` around a masked cell."""


@_of(layers.MultiHeadAttention)
class MaskedMultiHeadAttention(MaskedComposite, layers.MultiHeadAttention):
    """`keras.layers.MultiHeadAttention` with masks on the kernels of its projections."""


@_of(layers.GroupQueryAttention)
class MaskedGroupQueryAttention(MaskedComposite, layers.GroupQueryAttention):
    """`keras.layers.GroupQueryAttention` with masks on the kernels of its projections."""
