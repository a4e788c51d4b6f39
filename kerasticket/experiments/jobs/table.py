"""What a worker does, by name: each a function from an experiment and settings to files of its run."""

from collections.abc import Callable

from kerasticket.experiments.jobs.barrier import barrier
from kerasticket.experiments.jobs.search import search
from kerasticket.experiments.jobs.tickets import prune_at_initialization, random_mask, start
from kerasticket.experiments.jobs.train import train

JOBS: dict[str, Callable[..., None]] = {
    "start": start,
    "search": search,
    "random_mask": random_mask,
    "prune_at_initialization": prune_at_initialization,
    "train": train,
    "barrier": barrier,
}
