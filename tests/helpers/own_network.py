"""A network of the caller's, as `--model own_network:small` names it."""

import keras


def small(input_shape, num_classes, seed):
    """One convolution, and features of four channels."""
    start = keras.initializers.GlorotUniform(seed=seed)
    inputs = keras.Input(input_shape)
    x = keras.layers.Conv2D(4, 3, strides=2, activation="softplus", kernel_initializer=start)(inputs)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(num_classes, kernel_initializer=start)(x))
