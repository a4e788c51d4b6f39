"""Fast forms for TensorFlow on CPUs: clusters of element-wise work that XLA compiles to one loop each.

XLA's CPU loops run at memory speed if they are purely element-wise or plain sums, and 5 to 10 times slower
where a sum is fused with what it sums (TensorFlow 2.21). So sums are written as element-wise additions of
slices, whose few partial results the next cluster adds up; each cluster is a function compiled by itself, as
XLA would otherwise fuse across them. Convolutions and matrix products are none of its business: they stay with oneDNN.
"""

import functools
from collections.abc import Hashable
from typing import Any, NamedTuple

import tensorflow as tf

from kerasticket.backend.fused import plain

SLICES, MOST = 8, 15  # that are added in one loop; of more than 15, XLA stores converted terms first


class Form(NamedTuple):
    """What is fixed when a cluster is traced."""

    epsilon: float
    relu: bool
    pool: int


def instance_norm(x, gamma, beta, epsilon: float, relu: bool, pool: int):
    """x is (batch, height, width, channels), pool divides height and width; gamma and beta are as wide as sums."""
    form = Form(epsilon, relu, pool)

    # TensorFlow keeps each custom gradient until the process ends, and with it the graph that it was traced in.
    @tf.custom_gradient
    def forward(x, gamma, beta):
        y, mean, scale = _apply(x, _pairs(_partial_moments(x)), gamma, beta, form)

        def pull_back(slope):
            return _instance_norm_gradient(x, gamma, beta, tf.ensure_shape(slope, y.shape), mean, scale, form)

        return y, pull_back

    return forward(x, gamma, beta)


def _instance_norm_gradient(x, gamma, beta, slope, mean, scale, form: Form):
    """Gradients for x, gamma and beta, as a function of all four that can be differentiated again."""

    @tf.custom_gradient
    def backward(x, gamma, beta, slope):
        parts = _pairs(_partial_gradients(x, gamma, beta, slope, mean, scale, form))
        gradients = _gradients(x, gamma, beta, slope, mean, scale, parts, form)

        def pull_back(*vectors):
            return _second_derivative((x, gamma, beta, slope), vectors, mean, scale, parts, form)

        return gradients, pull_back

    return backward(x, gamma, beta, slope)


def _second_derivative(arguments, vectors, mean, scale, parts, form: Form):
    """Derivatives of <gradients, vectors> in x, gamma, beta and slope; plain operations differentiate these again."""
    count = len(arguments)

    @tf.custom_gradient
    def second(*values):
        x, gamma, beta, slope, vector, *others = values
        vector = tf.ensure_shape(vector, x.shape)
        sums, products = _partial_seconds(x, gamma, beta, slope, vector, mean, scale, form)
        reduced = (parts, _pairs(sums), products)
        seconds = _seconds(x, gamma, beta, slope, (vector, *others), mean, scale, reduced, form)

        def pull_back(*slopes):
            with tf.GradientTape() as tape:
                tape.watch(values)
                plainly = _plain_second_derivative(values[:count], form, *values[count:])
            return tape.gradient(plainly, values, output_gradients=slopes, unconnected_gradients="zero")

        return seconds, pull_back

    return second(*arguments, *vectors)


def _plain_second_derivative(arguments, form: Form, *cotangents):
    with tf.GradientTape() as outer:
        outer.watch(arguments)
        x, gamma, beta, slope = arguments
        inputs = (x, gamma, beta)
        with tf.GradientTape() as inner:
            inner.watch(inputs)
            y = plain.instance_norm(x, gamma, beta, *form)
        gradients = inner.gradient(y, inputs, output_gradients=slope)
    return outer.gradient(gradients, arguments, output_gradients=cotangents, unconnected_gradients="zero")


def cluster(function):
    """The function as a program that XLA compiles by itself, once for each shape.

    Each shape has a `tf.function` of its own: one for all would take, for a batch of a known size, the trace of an
    unknown one where it has that already, and a process that has trained before would round otherwise than another.
    """
    programs: dict[Hashable, Any] = {}

    @functools.wraps(function)
    def call(*arguments):
        key = tuple(_kind(leaf) for leaf in tf.nest.flatten(arguments))
        if key not in programs:
            programs[key] = tf.function(function, jit_compile=True, autograph=False)
        return programs[key](*arguments)

    return call


def _kind(leaf) -> Hashable:
    """What decides a trace: of tensors type and shape as far as it is known, of all else itself."""
    return (leaf.dtype, tuple(leaf.shape)) if tf.is_tensor(leaf) else leaf


@cluster
def _partial_moments(x):
    """x - pivot, real, and its square, imaginary, summed over groups of positions: (batch, groups, channels).

    The pivot, a pixel of the image, lies among the values, so that the variance keeps its digits.
    """
    positions = x.shape[1] * x.shape[2]
    group = _group(positions)
    pivot = _wide(_pivot(x))[:, None]
    x = tf.reshape(x, (-1, positions // group, group, x.shape[3]))
    terms = [_wide(x[:, :, i]) - pivot for i in range(group)]
    return _added([tf.complex(term, term * term) for term in terms])


@cluster
def _apply(x, moments, gamma, beta, form: Form):
    """The result, mean and 1 / std; these are (batch, channels)."""
    sums, squares = _total(moments)
    count = tf.cast(x.shape[1] * x.shape[2], sums.dtype)
    shift = sums / count
    variance = tf.maximum(squares / count - shift * shift, 0)
    mean = _wide(_pivot(x)) + shift
    scale = tf.math.rsqrt(variance + tf.cast(form.epsilon, variance.dtype))
    y = (_windows(_wide(x), form.pool) - _spread(mean)) * _spread(gamma * scale) + beta
    if form.relu:
        y = tf.nn.relu(y)
    window = range(form.pool)
    y = _added([y[:, :, i, :, j] for i in window for j in window]) / form.pool**2
    return tf.cast(y, x.dtype), mean, scale


@cluster
def _partial_gradients(x, gamma, beta, slope, mean, scale, form: Form):
    """Sums of dL/dy, real, and of dL/dy times the normalized x, imaginary, y before ReLU: (batch, groups, channels)."""
    pool = form.pool
    group = _group(x.shape[1] // pool, pool**2)
    slope = tf.reshape(slope, (-1, slope.shape[1] // group, group, *slope.shape[2:]))
    x = tf.reshape(x, (-1, slope.shape[1], group, pool, slope.shape[3], pool, x.shape[3]))
    mean, scale = mean[:, None, None], scale[:, None, None]
    terms = []
    for row, i, j in ((row, i, j) for row in range(group) for i in range(pool) for j in range(pool)):
        normal = (_wide(x[:, :, row, i, :, j]) - mean) * scale
        each = _wide(slope[:, :, row]) / pool**2
        if form.relu:
            each = tf.where(normal * gamma + beta > 0, each, tf.zeros_like(each))
        terms.append(tf.complex(each, each * normal))
    parts = _added(terms)
    return tf.reshape(parts, (-1, parts.shape[1] * parts.shape[2], parts.shape[3]))


@cluster
def _gradients(x, gamma, beta, slope, mean, scale, parts, form: Form):
    count = tf.cast(x.shape[1] * x.shape[2], mean.dtype)
    sums, products = _total(parts)
    normal = (_windows(_wide(x), form.pool) - _spread(mean)) * _spread(scale)
    slope = (_wide(slope) / form.pool**2)[:, :, None, :, None]
    if form.relu:
        slope = tf.where(normal * gamma + beta > 0, slope, tf.zeros_like(slope))
    of_x = _spread(gamma * scale) * (slope - _spread(sums / count) - normal * _spread(products / count))
    of_x = tf.cast(tf.reshape(of_x, tf.shape(x)), x.dtype)
    return of_x, tf.reduce_sum(products, 0), tf.reduce_sum(sums, 0)


@cluster
def _partial_seconds(x, gamma, beta, slope, vector, mean, scale, form: Form):
    """Sums over groups of positions: of the vector, real, and of it times the normalized x, imaginary; and of it times
    dL/dy, y before ReLU.
    """
    pool = form.pool
    group = _group(x.shape[1] // pool, pool**2)
    slope = tf.reshape(slope, (-1, slope.shape[1] // group, group, *slope.shape[2:]))
    split = (-1, slope.shape[1], group, pool, slope.shape[3], pool, x.shape[3])
    x, vector = tf.reshape(x, split), tf.reshape(vector, split)
    mean, scale = mean[:, None, None], scale[:, None, None]
    sums, products = [], []
    for row, i, j in ((row, i, j) for row in range(group) for i in range(pool) for j in range(pool)):
        normal = (_wide(x[:, :, row, i, :, j]) - mean) * scale
        each, along = _wide(slope[:, :, row]) / pool**2, _wide(vector[:, :, row, i, :, j])
        if form.relu:
            each = tf.where(normal * gamma + beta > 0, each, tf.zeros_like(each))
        sums.append(tf.complex(along, along * normal))
        products.append(along * each)
    shape = (-1, slope.shape[1] * slope.shape[3], x.shape[-1])
    return tf.reshape(_added(sums), shape), tf.reshape(_added(products), shape)


@cluster
def _seconds(x, gamma, beta, slope, vectors, mean, scale, reduced, form: Form):
    """With n the normalized x, u = dL/dy before ReLU, v the vector and <> means over positions, <gradient of x, v> is
    the sum of gamma * scale * u * (v - <v> - n <v n>): from its derivative in u follows that in the slope, from those
    in n and scale that in x.
    """
    count = tf.cast(x.shape[1] * x.shape[2], mean.dtype)
    vector, of_gamma, of_beta = vectors
    (u_mean, un_mean), (v_mean, vn_mean) = ([each / count for each in _total(pairs)] for pairs in reduced[:2])
    uv_mean = tf.reduce_sum(reduced[2], 1) / count - u_mean * v_mean - un_mean * vn_mean
    rate = gamma * scale
    normal = (_windows(_wide(x), form.pool) - _spread(mean)) * _spread(scale)
    v, u = _windows(_wide(vector), form.pool), (_wide(slope) / form.pool**2)[:, :, None, :, None]
    in_u = _spread(rate) * (v - _spread(v_mean) - normal * _spread(vn_mean)) + of_gamma * normal + of_beta
    if form.relu:
        passes = normal * gamma + beta > 0
        u, in_u = (tf.where(passes, each, tf.zeros_like(each)) for each in (u, in_u))
    window = range(form.pool)
    in_slope = _added([in_u[:, :, i, :, j] for i in window for j in window]) / form.pool**2
    in_n = u * _spread(of_gamma - rate * vn_mean) - v * _spread(rate * un_mean)
    constant = of_gamma * u_mean - rate * (un_mean * v_mean + vn_mean * u_mean)
    linear = of_gamma * un_mean - rate * (2 * un_mean * vn_mean - uv_mean)
    in_x = tf.reshape(_spread(scale) * (in_n - _spread(constant) - normal * _spread(linear)), tf.shape(x))
    in_gamma = tf.reduce_sum(scale * uv_mean, 0) * count
    return tf.cast(in_x, x.dtype), in_gamma, tf.zeros_like(beta), tf.cast(in_slope, slope.dtype)


def _wide(x):
    return tf.cast(x, tf.float32) if x.dtype in (tf.float16, tf.bfloat16) else x


def _pivot(x):
    """(batch, channels)."""
    return x[:, x.shape[1] // 2, x.shape[2] // 2]


def _windows(x, pool: int):
    """(batch, height / pool, pool, width / pool, pool, channels)."""
    return tf.reshape(x, (-1, x.shape[1] // pool, pool, x.shape[2] // pool, pool, x.shape[3]))


def _spread(x):
    """(batch, channels), shaped to meet `_windows`."""
    return x[:, None, None, None, None]


def _group(count: int, each: int = 1) -> int:
    """How many of `count` to add up at once, which divides them; each stands for so many slices."""
    sizes = [size for size in range(1, MOST // each + 1) if count % size == 0]
    return max([size for size in sizes if size > 1 and size * each <= SLICES] or sizes or [1])


def _total(parts):
    """Sums over axis 1 of the first and second numbers of the pairs that (batch, groups, 2 * channels) holds."""
    pairs = tf.reshape(tf.reduce_sum(parts, 1), (-1, parts.shape[2] // 2, 2))
    return pairs[:, :, 0], pairs[:, :, 1]


def _pairs(parts):
    """Complex numbers (batch, groups, channels) seen as their real and imaginary parts."""
    real = tf.bitcast(parts, parts.dtype.real_dtype)
    return tf.reshape(real, (-1, parts.shape[1], 2 * parts.shape[2]))


def _added(terms):
    """Their sum in pairs of pairs, which rounds less than one after the other."""
    while len(terms) > 1:
        terms = [a + b for a, b in zip(terms[::2], terms[1::2], strict=False)] + terms[len(terms) & ~1 :]
    return terms[0]
