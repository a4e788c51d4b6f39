"""Moving statistics of weights that no training has visited, against NumPy and against training itself."""

import keras
import nets
import numpy as np
import pytest
from keras import layers
from norm_nets import norm_net
from perturbed_nets import compiled, perturbed

import kerasticket as kt
from kerasticket.analysis import Objective
from kerasticket.analysis.statistics import has_statistics, reestimated


def test_reestimated_statistics_are_those_of_the_data():
    model = compiled(norm_net())
    x, y = nets.batch(model, 24)
    params = perturbed(kt.get_params(model))
    found = reestimated(Objective(model, (x, y), batch_size=10), params)  # batches of 10, 10 and 4
    np.testing.assert_allclose(found["first/moving_mean"], x.mean((0, 1, 2)), atol=1e-6)
    np.testing.assert_allclose(found["first/moving_variance"], x.var((0, 1, 2)), rtol=1e-5)
    unchanged = [path for path in params if "moving" not in path]
    assert all(np.array_equal(found[path], params[path]) for path in unchanged)
    # In one batch the deeper layer's are exact too: the conv of what the first layer gives.
    found = reestimated(Objective(model, (x, y)), params)
    kt.set_params(model, found)
    features = keras.Model(model.inputs, model.get_layer("conv").output).predict(x, verbose=0)
    np.testing.assert_allclose(found["second/moving_mean"], features.mean((0, 1, 2)), atol=1e-5)
    np.testing.assert_allclose(found["second/moving_variance"], features.var((0, 1, 2)), rtol=1e-4)


def test_a_norm_that_is_called_twice_comes_to_the_rest_that_training_comes_to():
    norm, inputs = layers.BatchNormalization(momentum=0.8, name="shared"), keras.Input((3,))
    x = norm(layers.Dense(3, name="a")(norm(inputs)))
    model = compiled(keras.Model(inputs, layers.Dense(2, name="out")(x)))
    data = 4 + 3 * np.random.default_rng(0).normal(size=(16, 3)).astype("float32"), np.zeros(16, int)
    found = reestimated(Objective(model, data), kt.get_params(model))
    for _ in range(100):
        model(data[0], training=True)
    rest = kt.get_params(model)
    for name in ("shared/moving_mean", "shared/moving_variance"):
        np.testing.assert_allclose(found[name], rest[name], rtol=1e-4)


def test_frozen_layers_and_nets_without_norms_keep_their_params_and_dropout_is_refused():
    frozen = norm_net()
    for name in ("first", "second"):
        frozen.get_layer(name).trainable = False
    for model in (compiled(frozen), compiled(nets.mlp())):
        params = kt.get_params(model)
        assert all(reestimated(Objective(model, nets.batch(model)), params)[path] is params[path] for path in params)
    assert has_statistics(frozen)
    model = compiled(nets.small_convnet())
    with pytest.raises(ValueError, match="without random layers.*drop/"):
        reestimated(Objective(model, nets.batch(model)), kt.get_params(model))
