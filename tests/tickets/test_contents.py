"""What a ticket says of itself, counted from its mask and stages."""

import dataclasses

import numpy as np
import pytest

from kerasticket.tickets.contents import Contents

pytestmark = pytest.mark.same_on_every_backend
MASK = {"a/kernel": np.array([[True, False], [True, True]]), "b/kernel": np.zeros((3, 2), bool)}


def contents(**changes) -> Contents:
    return Contents(params={}, mask=MASK, removed_in={}, architecture=None, **changes)


def test_counts_are_over_all_layers():
    assert (contents().kept, contents().total) == (3, 10)
    assert contents().sparsity == pytest.approx(0.7)


def test_the_round_is_the_last_of_all_stages():
    assert contents().round == 0
    stages = ({"name": "imp", "last_round": 4}, {"name": "random", "last_round": 5})
    assert contents(stages=stages).round == contents(stages=stages[::-1]).round == 5


def test_a_ticket_is_fixed_and_does_not_show_its_template():
    ticket = contents(template="a model")
    with pytest.raises(dataclasses.FrozenInstanceError):
        ticket.mask = {}
    assert "a model" not in repr(ticket)
