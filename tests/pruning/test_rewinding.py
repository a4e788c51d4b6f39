"""What goes back after a round, for each name in `REWINDS`: weights, statistics, slots, counters and rates."""

import keras
import nets
import numpy as np
import pytest

import kerasticket as kt
from kerasticket.params import differing
from kerasticket.pruning.rewinding import REWINDS, Restart
from kerasticket.tickets import optimizer_state

pytestmark = pytest.mark.same_on_every_backend


def step(model: keras.Model) -> None:
    gradients = [keras.ops.ones(variable.shape) for variable in model.trainable_variables]
    model.optimizer.apply(gradients, model.trainable_variables)


@pytest.fixture(scope="module")
def round():
    """A point after one step, the same model after three, its params there, and a ticket."""
    model = nets.compile_for_test(kt.masked(nets.small_convnet()), keras.optimizers.SGD(0.1, momentum=0.9))
    ticket = kt.Ticket.dense(model)
    step(model)
    rates = optimizer_state.get_learning_rate(model)
    point = Restart(kt.get_params(model), optimizer_state.get_state(model), rates)
    step(model)
    step(model)
    model.get_layer("norm").moving_mean.assign(np.arange(4.0))
    model.optimizer.learning_rate = 0.05
    return point, kt.get_params(model), model, ticket


def rewound(name: str, round) -> Restart:
    return REWINDS[name](*round)


def test_everything_goes_back(round):
    assert rewound("all", round) == round[0]


def test_kernels_go_back_and_what_has_no_mask_stays(round):
    point, trained, _, ticket = round
    found = rewound("kernels", round)
    assert set(differing(found.params, trained)) == set(ticket.mask) == {"conv/kernel", "classifier/kernel"}
    assert all(np.array_equal(found.params[path], point.params[path]) for path in ticket.mask)
    assert found.params["norm/moving_mean"].tolist() == [0, 1, 2, 3]
    assert found.optimizer is point.optimizer


def test_only_the_place_in_the_schedule_goes_back(round):
    point, trained, model, _ = round
    found = rewound("learning_rate", round)
    assert not differing(found.params, trained)
    assert found.optimizer["iteration"] == 1
    slots = {key for key in found.optimizer if ":" in key}
    assert len(slots) == 6
    now = optimizer_state.get_state(model)
    assert all(np.array_equal(found.optimizer[key], now[key]) for key in slots)
    assert found.rates is point.rates
    fresh = REWINDS["learning_rate"](point._replace(optimizer={}), *round[1:])
    assert fresh.optimizer["iteration"] == 0  # an empty state is a fresh one


def test_nothing_goes_back(round):
    _, trained, model, _ = round
    found = rewound("nothing", round)
    assert not differing(found.params, trained)
    assert not differing(found.optimizer, optimizer_state.get_state(model))
    assert found.optimizer["iteration"] == 3
    assert [float(rate) for rate in found.rates.values()] == pytest.approx([0.05])
