"""Normalization layers that are fast, and whose second derivatives are right on every backend."""

from typing import Any

import keras
from keras import ops

from kerasticket.backend import fused


@keras.saving.register_keras_serializable(package="kerasticket")
class InstanceNormalization(keras.layers.Layer):
    """Normalizes each channel of each example over all positions, then scales and shifts it.

    `y = gamma * (x - mean) / sqrt(variance + epsilon) + beta`, with the biased variance, as
    `torch.nn.InstanceNorm*d(affine=True)` and `torch.nn.GroupNorm(channels, channels)` (Ulyanov et al. 2016,
    arXiv 1607.08022). `keras.layers.GroupNormalization(groups=-1)` is the same function, but on TensorFlow
    takes its variance around `stop_gradient(mean)`, so that Hessians and gradient matching come out wrong
    there.

    Input and output: `(batch, ..., channels)` with one to three axes of positions between, channels last.
    Statistics are computed in float32 or better, and the result is cast to the layer's compute dtype.

    Args:
        epsilon: added to the variance; 1e-5 as in torch (Keras' own default is 1e-3).
        center: add a trainable `beta`, which starts at 0.
        scale: multiply by a trainable `gamma`, which starts at 1.
        relu: cut negative values afterwards. In one operation with the norm, as is the pooling, because
            each of these alone costs as much time as reading and writing the input does.
        pool_size: side of the average pooling behind it all ("valid"); 1: none.

    Raises:
        ValueError: `epsilon` is not positive, `pool_size` is below 1, or the input has no axis of positions
            or unknown channels.

    Example:

    >>> images = keras.random.normal((2, 8, 8, 3))
    >>> tuple(InstanceNormalization(name="norm")(images).shape)
    (2, 8, 8, 3)
    """

    def __init__(
        self,
        epsilon: float = 1e-5,
        center: bool = True,
        scale: bool = True,
        relu: bool = False,
        pool_size: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not epsilon > 0:
            raise ValueError(f"Expected epsilon > 0, such as 1e-5. Received: epsilon={epsilon}")
        if not (isinstance(pool_size, int) and pool_size >= 1):
            raise ValueError(f"Expected pool_size >= 1, a whole number. Received: pool_size={pool_size}")
        self.epsilon = epsilon
        self.center = center
        self.scale = scale
        self.relu = relu
        self.pool_size = pool_size
        self.supports_masking = pool_size == 1  # a mask has a value for each position

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        if not 3 <= len(input_shape) <= 5 or input_shape[-1] is None:
            raise ValueError(
                "Expected an input of shape (batch, positions, channels) with 1 to 3 axes of positions, and "
                f"a known number of channels; reshape the input first. Received: input_shape={input_shape}"
            )
        self.gamma = self._channel_weight("gamma", "ones", input_shape[-1]) if self.scale else None
        self.beta = self._channel_weight("beta", "zeros", input_shape[-1]) if self.center else None
        self.built = True

    def _channel_weight(self, name: str, initializer: str, channels: int) -> keras.Variable:
        # Not autocast: half-precision copies would lose what float32 statistics gain.
        return self.add_weight(shape=(channels,), initializer=initializer, name=name, autocast=False)

    def call(self, inputs):
        inputs = ops.cast(inputs, self.compute_dtype)  # bytes, for instance
        gamma, beta = _scale_and_shift(self, inputs)
        outputs = fused.instance_norm(inputs, gamma, beta, epsilon=self.epsilon, relu=self.relu, pool=self.pool_size)
        return ops.cast(outputs, self.compute_dtype)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        sides = (None if side is None else side // self.pool_size for side in input_shape[1:-1])
        return (input_shape[0], *sides, input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        options = ("epsilon", "center", "scale", "relu", "pool_size")
        return super().get_config() | {name: getattr(self, name) for name in options}


@keras.saving.register_keras_serializable(package="kerasticket")
class BatchNormalization(keras.layers.BatchNormalization):
    """`keras.layers.BatchNormalization` with the same weights and values, faster in training on TensorFlow.

    There its second derivatives are right in training too, where Keras' own take the variance around
    `stop_gradient(mean)`.

    Input and output: `(batch, ..., channels)`, channels last.

    Example:

    >>> tuple(BatchNormalization(name="norm")(keras.random.normal((2, 8, 8, 3))).shape)
    (2, 8, 8, 3)
    """

    def call(self, inputs, training=None, mask=None):
        ours = self.axis in (-1, len(inputs.shape) - 1) and mask is None and not self.synchronized
        ours = ours and not getattr(self, "renorm", False) and "float" in keras.backend.standardize_dtype(inputs.dtype)
        if not (training and self.trainable and ours):
            return super().call(inputs, training=training, mask=mask)
        gamma, beta = _scale_and_shift(self, inputs)
        outputs, *statistics = fused.batch_norm(inputs, gamma, beta, epsilon=self.epsilon)
        for moving, new in zip((self.moving_mean, self.moving_variance), statistics, strict=True):
            old = ops.cast(moving, new.dtype)
            moving.assign(ops.cast(old * self.momentum + new * (1 - self.momentum), moving.dtype))
        return ops.cast(outputs, self.compute_dtype)


def _scale_and_shift(layer, inputs):
    """A layer's gamma and beta as tensors, or the numbers that change nothing."""
    channels = inputs.shape[-1:]
    gamma = ops.ones(channels) if layer.gamma is None else ops.convert_to_tensor(layer.gamma)
    beta = ops.zeros(channels) if layer.beta is None else ops.convert_to_tensor(layer.beta)
    return gamma, beta
