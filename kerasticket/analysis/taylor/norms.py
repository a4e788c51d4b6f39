"""Rules of normalization layers: InstanceNormalization, and BatchNormalization, which is linear in inference mode."""

import math
from collections.abc import Callable

from keras import ops

from kerasticket.analysis.taylor.jets import Jet, Lines, Rule, per_example
from kerasticket.analysis.taylor.kernels import moving, shift_start


def _scale_and_shift(layer, x):
    gamma = ops.ones(x.shape[-1:], x.dtype) if layer.gamma is None else ops.convert_to_tensor(layer.gamma)
    beta = ops.zeros(x.shape[-1:], x.dtype) if layer.beta is None else ops.convert_to_tensor(layer.beta)
    return gamma, beta


def _batch_norm(layer, x):
    """x with mean 0 and variance 1, as the moving statistics have it, and 1 / std."""
    s = ops.rsqrt(ops.convert_to_tensor(layer.moving_variance) + layer.epsilon)
    return (x - ops.convert_to_tensor(layer.moving_mean)) * s, s


def _batch_norm_value(layer, x):
    gamma, beta = _scale_and_shift(layer, x)
    return _batch_norm(layer, x)[0] * gamma + beta


def _batch_norm_carry(layer, x, jet: Jet) -> Jet:
    gamma, _ = _scale_and_shift(layer, x)
    scale = jet.of(gamma * _batch_norm(layer, x)[1])
    return jet.map(lambda each: each * scale)


def _batch_norm_gamma_start(layer, x, y, lines: Lines) -> Jet:
    return moving(ops.take(_batch_norm(layer, x)[0], lines.channels, axis=-1), lines)


def _on_last_axis(layer) -> bool:
    return layer.axis in (-1, layer.input_spec.ndim - 1)


BATCH_NORM = Rule(
    _batch_norm_value,
    _batch_norm_carry,
    channelwise=True,
    starts={"gamma": _batch_norm_gamma_start, "beta": shift_start},
    covers=_on_last_axis,
)


def _mean(x, like):
    """Over the axes of positions; not ops.mean, which may drop to float32."""
    axes = tuple(range(1 - len(like.shape), -1))
    return ops.sum(x, axis=axes, keepdims=True) / math.prod(x.shape[axis] for axis in axes)


def _instance_norm(layer, x, gamma, beta) -> tuple:
    """Centered x, 1 / std, and the ReLU and the pooling behind the norm as one linear function."""
    c = x - _mean(x, x)
    s = ops.rsqrt(_mean(c * c, x) + layer.epsilon)
    kept = ops.cast(c * s * gamma + beta > 0, x.dtype) if layer.relu else ops.ones((), x.dtype)

    def behind(z):
        z = z * kept
        return per_example(lambda each: _pool(layer, each), z, like=x) if layer.pool_size > 1 else z

    return c, s, behind


def _pool(layer, x):
    return ops.average_pool(x, layer.pool_size, layer.pool_size, data_format="channels_last")


def _instance_norm_value(layer, x):
    gamma, beta = _scale_and_shift(layer, x)
    c, s, behind = _instance_norm(layer, x, gamma, beta)
    return behind(c * s * gamma + beta)


def _instance_norm_carry(layer, x, jet: Jet) -> Jet:
    gamma, beta = (jet.of(weight) for weight in _scale_and_shift(layer, x))
    x = jet.of(x)
    c, s, behind = _instance_norm(layer, x, gamma, beta)
    c1, c2 = jet.first - _mean(jet.first, x), jet.second - _mean(jet.second, x)
    # The normalized x is c s with s = (v + epsilon)^(-1/2), where v is the mean of c^2.
    v1 = 2 * _mean(c * c1, x)
    v2 = 2 * (_mean(c1 * c1, x) + _mean(c * c2, x))
    s1 = -v1 / 2 * s**3
    s2 = 3 / 4 * v1 * v1 * s**5 - v2 / 2 * s**3
    c, c1, c2 = behind(c), behind(c1), behind(c2)  # before they are multiplied: pooled tensors are smaller
    return Jet(gamma * (s * c1 + s1 * c), gamma * (s * c2 + 2 * s1 * c1 + s2 * c), jet.channels)


def _instance_norm_start(direction: Callable) -> Callable:
    def start(layer, x, y, lines: Lines) -> Jet:
        c, s, behind = _instance_norm(layer, x, *_scale_and_shift(layer, x))
        return moving(ops.take(behind(direction(c * s)), lines.channels, axis=-1), lines)

    return start


INSTANCE_NORM = Rule(
    _instance_norm_value,
    _instance_norm_carry,
    channelwise=True,
    starts={"gamma": _instance_norm_start(lambda normal: normal), "beta": _instance_norm_start(ops.ones_like)},
)
