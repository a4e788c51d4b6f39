"""The value of a variable as an array, wherever it lies: on one device or on several."""

import keras
import numpy as np
from keras import ops


def array_of(variable: keras.Variable) -> np.ndarray:
    """A copy of its value; under a distribution that of all replicas, which hold the same.

    Not through `variable.value`: under TensorFlow's strategies that may be a variable which NumPy cannot read.

    >>> array_of(keras.Variable([1.0, 2.0])).tolist()
    [1.0, 2.0]
    """
    return np.array(ops.convert_to_numpy(ops.convert_to_tensor(variable)))
