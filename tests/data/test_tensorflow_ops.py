"""TensorFlow under the names of keras.ops: each the same function, and usable within tf.data."""

import numpy as np
import pytest

from kerasticket.data.tensorflow_ops import plain, tensorflow, tensorflow_namespace

pytestmark = pytest.mark.same_on_every_backend
X = np.random.default_rng(0).uniform(0.1, 2, (3, 4)).astype("float32")

ARGUMENTS = {
    "arange": (5,),
    "cast": (X, "int32"),
    "clip": (X, 0.5, 1.0),
    "flip": (X, 1),
    "logical_and": (X > 1, X < 1.5),
    "logical_not": (X > 1,),
    "matmul": (X, X.T),
    "maximum": (X, 1.0),
    "minimum": (X, 1.0),
    "mean": (X, 1, True),
    "sum": (X, 0),
    "reshape": (X, (2, 6)),
    "stack": ([X, X],),
    "take": (X, np.array([2, 0]), 0),
    "transpose": (X, (1, 0)),
    "where": (X > 1, X, 0.0),
}
OTHERS = {"convert_to_tensor", "switch"}


@pytest.mark.parametrize("name", sorted(vars(tensorflow_namespace()).keys() - OTHERS))
def test_each_name_is_the_function_of_keras_ops(name):
    from keras import ops

    arguments = ARGUMENTS.get(name, (X,))
    ours = np.asarray(getattr(tensorflow_namespace(), name)(*arguments))
    theirs = getattr(ops, name)(*arguments)
    expected = np.asarray(theirs) if name == "shape" else ops.convert_to_numpy(theirs)
    np.testing.assert_allclose(ours, expected, rtol=1e-6)


def test_one_of_several_branches_runs_within_tf_data():
    xp = tensorflow_namespace()
    branches = [lambda x: x + 1, lambda x: x * 10]
    data = tensorflow().data.Dataset.from_tensor_slices((np.array([0, 1, 1]), np.array([5, 6, 7])))
    found = data.map(plain(lambda index, x: xp.switch(xp.cast(index, "int32"), branches, x)))
    assert [int(x) for x in found] == [6, 60, 70]


def test_the_module_is_imported_once():
    assert tensorflow() is tensorflow()
    assert tensorflow().__name__ == "tensorflow"
