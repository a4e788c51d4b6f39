"""Canonical paths do not hang on the names that Keras chose: equal on each build, clone, file and backend."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers

import kerasticket as kt
from kerasticket.models.paths import named_variables
from kerasticket.params import differing

KINDS = {
    "dense": lambda name: layers.Dense(6, name=name),
    "norm": lambda name: layers.LayerNormalization(name=name),
    "noise": lambda name: layers.Dropout(0.1, name=name),
    "nothing": lambda name: layers.ReLU(name=name),
    "given": lambda name: layers.Dense(6, name=name or "mine"),
    "shared": None,
    "model": None,
}


def part(kind: str, number: int, x, inner: tuple[str, ...], shared: keras.Layer):
    if kind == "shared":
        return shared(x)
    if kind == "model":
        stack = [KINDS[one](f"in_{place}" if one == "given" else None) for place, one in enumerate(inner)]
        return keras.Sequential([keras.Input((6,)), *stack])(x)
    return KINDS[kind](f"part_{number}" if kind == "given" else None)(x)


def build(kinds: list[tuple[str, bool]], inner: tuple[str, ...]) -> keras.Model:
    """A functional model; each part follows the one before it, or branches off from the inputs and is added."""
    inputs = keras.Input((6,))
    x, shared = inputs, layers.Dense(6)
    for number, (kind, branches) in enumerate(kinds):
        y = part(kind, number, inputs if branches else x, inner, shared)
        x = layers.Add()([x, y]) if branches else y
    return keras.Model(inputs, layers.Dense(2)(x))


SMALL = st.lists(st.sampled_from(["dense", "norm", "noise", "nothing", "given"]), min_size=1, max_size=3).map(tuple)
PARTS = st.lists(st.tuples(st.sampled_from(sorted(KINDS)), st.booleans()), max_size=5)


@pytest.mark.same_on_every_backend
@settings(max_examples=8, deadline=None, derandomize=True)
@given(kinds=PARTS, inner=SMALL, between=st.integers(0, 12))
def test_paths_are_those_of_every_other_build_copy_and_file(kinds, inner, between):
    model = build(kinds, inner)
    paths = list(named_variables(model))
    for _ in range(between):
        layers.Dense(1), layers.Dropout(0.5), layers.LayerNormalization()
    again = build(kinds, inner)
    masked = kt.masked(model)
    other = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(masked))  # as a file does
    for each in (again, masked, other, kt.strip(masked), keras.models.clone_model(again)):
        assert list(named_variables(each)) == paths
        assert [tuple(v.shape) for v in named_variables(each).values()] == [
            tuple(v.shape) for v in named_variables(model).values()
        ]
    by_names = [variable.path.split("/")[-2] for path, variable in named_variables(model).items() if "part_" in path]
    assert by_names == [path.split("/")[-2] for path in paths if "part_" in path]  # given names stay


def transfer() -> keras.Model:
    base = keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(4, 3), layers.Conv2D(4, 3)])
    return keras.Sequential([base, layers.GlobalAveragePooling2D(), layers.Dense(5)])


def test_a_ticket_of_unnamed_layers_fits_the_next_build_and_its_file(tmp_path):
    first, second = transfer(), transfer()
    first.build((None, 8, 8, 3)), second.build((None, 8, 8, 3))
    masked = kt.masked(first, keep_dense="last")
    assert list(kt.get_mask(masked)) == ["sequential/conv2d/kernel", "sequential/conv2d_1/kernel"]
    mask = {path: np.random.default_rng(0).random(array.shape) < 0.5 for path, array in kt.get_mask(masked).items()}
    kt.set_mask(masked, mask)
    kt.Ticket.dense(masked).save(tmp_path / "ticket.keras")
    other = kt.masked(second, keep_dense="last")
    kt.Ticket.load(tmp_path / "ticket.keras").apply(other)
    assert not differing(kt.get_mask(other), mask)
    assert not differing(kt.get_params(other), kt.get_params(masked))
    first.save(tmp_path / "plain.keras")
    loaded = kt.masked(keras.saving.load_model(tmp_path / "plain.keras"), keep_dense="last")
    assert list(kt.get_mask(loaded)) == list(mask)


class Encoder(layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inner = layers.Dense(4)

    def build(self, shape):
        self.inner.build(shape)

    def call(self, x):
        return self.inner(x)


class Other(layers.Dense):
    """A kind of its own: "dense_1" is no name that Keras would give it."""


GIVEN = {
    "lstm/lstm_cell/kernel": (lambda: [layers.LSTM(4, name="lstm")], (5, 6)),
    "encoder/dense/kernel": (lambda: [Encoder(name="encoder")], (6,)),
    "dense/kernel": (lambda: [layers.Dense(4, name="dense")], (6,)),
    "conv2d/kernel": (lambda: [layers.Conv2D(4, 1, name="conv2d_1")], (3, 3, 2)),
    "convolution/kernel": (lambda: [layers.Conv2D(4, 1, name="convolution")], (3, 3, 2)),
    "conv_5/kernel": (lambda: [layers.Conv2D(4, 1, name="conv_5")], (3, 3, 2)),
    "bidirectional/forward_gru/gru_cell/kernel": (lambda: [layers.Bidirectional(layers.GRU(3))], (5, 6)),
    "both/forward_gru/gru_cell/kernel": (lambda: [layers.Bidirectional(layers.GRU(3), name="both")], (5, 6)),
    "time_distributed/dense/kernel": (lambda: [layers.TimeDistributed(layers.Dense(3))], (5, 6)),
}


@pytest.mark.parametrize("path", GIVEN)
def test_names_that_users_give_are_masked(path):
    make, shape = GIVEN[path]
    for _ in range(2):
        model = keras.Sequential([keras.Input(shape), *make(), layers.Flatten(), layers.Dense(2, name="head")])
        paths = list(kt.get_mask(kt.masked(model)))
        assert (paths[0], paths[-1]) == (path, "head/kernel")


@pytest.mark.parametrize(
    ("names", "paths"),
    [
        (["dense_5", "dense_2"], ["dense", "dense_1"]),
        (["hidden_5", "hidden_2"], ["hidden_5", "hidden_2"]),
        (["dense_1", "hidden", "dense"], ["dense", "hidden", "dense_1"]),
        (["other:dense", "dense_3"], ["dense", "dense_1"]),
        (["dense_3", "other:dense"], ["dense_1", "dense"]),
        (["other:dense_1", "dense_3", "dense_4"], ["dense_1", "dense_2", "dense_3"]),
    ],
)
def test_names_of_their_own_are_never_given_to_others(names, paths):
    made = [Other(4, name=name[6:]) if ":" in name else layers.Dense(4, name=name) for name in names]
    model = keras.Sequential([keras.Input((4,)), *made])
    assert list(named_variables(model))[::2] == [f"{path}/kernel" for path in paths]


def test_unnamed_masked_layers_keep_their_paths_when_they_are_stripped():
    layers.Dense(1)
    model = keras.Sequential([keras.Input((6,)), kt.layers.MaskedDense(5), kt.layers.MaskedDense(4)])
    plain = kt.strip(model)
    assert list(kt.get_params(plain)) == list(kt.get_params(model))
    assert list(kt.get_mask(kt.masked(plain))) == ["masked_dense/kernel", "masked_dense_1/kernel"]


def numbered_from_one() -> keras.Model:
    made = [layers.Dense(4, name=f"dense_{number}") for number in (1, 2, 3)]
    return keras.Sequential([keras.Input((4,)), *made])


def test_patterns_may_be_names_as_the_summary_shows_them():
    assert list(kt.get_mask(kt.masked(numbered_from_one(), where="dense_3"))) == ["dense_2/kernel"]
    with pytest.raises(
        ValueError, match=r"the name of \['dense_1'\] and the path of \['dense_2'\].*'dense_2' has the path 'dense_1'"
    ):
        kt.masked(numbered_from_one(), where="dense_2")
    by_function = kt.masked(numbered_from_one(), where=lambda layer: layer.name == "dense_2")
    assert list(kt.get_mask(by_function)) == ["dense_1/kernel"]


def test_masks_under_the_layers_names_as_they_were_written_before_are_understood():
    model = kt.masked(numbered_from_one())
    mask = {path: np.random.default_rng(0).random((4, 4)) < 0.5 for path in kt.get_mask(model)}
    kt.set_mask(model, {f"dense_{number}/kernel": array for number, array in enumerate(mask.values(), 1)})
    assert not differing(kt.get_mask(model), mask)
