"""Precision of one computation, on every backend: double, or float32 at least."""

import contextlib
from collections.abc import Callable, Iterator

import keras
from keras import ops

from kerasticket.backend import keras_internals

LOW_PRECISION = ("float16", "bfloat16")


def at_least_float32(x):
    """The tensor in float32 if it is of lower precision, in which sums lose their digits; else as it is.

    Example:

    >>> keras.backend.standardize_dtype(at_least_float32(ops.ones(1, "bfloat16")).dtype)
    'float32'
    """
    return ops.cast(x, "float32") if keras.backend.standardize_dtype(x.dtype) in LOW_PRECISION else x


@contextlib.contextmanager
def double_precision() -> Iterator[None]:
    """Keras' operations keep float64 while this is open; on JAX and torch they turn it into float32 otherwise.

    What is computed must be float64 itself: arrays, and the dtype policy of layers.

    Example:

    >>> with double_precision():
    ...     keras.backend.standardize_dtype((keras.ops.ones(1, "float64") * keras.ops.ones(1, "float64")).dtype)
    'float64'
    """
    # Who needs the precision should look at the dtype that comes out.
    with _SWITCHES.get(keras.config.backend(), contextlib.nullcontext)(), keras_internals.float64_kept():
        yield


def _jax_switch():
    import jax

    return jax.enable_x64(True)


_SWITCHES: dict[str, Callable] = {"jax": _jax_switch}
