"""TensorFlow for tf.data: imported late, kept off other backends' GPUs, and under the names of keras.ops."""

import contextlib
from collections.abc import Callable
from functools import cache
from types import ModuleType, SimpleNamespace


@cache
def tensorflow() -> ModuleType:
    """The tensorflow module; where another Keras backend trains, TensorFlow leaves the GPU's memory to it."""
    import keras
    import tensorflow

    if keras.backend.backend() != "tensorflow":
        # Refused where TensorFlow has begun to use its devices: whoever did that has decided.
        with contextlib.suppress(RuntimeError):
            tensorflow.config.set_visible_devices([], "GPU")
    return tensorflow


def plain(function: Callable) -> Callable:
    """`function` for tf.data without AutoGraph, which warns about lambdas and which nothing here needs."""
    return tensorflow().autograph.experimental.do_not_convert(function)


@cache
def tensorflow_namespace() -> SimpleNamespace:
    """The names of keras.ops that augmentation uses, as TensorFlow functions.

    Under the jax and torch backends keras.ops cannot run inside tf.data, and this can.
    """
    tf = tensorflow()
    return SimpleNamespace(
        abs=tf.abs,
        arange=tf.range,
        argsort=tf.argsort,
        cast=lambda x, dtype: tf.cast(x, dtype),
        clip=tf.clip_by_value,
        convert_to_tensor=tf.convert_to_tensor,
        cos=tf.cos,
        exp=tf.exp,
        flip=lambda x, axis: tf.reverse(x, [axis]),
        floor=tf.floor,
        log=tf.math.log,
        logical_and=tf.logical_and,
        logical_not=tf.logical_not,
        matmul=tf.matmul,
        maximum=tf.maximum,
        mean=lambda x, axis, keepdims=False: tf.reduce_mean(x, axis, keepdims),
        minimum=tf.minimum,
        reshape=tf.reshape,
        shape=tf.shape,
        sin=tf.sin,
        sqrt=tf.sqrt,
        stack=tf.stack,
        sum=lambda x, axis, keepdims=False: tf.reduce_sum(x, axis, keepdims),
        switch=_switch,
        take=lambda x, indices, axis: tf.gather(x, indices, axis=axis),
        transpose=tf.transpose,
        where=tf.where,
    )


def _switch(index, branches, *operands):
    return tensorflow().switch_case(index, [lambda b=branch: b(*operands) for branch in branches])
