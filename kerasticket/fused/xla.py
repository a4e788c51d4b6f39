"""Fast forms for TensorFlow on CPUs: clusters of element-wise work that XLA compiles to one loop each.

XLA's CPU loops run at memory speed if they are purely element-wise or plain sums, and 5 to 10 times slower
where a sum is fused with what it sums (TensorFlow 2.21). So sums are written as element-wise additions of
slices, whose few partial results the next cluster adds up; each cluster is a function compiled by itself, as
XLA would otherwise fuse across them. Convolutions are none of its business: they stay with oneDNN.
"""

import functools
from typing import NamedTuple

import tensorflow as tf

from kerasticket.fused import plain

SLICES = 16  # that are added in one loop: partial sums have 1/16 of the input's size


class Form(NamedTuple):
    """What is fixed when a cluster is traced: see `kerasticket.fused.instance_norm` and `batch_norm`."""

    epsilon: float
    relu: bool
    pool: int
    whole_batch: bool

    @property
    def axes(self) -> tuple[int, ...]:
        """Of the partial sums, (batch, groups, width, channels), that are added up."""
        return (0, 1, 2) if self.whole_batch else (1, 2)

    def plain(self, x, gamma, beta):
        if self.whole_batch:
            return plain.batch_norm(x, gamma, beta, self.epsilon, self.relu)[0]
        return plain.instance_norm(x, gamma, beta, self.epsilon, self.relu, self.pool)


def instance_norm(x, gamma, beta, epsilon: float, relu: bool, pool: int):
    """x is (batch, height, width, channels), pool divides height and width."""
    return _norm(x, gamma, beta, Form(epsilon, relu, pool, whole_batch=False))[0]


def batch_norm(x, gamma, beta, epsilon: float, relu: bool):
    """x is (batch, height, width, channels)."""
    y, mean, variance = _norm(x, gamma, beta, Form(epsilon, relu, 1, whole_batch=True))
    return y, mean[0], variance[0]


def _norm(x, gamma, beta, form: Form):
    @tf.custom_gradient
    def forward(x, gamma, beta):
        y, mean, variance = _apply(x, *_partial_moments(x, form), gamma, beta, form)

        def pull_back(slope, *_):  # mean and variance are for the moving statistics alone
            return _norm_gradient(x, gamma, beta, slope, mean, variance, form)

        return (y, mean, variance), pull_back

    return forward(x, gamma, beta)


def _norm_gradient(x, gamma, beta, slope, mean, variance, form: Form):
    """Gradients for x, gamma and beta, as a function of all four that can be differentiated again."""

    @tf.custom_gradient
    def backward(x, gamma, beta, slope):
        sums = _partial_gradients(x, gamma, beta, slope, mean, variance, form)
        gradients = _gradients(x, gamma, beta, slope, mean, variance, *sums, form)
        return gradients, functools.partial(_plain_second_derivative, (x, gamma, beta, slope), form)

    return backward(x, gamma, beta, slope)


def _plain_second_derivative(arguments, form: Form, *cotangents):
    with tf.GradientTape() as outer:
        outer.watch(arguments)
        *inputs, slope = arguments
        with tf.GradientTape() as inner:
            inner.watch(inputs)
            y = form.plain(*inputs)
        gradients = inner.gradient(y, inputs, output_gradients=slope)
    return outer.gradient(gradients, arguments, output_gradients=cotangents, unconnected_gradients="zero")


def _cluster(function):
    return tf.function(function, jit_compile=True, autograph=False)


@_cluster
def _partial_moments(x, form: Form):
    """Sums of x - pivot and of its square over groups of rows: (batch, groups, width, channels) each.

    The pivot, one pixel, lies among the values, so that the variance keeps its digits.
    """
    group = _group(x.shape[1])
    pivot = _wide(_pivot(x, form))[:, None, None]
    rows = tf.reshape(x, (-1, x.shape[1] // group, group, *x.shape[2:]))
    terms = [_wide(rows[:, :, i]) - pivot for i in range(group)]
    return _added(terms), _added([term * term for term in terms])


@_cluster
def _apply(x, sums, squares, gamma, beta, form: Form):
    """The result, mean and variance; these are (batch or 1, channels)."""
    count = _count(x, sums.dtype, form)
    shift = _total(sums, form) / count
    variance = tf.maximum(_total(squares, form) / count - shift * shift, 0)
    mean = _wide(_pivot(x, form)) + shift
    scale = _scale(variance, form)
    gamma, beta = tf.cast(gamma, mean.dtype), tf.cast(beta, mean.dtype)
    y = _windows(_wide(x), form.pool) * _spread(gamma * scale) + _spread(beta - mean * gamma * scale)
    if form.relu:
        y = tf.nn.relu(y)
    window = range(form.pool)
    y = _added([y[:, :, i, :, j] for i in window for j in window]) / form.pool**2
    return tf.cast(y, x.dtype), mean, variance


@_cluster
def _partial_gradients(x, gamma, beta, slope, mean, variance, form: Form):
    """Sums of dL/dy and of dL/dy times the normalised x over groups of rows, y before ReLU and pooling."""
    pool = form.pool
    gamma, beta = tf.cast(gamma, mean.dtype), tf.cast(beta, mean.dtype)
    group = _group(x.shape[1] // pool, max(1, SLICES // pool**2))
    slope = tf.reshape(slope, (-1, slope.shape[1] // group, group, *slope.shape[2:]))
    x = tf.reshape(x, (-1, slope.shape[1], group, pool, slope.shape[3], pool, x.shape[3]))
    mean, scale = mean[:, None, None], _scale(variance, form)[:, None, None]
    sums, products = [], []
    for row, i, j in ((row, i, j) for row in range(group) for i in range(pool) for j in range(pool)):
        normal = (_wide(x[:, :, row, i, :, j]) - mean) * scale
        each = _wide(slope[:, :, row]) / pool**2
        if form.relu:
            each = tf.where(normal * gamma + beta > 0, each, tf.zeros_like(each))
        sums.append(each)
        products.append(each * normal)
    return _added(sums), _added(products)


@_cluster
def _gradients(x, gamma, beta, slope, mean, variance, sums, products, form: Form):
    gamma, beta = tf.cast(gamma, mean.dtype), tf.cast(beta, mean.dtype)
    count, scale = _count(x, mean.dtype, form), _scale(variance, form)
    sums, products = _total(sums, form), _total(products, form)
    normal = (_windows(_wide(x), form.pool) - _spread(mean)) * _spread(scale)
    slope = (_wide(slope) / form.pool**2)[:, :, None, :, None]
    if form.relu:
        slope = tf.where(normal * gamma + beta > 0, slope, tf.zeros_like(slope))
    of_x = _spread(gamma * scale) * (slope - _spread(sums / count) - normal * _spread(products / count))
    of_x = tf.cast(tf.reshape(of_x, tf.shape(x)), x.dtype)
    return of_x, tf.reduce_sum(products, 0), tf.reduce_sum(sums, 0)


def _wide(x):
    return tf.cast(x, tf.float32) if x.dtype in (tf.float16, tf.bfloat16) else x


def _pivot(x, form: Form):
    """(batch or 1, channels)."""
    pixels = x[:, x.shape[1] // 2, x.shape[2] // 2]
    return pixels[:1] if form.whole_batch else pixels


def _count(x, dtype, form: Form):
    shape = tf.shape(x)
    return tf.cast(tf.reduce_prod(shape[:3] if form.whole_batch else shape[1:3]), dtype)


def _total(partial, form: Form):
    """(batch or 1, channels)."""
    total = tf.reduce_sum(partial, form.axes)
    return total[None] if form.whole_batch else total


def _scale(variance, form: Form):
    return tf.math.rsqrt(variance + tf.cast(form.epsilon, variance.dtype))


def _windows(x, pool: int):
    """(batch, height / pool, pool, width / pool, pool, channels)."""
    return tf.reshape(x, (-1, x.shape[1] // pool, pool, x.shape[2] // pool, pool, x.shape[3]))


def _spread(x):
    """(batch or 1, channels), shaped to meet `_windows`."""
    return x[:, None, None, None, None]


def _group(rows: int, largest: int = SLICES) -> int:
    """The largest number of rows to add up at once that divides them."""
    return max(size for size in range(1, largest + 1) if rows % size == 0)


def _added(terms):
    """Their sum in pairs of pairs, which rounds less than one after the other."""
    while len(terms) > 1:
        terms = [a + b for a, b in zip(terms[::2], terms[1::2], strict=False)] + terms[len(terms) & ~1 :]
    return terms[0]
