"""Permutations drawn at random, and the check that they change no outputs."""

import functools

import keras
import numpy as np
import pytest
from keras import ops

import kerasticket as kt
from kerasticket.analysis import alignment
from kerasticket.analysis.alignment import permute
from kerasticket.backend import autodiff
from kerasticket.models.graph.alignment_rules import ALIGNED
from kerasticket.models.graph.channels import channel_groups

TOLERANCE = 1e-5


@pytest.fixture(autouse=True, scope="module")
def zeros_at_first():
    """All tests draw their own weights, and JAX takes seconds to compile each initial draw."""

    def zeros(_, shape, dtype=None):
        return ops.zeros(shape, dtype)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keras.initializers.GlorotUniform, "__call__", zeros)
        yield


def draw(model: keras.Model, seed: int) -> kt.params.Params:
    """Random params, statistics too: kernels keep the scale of their input, all else is between .3 and .9."""
    rng = np.random.default_rng(seed)

    def values(path, array):
        if array.dtype.kind != "f":
            return array
        if "kernel" in path:
            return rng.normal(0, 1.5 / np.sqrt(np.prod(array.shape[:-1])), array.shape)
        return rng.uniform(0.3, 0.9, array.shape)

    return {path: values(path, a).astype(a.dtype) for path, a in kt.get_params(model).items()}


def shuffles(model: keras.Model, seed: int) -> alignment.Permutations:
    rng = np.random.default_rng(seed)
    return {name: rng.permutation(group.size) for name, group in channel_groups(model, rules=ALIGNED).items()}


@functools.cache
def forward(model: keras.Model):
    """Compiled, as JAX otherwise compiles every operation for itself."""
    return autodiff.jit(lambda trainable, other, x: model.stateless_call(trainable, other, x, training=False)[0])


def outputs(model: keras.Model, params) -> list[np.ndarray]:
    kt.set_params(model, params)
    rng = np.random.default_rng(9)
    x = [rng.normal(size=(2, *tensor.shape[1:])).astype("float32") for tensor in model.inputs]
    results = forward(model)(model.trainable_variables, model.non_trainable_variables, x if len(x) > 1 else x[0])
    return [ops.convert_to_numpy(y) for y in keras.tree.flatten(results)]


def check_outputs_are_kept(model: keras.Model) -> None:
    a = draw(model, 0)
    orders = shuffles(model, 1)
    b = permute(model, a, orders)
    if any(list(order) != sorted(order) for order in orders.values()):
        assert not same(a, b)
    for before, after in zip(outputs(model, a), outputs(model, b), strict=True):
        assert np.abs(before).max() > 0.01
        np.testing.assert_allclose(after, before, rtol=0, atol=TOLERANCE * np.abs(before).max())


def same(a, b) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[path], b[path]) for path in a)
