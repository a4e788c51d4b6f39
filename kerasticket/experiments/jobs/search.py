"""One round of a search: train a ticket, prune what it became, rewind."""

from kerasticket import training
from kerasticket.experiments.epoch_events import EpochEvents
from kerasticket.experiments.events import Event, Listener
from kerasticket.experiments.experiment import Experiment
from kerasticket.experiments.jobs.results import keep, line
from kerasticket.experiments.search import Search
from kerasticket.params import Params
from kerasticket.pruning.round import Round
from kerasticket.tickets.ticket import Ticket


def search(experiment: Experiment, listener: Listener, *, seed: int, kind: str, index: int) -> None:
    """Finds the ticket of a round; a round of IMP is a training on real data, and is kept as such."""
    config, recipe, run = experiment.config, experiment.recipe(kind), experiment.run
    log = training.EpochLog(recipe)

    def on_round_end(record: Round, trained: Params) -> None:
        evaluation, history = record.evaluation, log.take()
        listener(Event("note", text=line(seed, kind, record.index, record.sparsity, evaluation, record.seconds)))
        if kind != "imp":
            history.save(run.round(seed, kind, record.index) / "history.csv")
            return
        of = experiment.origin if record.index == experiment.first_round else (kind, record.index)
        if not run.result(seed, *of, config.data_orders[0]).exists():
            ticket = Ticket.load(run.ticket(seed, *of))
            keep(experiment, seed, of[0], ticket, config.data_orders[0], record, trained, history)

    amount = experiment.images_of_a_training(kind) / recipe.keras_epochs
    Search(run, kind, seed, index).iterate(
        experiment.model(kind),
        Ticket.load(run.ticket(seed, *experiment.origin)),
        experiment.pipeline(kind, config.data_orders[0]),
        recipe.keras_epochs,
        callbacks=[EpochEvents(listener, f"seed {seed}  {kind}  round {index - 1}", amount), log],
        on_round_end=on_round_end,
        evaluate=experiment.evaluate,
        seed=seed,
        **experiment.pruning(kind),
    )
