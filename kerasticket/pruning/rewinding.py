"""What goes back at the end of a round of pruning, one function each (Renda et al. 2020, arXiv 2003.02389)."""

from collections.abc import Callable
from typing import NamedTuple

import keras

from kerasticket.params import Params
from kerasticket.tickets import optimizer_state
from kerasticket.tickets.ticket import Ticket


class Restart(NamedTuple):
    """Where the next round starts: weights, optimizer state (empty: fresh), learning rates (none under a schedule)."""

    params: Params
    optimizer: Params
    rates: Params


Rewind = Callable[[Restart, Params, keras.Model, Ticket], Restart]


def everything(point: Restart, trained: Params, model: keras.Model, ticket: Ticket) -> Restart:
    """Weights, statistics, seed states and optimizer (Frankle et al. 2020)."""
    return point


def kernels(point: Restart, trained: Params, model: keras.Model, ticket: Ticket) -> Restart:
    """Prunable weights and optimizer; biases, norms and statistics keep their trained values."""
    mixed = {path: point.params[path] if path in ticket.mask else array for path, array in trained.items()}
    return point._replace(params=mixed)


def learning_rate(point: Restart, trained: Params, model: keras.Model, ticket: Ticket) -> Restart:
    """The position in the learning-rate schedule alone; weights and momentum go on (Renda et al. 2020)."""
    before = optimizer_state.fresh_state(model) | point.optimizer
    state = optimizer_state.get_state(model)
    return point._replace(
        params=trained, optimizer={key: array if ":" in key else before[key] for key, array in state.items()}
    )


def nothing(point: Restart, trained: Params, model: keras.Model, ticket: Ticket) -> Restart:
    """Fine-tuning (Han et al. 2015): training goes on where it is, at the learning rate that it ended with."""
    return Restart(trained, optimizer_state.get_state(model), optimizer_state.get_learning_rate(model))


REWINDS: dict[str, Rewind] = {
    "all": everything,
    "kernels": kernels,
    "learning_rate": learning_rate,
    "nothing": nothing,
}
