"""Convolutions that train by `fused.convolution`."""

import keras
from keras import layers, ops

from kerasticket.backend import fused
from kerasticket.backend.keras_internals import all_layers
from kerasticket.layers.class_swap import swap_class


class TrainingConv2D(layers.Conv2D):
    """`keras.layers.Conv2D` that trains by `fused.convolution` where it is of that kind: 3x3, stride 1, padding "same".

    Elsewhere its outputs are Keras' to the bit.
    """

    def call(self, inputs, training=None):
        settings = (self.kernel_size, self.strides, self.dilation_rate, self.groups, self.padding, self.data_format)
        if not training or settings != ((3, 3), (1, 1), (1, 1), 1, "same", "channels_last"):
            return super().call(inputs)
        outputs = fused.convolution(inputs, self.kernel)
        outputs = ops.add(outputs, ops.reshape(self.bias, (1, 1, 1, -1))) if self.use_bias else outputs
        return outputs if self.activation is None else self.activation(outputs)


def speed_up(model: keras.Model) -> keras.Model:
    """Makes Keras' own convolutions in a model `TrainingConv2D`, in place, and returns it.

    For models that are neither masked nor saved afterwards: nothing but training knows the class.
    """
    for layer in all_layers(model):
        if type(layer) is layers.Conv2D:
            swap_class(layer, TrainingConv2D)
    return model
