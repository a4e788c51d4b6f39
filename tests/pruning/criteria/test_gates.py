"""SynFlow through recurrent layers: against products of absolute weights that are summed by hand."""

import keras
import nets
import numpy as np
import pytest
from keras import layers

import kerasticket as kt
from kerasticket.pruning.criteria import CRITERIA

STEPS, FEATURES, UNITS = 3, 4, 2


def root(gate, signal):
    return np.sqrt(gate * signal)


def simple(x, w, u):
    state = np.zeros(UNITS)
    for _ in range(STEPS):
        state = x @ w + state @ u
    return state.sum()


def lstm(x, w, u):
    state, carry = np.zeros(UNITS), np.zeros(UNITS)
    for _ in range(STEPS):
        enters, stays, signal, leaves = np.split(x @ w + state @ u, 4)
        carry = root(stays, carry) + root(enters, signal)
        state = root(leaves, carry)
    return state.sum()


def gru(x, w, u, reset_after: bool = True):
    state = np.zeros(UNITS)
    for _ in range(STEPS):
        update, reset, signal = np.split(x @ w, 3)
        first, second, third = np.split(u, 3, axis=1)
        update, reset = update + state @ first, reset + state @ second
        signal = signal + (root(reset, state @ third) if reset_after else root(reset, state) @ third)
        state = root(update, state) + root(update, signal)
    return state.sum()


def slopes(function, arrays: list[np.ndarray]) -> list[np.ndarray]:
    """Central differences at each entry."""
    found = []
    for array in arrays:
        slope = np.zeros_like(array)
        for place in np.ndindex(array.shape):
            step, own = 1e-5 * array[place], array[place]
            array[place] = own + step
            above = function(*arrays)
            array[place] = own - step
            slope[place] = (above - function(*arrays)) / (2 * step)
            array[place] = own
        found.append(slope)
    return found


CELLS = {
    "simple": (layers.SimpleRNN, {}, simple),
    "lstm": (layers.LSTM, {}, lstm),
    "lstm unrolled": (layers.LSTM, {"unroll": True}, lstm),
    "gru": (layers.GRU, {}, gru),
    "gru, reset before": (layers.GRU, {"reset_after": False}, lambda x, w, u: gru(x, w, u, reset_after=False)),
}


@pytest.mark.parametrize("kind", CELLS)
def test_scores_are_those_of_the_flow_by_hand(kind):
    make, options, by_hand = CELLS[kind]
    model = kt.masked(keras.Sequential([keras.Input((STEPS, FEATURES)), make(UNITS, name="memory", **options)]))
    before = kt.get_params(model), nets.outputs(model, nets.batch(model, 4)[0])
    scores = CRITERIA["synflow"](model, kt.get_params(model), kt.get_mask(model), None, None)
    weights = [np.abs(before[0][path]).astype(float) for path in scores]
    ones = np.ones(FEATURES)
    whole = by_hand(ones, *weights)
    for (path, found), w, slope in zip(
        scores.items(), weights, slopes(lambda *arrays: by_hand(ones, *arrays), weights), strict=True
    ):
        np.testing.assert_allclose(found, w * slope / whole, rtol=1e-4, atol=1e-7, err_msg=path)
    assert all(array.tobytes() == before[0][path].tobytes() for path, array in kt.get_params(model).items())
    np.testing.assert_array_equal(nets.outputs(model, nets.batch(model, 4)[0]), before[1])


def stacked() -> keras.Model:
    inputs = keras.Input((STEPS, FEATURES), name="steps")
    x = layers.Dense(FEATURES, activation="relu", name="pre")(inputs)
    x = layers.RNN([layers.LSTMCell(3, name="low"), layers.GRUCell(2, name="high")], name="stack")(x)
    return keras.Model(inputs, layers.Dense(2, name="head")(x), name="stacked")


def test_every_layer_that_all_paths_pass_has_the_whole_flow_even_where_gates_are_pruned():
    model = kt.masked(stacked())
    mask = kt.get_mask(model)
    path = next(path for path in mask if "low/kernel" in path)
    mask[path][:, 0] = False  # unit 0 can take nothing in: its paths are dead, and no root of 0 is differentiated
    scores = CRITERIA["synflow"](model, kt.get_params(model), mask, None, None)
    assert all(np.isfinite(array).all() for array in scores.values())
    whole = [array.sum() for path, array in scores.items() if "recurrent" not in path]
    np.testing.assert_allclose(whole, 1, rtol=1e-4)
    assert not scores[path][:, 0].any()


@pytest.mark.parametrize("seed", [12, 14])
def test_a_recurrent_network_is_pruned_in_rounds_without_losing_a_gate(seed):
    keras.utils.set_random_seed(seed)  # with both seeds, one gate keeps nothing but its recurrent weights on JAX
    model = kt.masked(keras.Sequential([keras.Input((STEPS, FEATURES)), layers.LSTM(UNITS, name="memory")]))
    ticket = kt.callbacks.PruneAtInitialization("synflow", 0.5, rounds=5).find(model)
    kept = sum(np.concatenate([mask.sum(0) for mask in ticket.mask.values()]).reshape(2, 4, UNITS))  # by gate
    assert (kept.sum(1) > 0).all()


def test_attention_is_refused_and_left_as_it_was():
    model = kt.masked(nets.one_layer("MultiHeadAttention"))
    before = nets.outputs(model, nets.batch(model, 4)[0])
    with pytest.raises(ValueError, match=r"'one_layer' with attention in \['layer'\].*another criterion"):
        CRITERIA["synflow"](model, kt.get_params(model), kt.get_mask(model), None, None)
    np.testing.assert_array_equal(nets.outputs(model, nets.batch(model, 4)[0]), before)
