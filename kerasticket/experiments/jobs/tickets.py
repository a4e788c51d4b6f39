"""Tickets that need no training: the dense network that a run starts from, random masks, pruning at initialization."""

import kerasticket as kt
from kerasticket.experiments.events import Listener
from kerasticket.experiments.experiment import Experiment
from kerasticket.experiments.search import random_ticket
from kerasticket.masks import number_to_prune
from kerasticket.pruning.callbacks import PruneAtInitialization
from kerasticket.tickets.ticket import Ticket

IMAGES_PER_CLASS = 10  # that GraSP and SNIP see


def start(experiment: Experiment, listener: Listener, *, seed: int) -> None:
    """The ticket of an initialization that everything starts from."""
    experiment.start_ticket(seed).save(experiment.run.ticket(seed, *experiment.origin))


def random_mask(experiment: Experiment, listener: Listener, *, seed: int, like: str, index: int) -> None:
    """A random mask with as many weights as the ticket of another kind keeps."""
    run = experiment.run
    wanted = Ticket.load(run.ticket(seed, like, index))
    dense = Ticket.load(run.ticket(seed, *experiment.origin))
    random_ticket(dense, wanted, seed).save(run.ticket(seed, "random", index))


def prune_at_initialization(
    experiment: Experiment, listener: Listener, *, seed: int, criterion: str, index: int
) -> None:
    """The ticket of a criterion that keeps as many weights as IMP after `index` rounds."""
    run, model = experiment.run, experiment.model("imp")
    dense = Ticket.load(run.ticket(seed, *experiment.origin))
    dense.apply(model)
    sparsity = 1 - kept_after(index, dense.total, experiment.config.fraction) / dense.total
    images = experiment.train
    if isinstance(images, kt.data.DistilledSet):
        raise ValueError(
            "Criteria look at real images as they are. Received: whitened ones, for a distilled set in ZCA."
        )
    # Only GraSP and SNIP look at the data.
    found = PruneAtInitialization(criterion, sparsity, data=images.subset(IMAGES_PER_CLASS, seed), seed=seed).find(
        model
    )
    found.save(run.ticket(seed, criterion, index))


def kept_after(rounds: int, total: int, fraction: float) -> int:
    """Weights that iterative pruning leaves of `total`."""
    for _ in range(rounds):
        total -= number_to_prune(total, fraction)
    return total
