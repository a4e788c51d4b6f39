"""Networks with moving statistics."""

import keras
from keras import layers

import kerasticket as kt


def norm_net() -> keras.Model:
    """Batch normalization of the inputs themselves, then another one."""
    inputs = keras.Input((6, 6, 3), name="images")
    x = layers.BatchNormalization(name="first")(inputs)
    x = layers.Conv2D(4, 3, name="conv")(x)
    x = kt.layers.BatchNormalization(name="second")(x)
    return keras.Model(inputs, layers.Dense(5, name="out")(layers.GlobalAveragePooling2D(name="pool")(x)), name="norms")
