"""Controls of a ticket differ from it in one thing alone; what would make them differ in more is refused."""

import dataclasses
import functools
import random

import keras
import nets
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kerasticket as kt
from kerasticket import masks
from kerasticket.params import differing
from kerasticket.tickets import optimizer_state

CONTROLS = {
    "shuffled": lambda ticket, dense: ticket.shuffled(3, dense=dense),
    "inverted": lambda ticket, dense: ticket.inverted(3, dense=dense),
    "random_like": lambda ticket, dense: ticket.random_like(3, dense=dense),
    "random_like in each layer": lambda ticket, dense: ticket.random_like(3, dense=dense, scope="layer"),
}
STAGE = {"name": "imp"}


def pruned_twice(build=nets.small_convnet, seed: int = 0, **dense_options) -> tuple[kt.Ticket, kt.Ticket]:
    """The dense ticket, and one after two rounds with random masks of unequal layers."""
    dense = kt.Ticket.dense(kt.masked(build()), **dense_options)
    rng, ticket = np.random.default_rng(seed), dense
    for share in (0.7, 0.6):
        drawn = {path: mask & (rng.random(mask.shape) < share) for path, mask in ticket.mask.items()}
        ticket = ticket.pruned(drawn, STAGE)
    return dense, ticket


def counts(mask: masks.Mask) -> dict[str, int]:
    return {path: int(array.sum()) for path, array in mask.items()}


@pytest.mark.parametrize("name", CONTROLS)
def test_a_control_is_a_ticket_of_the_dense_weights_at_the_same_count(name, tmp_path):
    dense, ticket = pruned_twice()
    control = CONTROLS[name](ticket, dense)
    assert (control.kept, control.round, control.rewind_epoch) == (ticket.kept, ticket.round, 0)
    assert name == "random_like" or counts(control.mask) == counts(ticket.mask)
    assert differing(control.mask, ticket.mask)
    assert not differing(control.params, masks.zeroed(dense.params, control.mask))
    for path, removed in control.removed_in.items():
        np.testing.assert_array_equal(removed == 0, control.mask[path])
    assert [stage["name"] for stage in control.stages] == ["imp", name.split()[0]]
    assert not differing(CONTROLS[name](ticket, dense).mask, control.mask)
    control.save(tmp_path / "control.keras")
    model = kt.masked(nets.small_convnet())
    kt.Ticket.load(tmp_path / "control.keras").apply(model)
    control.verify(model)


@pytest.mark.parametrize("name", CONTROLS)
def test_a_control_at_a_rewind_point_has_the_dense_slots_under_its_own_mask(name):
    model = nets.compile_for_test(kt.masked(nets.small_convnet()), keras.optimizers.Adam())
    optimizer_state.build(model)
    warm = {key: array + 1 for key, array in optimizer_state.get_state(model).items()}
    dense = kt.Ticket.dense(model, rewind_epoch=1, optimizer=warm)
    control = CONTROLS[name](dense.pruned(nets.half_mask(model), STAGE), dense)
    assert control.rewind_epoch == 1
    assert not differing(control.optimizer, optimizer_state.masked_state(dense.optimizer, control.mask))
    control.apply(model)
    control.verify(model)


@given(seed=st.integers(0, 50), share=st.floats(0, 1))
@settings(max_examples=20, deadline=None)
def test_the_inverse_overlaps_as_little_as_equal_counts_allow(seed, share):
    dense = dense_mlp()
    rng = np.random.default_rng(seed)
    ticket = dense.pruned({path: rng.random(mask.shape) < share for path, mask in dense.mask.items()}, STAGE)
    inverse = ticket.inverted(seed, dense=dense)
    assert counts(inverse.mask) == counts(ticket.mask)
    for path, mask in ticket.mask.items():
        assert int((mask & inverse.mask[path]).sum()) == max(0, 2 * int(mask.sum()) - mask.size)


@functools.cache
def dense_mlp() -> kt.Ticket:
    return kt.Ticket.dense(kt.masked(nets.mlp()))


def test_the_inverse_keeps_what_was_removed_first():
    dense = dense_mlp()
    first = {path: np.arange(mask.size).reshape(mask.shape) >= 10 for path, mask in dense.mask.items()}
    second = {path: np.arange(mask.size).reshape(mask.shape) >= 30 for path, mask in dense.mask.items()}
    ticket = dense.pruned(first, STAGE).pruned(second, STAGE)
    inverse = ticket.inverted(dense=dense)
    assert counts(ticket.mask) == {"hidden/kernel": 18, "classifier/kernel": 10}
    assert inverse.mask["hidden/kernel"].ravel()[:10].all()  # round 1, then 8 drawn from round 2
    assert inverse.mask["hidden/kernel"].ravel()[10:30].sum() == 8
    assert inverse.mask["classifier/kernel"].ravel()[:10].all()


def test_a_shuffled_mask_keeps_the_record_of_each_round():
    dense, ticket = pruned_twice()
    control = ticket.shuffled(0, dense=dense)
    for path, removed in ticket.removed_in.items():
        np.testing.assert_array_equal(np.bincount(removed.ravel()), np.bincount(control.removed_in[path].ravel()))


def test_controls_draw_from_what_the_dense_ticket_has():
    model = kt.masked(nets.small_convnet())
    kt.set_mask(model, nets.half_mask(model))
    dense = kt.Ticket.dense(model)
    ticket = dense.pruned(
        {path: mask & (np.arange(mask.shape[-1]) % 2 > 0) for path, mask in dense.mask.items()}, STAGE
    )
    for make in CONTROLS.values():
        control = make(ticket, dense)
        assert masks.is_nested(control.mask, dense.mask)
        assert control.kept == ticket.kept


def test_seeds_and_rounds_draw_apart():
    dense, ticket = pruned_twice()
    assert differing(ticket.shuffled(0, dense=dense).mask, ticket.shuffled(1, dense=dense).mask)
    later = dataclasses.replace(ticket, stages=({**STAGE, "first_round": 1, "last_round": 5},))
    assert differing(ticket.shuffled(0, dense=dense).mask, later.shuffled(0, dense=dense).mask)


def seeded_lenet() -> keras.Model:
    return kt.models.lenet_300_100((3, 3, 1), 4, seed=7)


@pytest.mark.parametrize("name", CONTROLS)
def test_the_dense_weights_of_seeded_models_need_not_be_given(name):
    dense, ticket = pruned_twice(seeded_lenet)
    alone, given = CONTROLS[name](ticket, None), CONTROLS[name](ticket, dense)
    assert not differing(alone.params, given.params)
    assert not differing(alone.mask, given.mask)


def seeded_keras() -> keras.Model:
    """Keras' own initializers, all with a seed of their own."""
    inputs = keras.Input((6,), name="features")
    x = keras.layers.Dense(8, kernel_initializer=keras.initializers.HeNormal(seed=1), name="hidden")(inputs)
    x = keras.layers.Dropout(0.5, seed=2, name="drop")(x)
    head = keras.layers.Dense(5, kernel_initializer=keras.initializers.GlorotUniform(seed=3), name="classifier")
    return keras.Model(inputs, head(x), name="seeded")


@pytest.mark.parametrize("build", [nets.small_convnet, nets.nested, seeded_lenet, seeded_keras])
def test_reinitialized_draws_every_random_weight_and_keeps_the_rest(build):
    _, ticket = pruned_twice(build)
    one, again, other = ticket.reinitialized(0), ticket.reinitialized(0), ticket.reinitialized(1)
    assert not differing(one.mask, ticket.mask)
    assert not differing(one.params, again.params)
    for path, mask in ticket.mask.items():
        assert (one.params[path][mask] != other.params[path][mask]).all()
        assert (one.params[path][mask] != ticket.params[path][mask]).all()
        assert not one.params[path][~mask].any()
    for path in ticket.params:
        if path not in ticket.mask:  # zero biases, fresh statistics, seed states
            np.testing.assert_array_equal(one.params[path], ticket.params[path])
    assert one.stages[-1] == {"name": "reinitialized", "seed": 0, "first_round": 2, "last_round": 2}
    assert (one.round, one.rewind_epoch, one.optimizer) == (2, 0, {})
    one.apply(kt.masked(build()))


def test_reinitialized_weights_have_the_spread_of_their_initializer():
    _, ticket = pruned_twice(lambda: kt.models.lenet_300_100((10, 10, 1), 4, seed=7))
    kernel, mask = ticket.reinitialized(0).params["hidden_1/kernel"], ticket.mask["hidden_1/kernel"]
    assert kernel[mask].std() == pytest.approx((2 / (100 + 300)) ** 0.5, rel=0.03)


def test_reinitialized_models_of_ours_are_the_same_on_every_backend():
    _, ticket = pruned_twice(seeded_lenet)
    kernel = kt.Ticket.dense(ticket.reinitialized(5).model()).params["logits/kernel"]
    first = kernel[ticket.mask["logits/kernel"]][:3]
    np.testing.assert_allclose(first, [-0.0523885787, 0.0220521148, -0.0893713608], rtol=1e-6)


def test_reinitializing_leaves_the_global_random_state_alone():
    _, ticket = pruned_twice()
    random.seed(0)
    expected = random.random()
    random.seed(0)
    ticket.reinitialized(1)
    assert random.random() == expected


@keras.saving.register_keras_serializable(package="tests")
class Restless(keras.initializers.Initializer):
    """Draws from NumPy without a seed."""

    def __call__(self, shape, dtype=None):
        return keras.ops.convert_to_tensor(np.random.default_rng().normal(size=shape), dtype)


def restless() -> keras.Model:
    stack = [keras.Input((6,)), keras.layers.Dense(5, kernel_initializer=Restless(), name="classifier")]
    return keras.Sequential(stack, name="restless")


def test_what_cannot_be_drawn_again_is_refused():
    dense, ticket = pruned_twice(restless)
    with pytest.raises(ValueError, match=r"follow from seeds.*classifier/kernel"):
        ticket.reinitialized(0)
    with pytest.raises(ValueError, match=r"dense=imp.tickets\[0\]"):
        ticket.shuffled(0)
    ticket.shuffled(0, dense=dense)
    with pytest.raises(ValueError, match="subclassed"):
        dataclasses.replace(ticket, architecture=None).reinitialized(0)


def test_a_trained_ticket_needs_its_dense_ticket():
    _, ticket = pruned_twice(seeded_lenet)
    moved = dataclasses.replace(ticket, params={path: array + 1 for path, array in ticket.params.items()})
    with pytest.raises(ValueError, match=r"at the initial weights.*dense=None"):
        moved.inverted()
    with pytest.raises(ValueError, match=r"dense ticket at epoch 2.*dense=None"):
        dataclasses.replace(ticket, rewind_epoch=2).inverted()


def test_another_dense_ticket_is_refused():
    dense, ticket = pruned_twice()
    stranger, _ = pruned_twice(nets.mlp)
    with pytest.raises(ValueError, match="weights that this one keeps, to the bit"):
        ticket.shuffled(0, dense=stranger)
    other, _ = pruned_twice()  # unseeded: other weights
    with pytest.raises(ValueError, match="differs at.*conv/kernel"):
        ticket.random_like(0, dense=other)
    with pytest.raises(ValueError, match=r"epoch 0.*rewind_epoch=1"):
        ticket.shuffled(0, dense=dataclasses.replace(dense, rewind_epoch=1))
    with pytest.raises(ValueError, match="a Ticket. Received: dict"):
        ticket.shuffled(0, dense=dense.params)
    with pytest.raises(ValueError, match="differs at"):  # dense and ticket exchanged
        dense.shuffled(0, dense=ticket)


@pytest.mark.parametrize("seed", [-1, 0.5, None])
def test_seeds_are_whole_numbers(seed):
    dense, ticket = pruned_twice(nets.mlp)
    with pytest.raises(ValueError, match="whole number of at least 0"):
        ticket.shuffled(seed, dense=dense)
    with pytest.raises(ValueError, match="whole number of at least 0"):
        ticket.reinitialized(seed)


def test_an_unknown_scope_is_refused():
    dense, ticket = pruned_twice(nets.mlp)
    with pytest.raises(ValueError, match="global.*layer.*row"):
        ticket.random_like(0, dense=dense, scope="row")
