"""Operations that a backend has a faster form of; each equals its plain form, first and second derivatives too.

The fast form of `instance_norm` is chosen where it was measured to be faster: on TensorFlow on CPUs, and on torch;
that of `batch_norm` on TensorFlow; that of `convolution` on TensorFlow on CPUs. Elsewhere, and for types and sizes that
they do not cover, the plain `keras.ops` forms run. Several training steps in one execution go by the same switch, on
TensorFlow and JAX.
"""

import contextlib
from collections.abc import Iterator

import keras
from keras import ops

from kerasticket.backend.fused import plain
from kerasticket.checks import check_choice

MODES = ("auto", "always", "never")
_mode = "auto"


@contextlib.contextmanager
def mode(name: str) -> Iterator[None]:
    """Within it, models that are traced choose fast forms by measurement ("auto"), "always" or "never".

    What is traced already keeps its form. "always" has fast forms on TensorFlow's GPUs too, where they were not
    measured; backends without any stay plain. On TensorFlow's CPUs a fast form is compiled for each shape, in about a
    second, and TFLite does not know its operations: serve batches of changing sizes, and export, within
    `mode("never")`.

    Raises:
        ValueError: an unknown name.

    Example:

    >>> with mode("never"):
    ...     fast_forms()
    False
    """
    global _mode
    check_choice(name, MODES, "mode")
    before, _mode = _mode, name
    try:
        yield
    finally:
        _mode = before


def fast_forms() -> bool:
    """Whether `instance_norm` takes a fast form now."""
    backend = keras.config.backend()
    if _mode == "never" or backend not in _INSTANCE_NORM:
        return False
    return _mode == "always" or backend != "tensorflow" or not _tensorflow_has_gpu()


_STEPS = {"tensorflow": 20, "jax": 20}  # Keras has no other number than 1 on torch


def steps_per_execution(devices: int = 1) -> int:
    """How many training steps Keras should run before it returns to Python, which takes 1 to 3 ms a time.

    The numbers are those of single steps. Callbacks are called after each execution. On several devices it is one on
    TensorFlow 2.21, which fails at the end of the data otherwise.

    Args:
        devices: how many share each step.

    Example:

    >>> with mode("never"):
    ...     steps_per_execution()
    1
    """
    if devices > 1 and keras.config.backend() == "tensorflow":
        return 1
    return 1 if _mode == "never" else _STEPS.get(keras.config.backend(), 1)


def _tensorflow_has_gpu() -> bool:
    import tensorflow as tf

    return bool(tf.config.list_logical_devices("GPU"))


def _compiled_whole_by_xla() -> bool:
    """Whether what is traced now is compiled by XLA as a whole, as with `compile(jit_compile=True)`.

    XLA takes no clusters inside a program of its own that hand on complex numbers, and needs none.
    """
    if keras.config.backend() != "tensorflow":
        return False
    import tensorflow as tf
    from tensorflow.python.ops import control_flow_util

    graph = tf.compat.v1.get_default_graph()
    return not tf.executing_eagerly() and control_flow_util.GraphOrParentsInXlaContext(graph)


def instance_norm(x, gamma, beta, *, epsilon: float, relu: bool = False, pool: int = 1):
    """Instance normalization over all positions, then scale, shift, ReLU and average pooling: one operation.

    Args:
        x: (batch, ..., channels), one to three axes of positions; floating.
        gamma, beta: (channels,).
        epsilon: added to the variance.
        relu: cut negative values after the shift.
        pool: side of the pooling windows; positions that fill none are left out, as `padding="valid"` has it.

    Returns:
        A tensor of x's dtype; statistics and sums are of float32 or better.

    Example:

    >>> from keras import ops
    >>> tuple(instance_norm(ops.ones((2, 4, 4, 3)), ops.ones(3), ops.zeros(3), epsilon=1e-5, pool=2).shape)
    (2, 2, 2, 3)
    """
    gamma, beta = _as_wide_as_sums(x, gamma, beta)
    if fast_forms() and _covers(x, pool) and not _compiled_whole_by_xla():
        return _INSTANCE_NORM[keras.config.backend()](x, gamma, beta, epsilon, relu, pool)
    return plain.instance_norm(x, gamma, beta, epsilon, relu, pool)


def _tensorflow_instance_norm(x, gamma, beta, epsilon: float, relu: bool, pool: int):
    from kerasticket.backend.fused import xla

    return xla.instance_norm(x, gamma, beta, epsilon, relu, pool)


def _torch_instance_norm(x, gamma, beta, epsilon: float, relu: bool, pool: int):
    import torch

    # Channels first is a view of the same memory, in the order that torch calls channels last.
    half = x.dtype in (torch.float16, torch.bfloat16)
    y = (x.float() if half else x).permute(0, 3, 1, 2)
    # The norm does not change with a shift, and torch's one-pass variance keeps its digits near zero.
    y = y - y[:, :, y.shape[2] // 2, y.shape[3] // 2, None, None].detach()
    y = torch.group_norm(y, y.shape[1], gamma, beta, epsilon)
    y = torch.relu(y) if relu else y
    y = torch.nn.functional.avg_pool2d(y, pool) if pool > 1 else y
    return y.permute(0, 2, 3, 1).to(x.dtype)


_INSTANCE_NORM = {"tensorflow": _tensorflow_instance_norm, "torch": _torch_instance_norm}


def batch_norm(x, gamma, beta, *, epsilon: float):
    """Batch normalization with the statistics of this batch, then scale and shift.

    Args:
        x: (batch, ..., channels).
        gamma, beta, epsilon: as in `instance_norm`.

    Returns:
        (y of x's dtype, mean, biased variance). Differentiate y alone, twice at most. The statistics are
        (channels,), of float32 or better.

    Example:

    >>> from keras import ops
    >>> y, mean, variance = batch_norm(ops.ones((2, 4, 4, 3)), ops.ones(3), ops.zeros(3), epsilon=1e-5)
    >>> [float(m) for m in mean]
    [1.0, 1.0, 1.0]
    """
    gamma, beta = _as_wide_as_sums(x, gamma, beta)
    fast = _mode != "never" and keras.config.backend() == "tensorflow"
    if fast and len(x.shape) == 4 and keras.backend.standardize_dtype(x.dtype) != "float64":
        return _tensorflow_batch_norm(x, gamma, beta, epsilon)
    return plain.batch_norm(x, gamma, beta, epsilon)


def _tensorflow_batch_norm(x, gamma, beta, epsilon: float):
    import tensorflow as tf

    y, mean, variance = tf.compat.v1.nn.fused_batch_norm(x, gamma, beta, epsilon=epsilon, is_training=True)
    count = tf.cast(tf.reduce_prod(tf.shape(x)[:3]), variance.dtype)
    return y, mean, variance * (count - 1) / count  # TensorFlow's is unbiased


def convolution(x, kernel):
    """Convolution with a 3x3 kernel, stride 1, padding "same".

    The fast form rounds differently: in float32 outputs and gradients differ by up to 1e-5 of their largest entry.

    Args:
        x: (batch, height, width, channels).
        kernel: (3, 3, channels, filters), of x's dtype.

    Returns:
        (batch, height, width, filters), of x's dtype.

    Example:

    >>> from keras import ops
    >>> tuple(convolution(ops.ones((2, 8, 8, 3)), ops.ones((3, 3, 3, 5))).shape)
    (2, 8, 8, 5)
    """
    fast = keras.config.backend() == "tensorflow" and fast_forms()
    if fast and _is_worth_transforming(x, kernel) and not _compiled_whole_by_xla():
        from kerasticket.backend.fused import winograd

        return winograd.convolution(x, kernel)
    return ops.conv(x, kernel, strides=1, padding="same", data_format="channels_last")


def _is_worth_transforming(x, kernel) -> bool:
    """Whether x is float32, its sides are known multiples of 4, and the channels enough to pay for the transforms.

    How many times as fast as oneDNN's convolution, gradients included (64 images of 4 to 32 pixels a side; AVX-512,
    `scripts/bench/benchmark.py --row winograd`): 32 x 32 channels 0.6, 64 x 64 0.8 to 1.1, 128 x 128 1.3 to 1.6,
    256 x 256 1.6 to 2.1, 512 x 512 2.3. On CPUs without AVX-512 oneDNN's are slower, and these gain more.
    """
    sides, (channels, filters) = tuple(x.shape)[1:3], tuple(kernel.shape)[2:]
    if keras.backend.standardize_dtype(x.dtype) != "float32" or any(side is None or side % 4 for side in sides):
        return False
    return channels * filters >= 64 * 128


def _as_wide_as_sums(x, *weights):
    """Channel weights in the dtype that sums over x have."""
    double = keras.backend.standardize_dtype(x.dtype) == "float64"
    return [ops.cast(weight, "float64" if double else "float32") for weight in weights]


def _covers(x, pool: int) -> bool:
    """Whether the fast norms take this input: an image of known sides that the windows divide."""
    shape = tuple(x.shape)
    return len(shape) == 4 and None not in shape[1:] and shape[1] % pool == 0 and shape[2] % pool == 0
