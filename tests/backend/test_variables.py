"""Arrays of variables are copies, of every dtype."""

import keras
import numpy as np
import pytest

from kerasticket.backend.variables import array_of


@pytest.mark.parametrize("dtype", ["float32", "float16", "bool", "int32"])
def test_an_array_is_a_copy_of_the_value(dtype):
    variable = keras.Variable(np.array([0, 1, 1]), dtype=dtype, trainable=False)
    array = array_of(variable)
    assert array.tolist() == [0, 1, 1]
    assert array.dtype == dtype
    array[0] = 1
    assert array_of(variable).tolist() == [0, 1, 1]


@pytest.mark.skipif(keras.config.backend() != "tensorflow", reason="TensorFlow's own")
def test_sums_over_replicas_are_read():
    """NumPy reads no such variable itself, in a scope or outside."""
    import tensorflow as tf

    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    with strategy.scope():
        variables = [
            keras.Variable(3.0, aggregation="sum", synchronization="on_read"),
            keras.Variable(3.0, aggregation="only_first_replica"),
        ]
        assert [float(array_of(variable)) for variable in variables] == [3, 3]
    assert [float(array_of(variable)) for variable in variables] == [3, 3]
