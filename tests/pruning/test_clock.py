"""Where a training is, over all its fits: what goes on is told from what starts anew."""

import keras
import nets
import numpy as np
import pytest

import kerasticket as kt
from kerasticket.pruning.clock import Clock, iterations

pytestmark = pytest.mark.same_on_every_backend


@pytest.fixture
def model() -> keras.Model:
    return nets.compile_for_test(kt.masked(nets.mlp()))


def step(model: keras.Model) -> None:
    gradients = [keras.ops.ones(variable.shape) for variable in model.trainable_variables]
    model.optimizer.apply(gradients, model.trainable_variables)


def after_an_epoch(model: keras.Model, *, has_pruned: bool) -> Clock:
    """A clock after one epoch of two steps."""
    clock = Clock()
    assert clock.start(model, 0, 2)
    assert (clock.epoch, clock.steps) == (0, 0)
    step(model)
    step(model)
    clock.end_epoch(model, kt.get_mask(model), has_pruned, 2)
    return clock


def test_the_optimizer_counts_steps_from_its_first(model):
    assert iterations(model) == 0
    step(model)
    assert iterations(model) == 1


def test_a_fit_from_epoch_0_goes_on_if_nobody_has_trained_since(model):
    clock = after_an_epoch(model, has_pruned=False)
    assert clock.start(model, 0, 2)
    assert (clock.epoch, clock.steps) == (1, 2)
    step(model)
    clock.start(model, 0, 2)
    assert (clock.epoch, clock.steps) == (0, 0)


def test_after_pruning_the_masks_tell_whether_it_goes_on(model):
    kt.set_mask(model, nets.half_mask(model))
    clock = after_an_epoch(model, has_pruned=True)
    step(model)
    clock.start(model, 0, 2)
    assert clock.epoch == 1
    kt.set_mask(model, {path: kept & (np.arange(kept.shape[1]) > 0) for path, kept in kt.get_mask(model).items()})
    clock.start(model, 0, 2)  # pruned further
    assert clock.epoch == 1
    kt.set_mask(model, {path: np.ones_like(kept) for path, kept in kt.get_mask(model).items()})
    clock.start(model, 0, 2)
    assert (clock.epoch, clock.steps) == (0, 0)


def test_a_later_first_epoch_says_itself_where_it_is(model):
    clock = Clock()
    assert clock.start(model, 3, 5)
    assert (clock.epoch, clock.steps) == (3, 15)
    assert not clock.start(model, 2, None)  # steps that nobody knows
    assert (clock.epoch, clock.steps) == (2, 0)
    clock = after_an_epoch(model, has_pruned=False)
    assert clock.start(model, 1, 7)  # the next one of its own: its own count is right
    assert (clock.epoch, clock.steps) == (1, 2)
