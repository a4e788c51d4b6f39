"""Which channels nothing needs, by hand: chains, residual ties, constants that move, and the one that stays."""

import keras
import numpy as np
import pytest
from keras import layers

import kerasticket as kt
from kerasticket.models.graph.dead import dead_channels

pytestmark = pytest.mark.same_on_every_backend


def chain(**second) -> keras.Model:
    """Dense 4, 3, 2 on 2 features; no weight is zero at first."""
    stack = [layers.Dense(4, name="first"), layers.Dense(3, name="second", **second), layers.Dense(2, name="out")]
    model = keras.Sequential([keras.Input((2,)), *stack], name="chain")
    kt.set_params(model, {path: np.ones_like(array) for path, array in kt.get_params(model).items()})
    return model


def change(model: keras.Model, **arrays) -> keras.Model:
    """Sets entries to zero: first__kernel=np.s_[:, 0]."""
    params = kt.get_params(model)
    for name, where in arrays.items():
        params[name.replace("__", "/")][where] = 0
    kt.set_params(model, params)
    return model


def stays(model: keras.Model, path: str, axis: int) -> list[int]:
    return np.flatnonzero(dead_channels(model).stay[path, axis]).tolist()


def test_in_a_dense_network_everything_stays():
    found = dead_channels(chain())
    assert all(kept.all() for kept in found.stay.values())
    assert found.shifts == {}
    assert found.unknown == ()
    assert found.outputs == {"first/kernel": 1, "second/kernel": 1, "out/kernel": 1}


def test_what_leads_only_to_what_nobody_reads_goes_too():
    """Unit 0 of `second` is read by nobody, and unit 3 of `first` only by that one."""
    model = change(chain(), out__kernel=np.s_[0], second__kernel=np.s_[3, 1:])
    assert stays(model, "second/kernel", 1) == stays(model, "out/kernel", 0) == [1, 2]
    assert stays(model, "first/kernel", 1) == stays(model, "first/bias", 0) == [0, 1, 2]
    cut = dead_channels(model).cut(kt.get_params(model))
    shapes = {path: array.shape for path, array in cut.items()}
    assert shapes == {
        "first/kernel": (2, 3),
        "first/bias": (3,),
        "second/kernel": (3, 2),
        "second/bias": (2,),
        "out/kernel": (2, 2),
        "out/bias": (2,),
    }


def test_a_constant_goes_and_what_it_added_is_told():
    """Unit 2 of `first` is its bias of 1, and is read with weights of 1 by three units."""
    model = change(chain(), first__kernel=np.s_[:, 2])
    found = dead_channels(model)
    assert np.flatnonzero(~found.stay["first/kernel", 1]).tolist() == [2]
    assert {path: shift.tolist() for path, shift in found.shifts.items()} == {"second/kernel": [1, 1, 1]}


def test_of_a_layer_that_nobody_needs_the_first_channel_stays():
    assert stays(change(chain(), out__kernel=np.s_[:]), "second/kernel", 1) == [0]


def test_channels_that_a_residual_connection_ties_go_together_or_stay():
    inputs = keras.Input((3,), name="inputs")
    x = layers.Dense(4, name="stem")(inputs)
    x = layers.Add(name="add")([x, layers.Dense(4, name="branch")(layers.ReLU(name="relu")(x))])
    model = keras.Model(inputs, layers.Dense(2, name="out")(x), name="residual")
    kt.set_params(model, {path: np.ones_like(array) for path, array in kt.get_params(model).items()})
    change(model, out__kernel=np.s_[[0, 1]], branch__kernel=np.s_[0])
    # Nobody reads 0 and 1 behind the sum, but the branch reads 1 before it.
    for path, axis in (("stem/kernel", 1), ("branch/kernel", 1), ("out/kernel", 0)):
        assert stays(model, path, axis) == [1, 2, 3]


def test_around_layers_without_a_rule_everything_stays():
    inputs = keras.Input((4, 2), name="inputs")
    x = layers.Dense(3, name="first")(inputs)
    x = layers.Dense(3, name="second")(layers.LayerNormalization(name="norm")(x))
    model = keras.Model(inputs, layers.Dense(2, name="out")(x), name="normed")
    kt.set_params(model, {path: np.ones_like(array) for path, array in kt.get_params(model).items()})
    change(model, second__kernel=np.s_[0], out__kernel=np.s_[0])
    found = dead_channels(model)
    assert [layer.name for layer in found.unknown] == ["norm"]
    assert found.stay["first/kernel", 1].all()
    assert found.stay["second/kernel", 1].tolist() == [False, True, True]


def test_channels_behind_a_reshape_are_counted():
    inputs = keras.Input((2, 2, 1), name="inputs")
    x = layers.Reshape((4, 3), name="rows")(layers.Conv2D(3, 1, name="conv")(inputs))
    model = keras.Model(inputs, layers.Dense(2, name="out")(x))
    kt.set_params(model, {path: np.ones_like(array) for path, array in kt.get_params(model).items()})
    found = dead_channels(change(model, out__kernel=np.s_[1]))
    assert found.widths == {id(model.get_layer("rows")): 2}
    assert found.stay["conv/kernel", 3].tolist() == [True, False, True]
