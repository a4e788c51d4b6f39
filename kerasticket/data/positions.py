"""Which epoch of a pipeline comes next, and setting it: each pipeline has a position of its own."""

from threading import Lock
from typing import Any, NamedTuple

import numpy as np


class Position(NamedTuple):
    """Epoch `epoch` of round `round`, both counted from 0; an epoch is the pipeline's `passes` over the data."""

    round: int = 0
    epoch: int = 0


class Counter:
    """The position of one pipeline: each new iteration takes it and leaves the next epoch."""

    def __init__(self) -> None:
        self.lock, self.next = Lock(), Position()

    def take(self) -> np.ndarray:
        """(round, epoch) as int64."""
        with self.lock:
            taken, self.next = self.next, self.next._replace(epoch=self.next.epoch + 1)
        return np.array(taken, np.int64)


def checked(position: Any) -> Position:
    """A pair of whole numbers of at least 0 as a `Position`; raises ValueError for anything else."""
    pair = tuple(position) if isinstance(position, (tuple, list, np.ndarray)) else ()
    if len(pair) != 2 or not all(isinstance(one, (int, np.integer)) and one >= 0 for one in pair):
        raise ValueError(f"Expected (round, epoch), two whole numbers from 0, as position. Received: {position!r}")
    return Position(*map(int, pair))


def pipelines_in(dataset: Any) -> list[Any]:
    """The pipelines that a dataset is or was made of by `map`, `take`, `zip` and their like.

    Of one that is made within a function, as by `flat_map`, nothing can be known; what is no tf.data.Dataset has none.
    """
    if isinstance(getattr(dataset, "position", None), Position):
        return [dataset]
    # TensorFlow has no public name for it; every tf.data.Dataset must have this method, own ones too.
    inputs = dataset._inputs() if hasattr(dataset, "element_spec") and hasattr(dataset, "_inputs") else ()
    return [pipeline for each in inputs for pipeline in pipelines_in(each)]


def move(dataset: Any, round: int, epoch: int) -> None:
    """Sets the position of the pipelines that a dataset is or was made of; an iteration that has begun goes on."""
    for pipeline in pipelines_in(dataset):
        pipeline.position = round, epoch
