"""Distance of two nets: over kernels and over all that is trained."""

import math

import keras
import numpy as np
import pytest
from nets import batch, compile_for_test, small_convnet

import kerasticket as kt
from kerasticket.analysis.distances import Distance, distance

A = {
    "out/kernel": np.array([[3.0, 0.0]], "float32"),
    "out/bias": np.array([2.0], "float32"),
    "norm/moving_mean": np.array([9.0], "float32"),
    "drop/seed_generator_state": np.array([1, 2]),
}


def test_distance_by_hand():
    """Kernels (3, 0) and (0, 4), biases 2 and 2; statistics and seeds do not count."""
    b = A | {"out/kernel": np.array([[0.0, 4.0]], "float32"), "norm/moving_mean": np.array([0.0], "float32")}
    found = distance(A, b)
    assert found.kernels == Distance(5, 0, 3, 4)
    assert found.trainables.l2 == 5
    assert found.trainables.cosine == pytest.approx(4 / math.sqrt(13 * 20))
    assert distance(A, A).trainables == Distance(0, pytest.approx(1), math.sqrt(13), math.sqrt(13))


def test_a_network_of_zeros_has_no_angle():
    zero = {path: np.zeros_like(array) for path, array in A.items()}
    found = distance(A, zero).kernels
    assert (found.l2, found.norm_b) == (3, 0)
    assert math.isnan(found.cosine)


def test_trainables_are_those_of_keras():
    """Two nets with batch normalization and dropout, one of them trained: the same sum over Keras' own list."""
    keras.utils.set_random_seed(0)
    nets = [compile_for_test(small_convnet()) for _ in range(2)]
    nets[1].fit(*batch(nets[1]), epochs=1, verbose=0)
    found = distance(*(kt.get_params(net) for net in nets))
    trained = [[np.array(keras.ops.convert_to_numpy(v)) for v in net.trainable_variables] for net in nets]
    squares = [(float(((a.astype(float) - b) ** 2).sum()), a.ndim) for a, b in zip(*trained, strict=True)]
    assert found.trainables.l2 == pytest.approx(math.sqrt(sum(square for square, _ in squares)))
    assert found.kernels.l2 == pytest.approx(math.sqrt(sum(square for square, axes in squares if axes > 1)))


@pytest.mark.parametrize(
    ("b", "message"),
    [
        ({"out/kernel": np.ones((1, 2))}, "only in `a`"),
        (A | {"out/bias": np.ones(3)}, r"shapes \(1,\) and \(3,\) at 'out/bias'"),
    ],
)
def test_params_of_different_models_are_refused(b, message):
    with pytest.raises(ValueError, match=message):
        distance(A, b)


def test_params_without_kernels_are_refused():
    with pytest.raises(ValueError, match="Expected params with a kernel"):
        distance({"b": np.ones(3)}, {"b": np.ones(3)})
