"""One training of one ticket on real data."""

import time

from kerasticket import training
from kerasticket.experiments.epoch_events import EpochEvents
from kerasticket.experiments.events import Event, Listener
from kerasticket.experiments.experiment import Experiment
from kerasticket.experiments.jobs.results import keep, line
from kerasticket.pruning.round import Round
from kerasticket.tickets.masking import get_params
from kerasticket.tickets.ticket import Ticket


def train(experiment: Experiment, listener: Listener, *, seed: int, kind: str, index: int, data_order: int) -> None:
    """Trains a ticket from its rewind point to the last epoch.

    Raises:
        FloatingPointError: the loss is no longer finite; the ticket is named.
    """
    recipe, model = experiment.recipe("imp"), experiment.model("imp")
    ticket = Ticket.load(experiment.run.ticket(seed, kind, index))
    ticket.apply(model)
    amount = experiment.images_of_a_training("imp") / recipe.keras_epochs
    started = time.perf_counter()
    try:
        history = training.train(
            model,
            experiment.pipeline("imp", data_order),
            recipe,
            # As in the search, so that a longer search later finds the same result.
            round=index if kind in ("imp", "start") else 0,
            first_epoch=ticket.rewind_epoch,
            callbacks=[EpochEvents(listener, f"seed {seed}  {kind}  round {index}", amount)],
        )
    except FloatingPointError as error:
        raise FloatingPointError(f"The {kind} ticket of round {index}, seed {seed}: {error}") from error
    seconds = time.perf_counter() - started
    evaluation = experiment.evaluate(model)
    listener(Event("note", text=line(seed, f"{kind} ticket", index, ticket.sparsity, evaluation, seconds)))
    loss, accuracy = history.final["loss"], history.final["accuracy"]
    record = Round(index, ticket.sparsity, ticket.kept, ticket.total, loss, accuracy, seconds, evaluation)
    keep(experiment, seed, kind, ticket, data_order, record, get_params(model), history)
