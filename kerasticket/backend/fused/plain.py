"""The plain forms: what each fused operation computes, in `keras.ops`, on every backend."""

import math

from keras import ops

from kerasticket.backend.precision import at_least_float32


def instance_norm(x, gamma, beta, epsilon: float, relu: bool, pool: int):
    y, _, _ = _norm(x, gamma, beta, epsilon, tuple(range(1, len(x.shape) - 1)))
    if relu:
        y = ops.relu(y)
    if pool > 1:
        y = ops.average_pool(y, pool, strides=pool, data_format="channels_last")
    return ops.cast(y, x.dtype)


def batch_norm(x, gamma, beta, epsilon: float):
    y, mean, variance = _norm(x, gamma, beta, epsilon, tuple(range(len(x.shape) - 1)))
    channels = (x.shape[-1],)
    return ops.cast(y, x.dtype), ops.reshape(mean, channels), ops.reshape(variance, channels)


def _norm(x, gamma, beta, epsilon: float, axes: tuple[int, ...]):
    x = at_least_float32(x)
    # Two passes: mean(x^2) - mean(x)^2 loses its digits where |mean| >> std, and needs a clip at 0 that cuts
    # derivatives where rounding made the variance negative.
    mean = _mean(x, axes)
    centered = x - mean
    variance = _mean(ops.square(centered), axes)
    y = centered * (ops.rsqrt(variance + epsilon) * gamma) + beta
    return y, mean, variance


def _mean(x, axes: tuple[int, ...]):
    # ops.mean computes in float32 on JAX and torch even where x is float64.
    shape = ops.shape(x)
    count = math.prod(shape[axis] for axis in axes)
    return ops.sum(x, axis=axes, keepdims=True) / ops.cast(count, x.dtype)
