"""Movement's sum, epoch by epoch: what is added, when it begins anew, and what it says of epochs that it lacks."""

import warnings

import keras
import nets
import numpy as np
import pytest

import kerasticket as kt
from kerasticket.pruning import Movement, criteria

pytestmark = pytest.mark.same_on_every_backend


@pytest.fixture
def model() -> keras.Model:
    return nets.compile_for_test(kt.masked(nets.mlp()))


def watching(model: keras.Model) -> Movement:
    movement = Movement(nets.batch(model))
    movement.set_model(model)
    return movement


def epoch(movement: Movement, change: float = 0.0, number: int = 0, *, begins: bool = True) -> dict:
    """An epoch that adds `change` to all weights; its term."""
    model = movement.model
    if begins:
        movement.on_train_begin()
    movement.on_epoch_begin(number)
    kt.set_params(model, {path: array + np.float32(change) for path, array in kt.get_params(model).items()})
    movement.on_epoch_end(number)
    return criteria.movement(model, kt.get_params(model), kt.get_mask(model), movement.data, None)


def sums(movement: Movement) -> dict:
    return movement(movement.model, kt.get_params(movement.model), kt.get_mask(movement.model), None, None)


def assert_sum(found: dict, *terms: dict) -> None:
    for path, array in found.items():
        np.testing.assert_allclose(array, sum(term[path] for term in terms), rtol=1e-5, atol=1e-7)


def test_terms_are_added_until_somebody_asks(model):
    movement = watching(model)
    first = epoch(movement, 0.1)
    second = epoch(movement, 0.1, number=1, begins=False)
    assert_sum(sums(movement), first, second)
    with pytest.raises(ValueError, match="Received: none since the last pruning"):
        sums(movement)
    third = epoch(movement, 0.1)
    assert_sum(sums(movement), third)


def test_another_fit_goes_on_with_the_weights_that_the_last_one_left_and_with_no_others(model):
    movement = watching(model)
    first, second = epoch(movement, 0.1), epoch(movement, 0.1)
    assert_sum(sums(movement), first, second)
    epoch(movement, 0.1)
    kt.set_params(model, {path: array * 2 for path, array in kt.get_params(model).items()})
    after = epoch(movement, 0.1)
    assert_sum(sums(movement), after)


def test_epochs_that_are_in_no_file_are_told(model):
    with pytest.warns(UserWarning, match="no scores of the epochs before 3, which are in no file"):
        epoch(watching(model), number=3)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        epoch(watching(model), number=0)
