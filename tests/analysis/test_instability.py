"""Instability analysis end to end on digits, against trainings and evaluations done by hand."""

import numpy as np
import pytest

import kerasticket as kt
from kerasticket.analysis import instability
from kerasticket.experiments.search import random_ticket
from kerasticket.training.recipe import Recipe, evaluate, train

RECIPE = Recipe(epochs=1, batch_size=16, learning_rate=0.05)


@pytest.fixture(scope="module")
def digits():
    return kt.data.load("digits", images_per_class=4)


def dense(digits, seed: int = 0) -> kt.Ticket:
    return kt.Ticket.dense(kt.masked(kt.models.lenet_300_100(digits.input_shape, 10, seed=seed)))


def half(digits) -> kt.Ticket:
    ticket = dense(digits)
    kept = {path: np.random.default_rng(1).random(mask.shape) < 0.5 for path, mask in ticket.mask.items()}
    return random_ticket(ticket, ticket.pruned(kept, {"name": "half"}), seed=0)


def test_ends_are_trainings_of_the_ticket_in_those_data_orders(digits):
    ticket, trained = half(digits), {}
    result = instability(
        ticket,
        digits,
        RECIPE,
        test=digits,
        data_orders=(3, 5),
        alphas=2,
        on_trained=lambda i, o, p: trained.update({o: p}),
    )
    model = ticket.model()
    for order, position in ((3, 0), (5, -1)):
        model.compiled = False
        ticket.apply(model)
        train(model, digits, RECIPE, data_order=order)
        found = kt.get_params(model)
        assert all(np.array_equal(found[path], trained[order][path]) for path in found)
        assert not any(np.any(found[path][~mask]) for path, mask in ticket.mask.items())
        expected = evaluate(model, digits)
        assert result.curve.loss[position] == pytest.approx(expected["loss"], rel=1e-5)
        assert result.curve.accuracy[position] == pytest.approx(expected["accuracy"])
    assert np.array_equal(result.pairs[0].train.loss, result.pairs[0].test.loss)
    assert result.curve.mask_overlap > 0.99


def test_every_two_orders_of_every_ticket_are_a_pair(digits):
    result = instability([dense(digits, 0), dense(digits, 1)], digits, RECIPE, data_orders=(1, 2, 3), alphas=2)
    assert [(pair.ticket, pair.data_orders) for pair in result.pairs] == [
        *((0, orders) for orders in ((1, 2), (1, 3), (2, 3))),
        *((1, orders) for orders in ((1, 2), (1, 3), (2, 3))),
    ]
    assert result.pairs[0].test is None
    again = instability([dense(digits, 0)], digits, RECIPE, data_orders=(1, 2, 3), alphas=2)
    assert np.array_equal(again.curve.loss, result.curve.loss)


@pytest.mark.parametrize("orders", [(1,), (1, 1), ()])
def test_one_data_order_is_no_pair(digits, orders):
    with pytest.raises(ValueError, match="two different data orders"):
        instability(dense(digits), digits, RECIPE, data_orders=orders)


def test_bad_settings_are_refused_before_any_training(digits):
    def fail(*arguments):
        raise AssertionError("trained")

    for options in ({"statistics": "none"}, {"alphas": [0, 2]}):
        with pytest.raises(ValueError, match="statistics|alphas"):
            instability(dense(digits), digits, RECIPE, on_trained=fail, **options)
    with pytest.raises(ValueError, match="Expected a Ticket"):
        instability("ticket.keras", digits, RECIPE)
