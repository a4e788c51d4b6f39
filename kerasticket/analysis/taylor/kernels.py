"""Rules of layers that are linear in their input and in their kernel: Dense, convolutions, EinsumDense."""

import math
import string
from collections.abc import Callable

from keras import ops

from kerasticket.analysis.taylor.jets import Jet, Lines, Rule, per_example
from kerasticket.layers.traits import equation_of


def plain(layer) -> bool:
    """Channels on the last axis, and no groups of them."""
    return getattr(layer, "data_format", "channels_last") == "channels_last" and getattr(layer, "groups", 1) == 1


def moving(first, lines: Lines) -> Jet:
    """The jet of a tensor that is linear along lines, each of which moves one channel; first: (batch, ..., lines)."""
    return Jet(first, ops.zeros_like(first), lines.channels)


def shift_start(layer, x, y, lines: Lines) -> Jet:
    """Of a bias: 1 everywhere."""
    return moving(ops.ones((*y.shape[:-1], lines.channels.shape[0]), y.dtype), lines)


def mixing(product: Callable, patches: Callable) -> Rule:
    """The rule of a layer whose kernel is (offsets of a window, channels of x, channels of y).

    Args:
        product: (layer, x, kernel) -> y without bias.
        patches: (layer, one channel of x, (lines, batch, positions)) -> (lines, batch, positions of y, offsets).
    """

    def carry(layer, x, jet: Jet) -> Jet:
        kernel = ops.convert_to_tensor(layer.kernel)
        if jet.channels is not None:
            return _from_one_channel(layer, kernel, jet, patches)
        return jet.map(lambda each: per_example(lambda z: product(layer, z, kernel), each, like=x))

    def kernel_start(layer, x, y, lines: Lines) -> Jet:
        # A kernel with one filter per line, 1 at its coordinate and 0 elsewhere, gives the channel that moves.
        shape = tuple(layer.kernel.shape[:-1])
        filters = ops.one_hot(lines.rows, math.prod(shape), axis=0, dtype=x.dtype)
        return moving(product(layer, x, ops.reshape(filters, (*shape, -1))), lines)

    starts = {"kernel": kernel_start, "bias": shift_start}
    return Rule(_with_bias(product), carry, starts=starts, covers=plain)


def _with_bias(product: Callable) -> Callable:
    def value(layer, x):
        y = product(layer, x, ops.convert_to_tensor(layer.kernel))
        return y if layer.bias is None else y + ops.convert_to_tensor(layer.bias)

    return value


def _from_one_channel(layer, kernel, jet: Jet, patches: Callable) -> Jet:
    """Where each line moves one channel, it meets only the slice of the kernel that reads it."""
    seen = ops.moveaxis(ops.take(kernel, jet.channels, axis=-2), -2, 0)
    seen = ops.reshape(seen, (seen.shape[0], -1, seen.shape[-1]))  # (lines, offsets, channels of y)

    def through(x):
        patch = patches(layer, ops.moveaxis(x, -1, 0))
        y = ops.matmul(ops.reshape(patch, (patch.shape[0], -1, patch.shape[-1])), seen)
        return ops.reshape(y, (*patch.shape[:-1], y.shape[-1]))

    return Jet(through(jet.first), through(jet.second))


def _dense(layer, x, kernel):
    return ops.matmul(x, kernel)


def _one_offset(layer, x):
    return ops.expand_dims(x, -1)


def _convolution(layer, x, kernel):
    padding = layer.padding
    if padding == "causal":
        x, padding = ops.pad(x, [(0, 0), _padding(layer, x.shape[1], 0), (0, 0)]), "valid"
    return ops.conv(x, kernel, list(layer.strides), padding, "channels_last", list(layer.dilation_rate))


def _windows(layer, x):
    for axis in range(len(layer.kernel_size)):  # the offsets along each gather behind the positions
        at, stride, dilation = axis + 2, layer.strides[axis], layer.dilation_rate[axis]
        pads = [(0, 0)] * len(x.shape)
        pads[at] = _padding(layer, x.shape[at], axis)
        x = ops.pad(x, pads)
        starts = range(0, layer.kernel_size[axis] * dilation, dilation)
        length = x.shape[at] - starts[-1]
        x = ops.stack([x[(*[slice(None)] * at, slice(start, start + length, stride))] for start in starts], axis=-1)
    return ops.reshape(x, (*x.shape[: 2 + len(layer.kernel_size)], -1))


def _padding(layer, side: int, axis: int) -> tuple[int, int]:
    """Zeros that a convolution adds before and behind an axis of positions."""
    reach, stride = (layer.kernel_size[axis] - 1) * layer.dilation_rate[axis], layer.strides[axis]
    if layer.padding == "causal":
        return reach, 0
    missing = (math.ceil(side / stride) - 1) * stride + reach + 1 - side if layer.padding == "same" else 0
    return max(missing, 0) // 2, max(missing, 0) - max(missing, 0) // 2


DENSE = mixing(_dense, _one_offset)
CONVOLUTION = mixing(_convolution, _windows)


def _einsum(layer, x, kernel):
    return ops.einsum(layer.equation, x, kernel)


def _einsum_carry(layer, x, jet: Jet) -> Jet:
    kernel, jet = ops.convert_to_tensor(layer.kernel), jet.spread(x.shape[-1])
    return jet.map(lambda each: per_example(lambda z: _einsum(layer, z, kernel), each, like=x))


def _einsum_kernel_start(layer, x, y, lines: Lines) -> Jet:
    inputs, kernel, out = equation_of(layer)
    line = next(letter for letter in string.ascii_letters if letter not in layer.equation)
    first = ops.einsum(f"{inputs},{line}{kernel}->{line}{out}", x, _directions(layer.kernel, lines, x.dtype))
    return Jet(first, ops.zeros_like(first))


def _einsum_bias_start(layer, x, y, lines: Lines) -> Jet:
    directions = _directions(layer.bias, lines, y.dtype)
    ones = [1] * (len(y.shape) - len(layer.bias.shape))
    first = ops.reshape(directions, (directions.shape[0], *ones, *layer.bias.shape)) + ops.zeros_like(y)
    return Jet(first, ops.zeros_like(first))


def _directions(weight, lines: Lines, dtype):
    """(lines, *shape of the weight): 1 at the coordinate."""
    shape = tuple(weight.shape)
    flat = ops.one_hot(lines.rows * shape[-1] + lines.channels, math.prod(shape), dtype=dtype)
    return ops.reshape(flat, (-1, *shape))


EINSUM = Rule(
    _with_bias(_einsum),
    _einsum_carry,
    starts={"kernel": _einsum_kernel_start, "bias": _einsum_bias_start},
    starts_with_one_channel=False,
)
