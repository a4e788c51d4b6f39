"""Epochs and steps of one training, counted over all the `fit` calls that it is made of."""

import keras

from kerasticket import masks
from kerasticket.backend.variables import array_of
from kerasticket.masks import Mask
from kerasticket.tickets import masking


class Clock:
    """Where a training is; a `fit` that goes on is told from one that starts anew by what the last one left.

    A `fit` with `initial_epoch` above 0 says itself where it is. One that begins at epoch 0 goes on if the masks are
    those that the last one left, or pruned further, and, where that one had pruned nothing, the optimizer too.

    Attributes:
        epoch: number, over all pieces, of the epoch that runs or comes next.
        steps: steps before that epoch.
    """

    def __init__(self):
        self.epoch = self.steps = 0
        self._left: tuple[Mask, bool, int] | None = None

    def start(self, model: keras.Model, initial_epoch: int, steps_per_epoch: int | None) -> bool:
        """Sets the clock at the first epoch of a `fit`; whether the steps are known."""
        goes_on, known = self._goes_on(model), True
        if initial_epoch == 0 and not goes_on:
            self.epoch = self.steps = 0
        elif initial_epoch and not (goes_on and initial_epoch == self.epoch):
            # The optimizer's count is no help: on TensorFlow it counts the step that finds the data at their end.
            self.epoch, known = initial_epoch, steps_per_epoch is not None
            self.steps = initial_epoch * (steps_per_epoch or 0)
        return known

    def end_epoch(self, model: keras.Model, mask: Mask, has_pruned: bool, steps: int) -> None:
        """Counts an epoch of so many steps, and keeps what it has left."""
        self.epoch, self.steps = self.epoch + 1, self.steps + steps
        self._left = (mask, has_pruned, iterations(model))

    def _goes_on(self, model: keras.Model) -> bool:
        if self._left is None:
            return False
        mask, has_pruned, steps = self._left
        return masks.is_nested(masking.get_mask(model), mask) and (has_pruned or iterations(model) == steps)


def iterations(model: keras.Model) -> int:
    """Steps that the optimizer has made, those that gather gradients too; 0 before it is built."""
    counts = [variable for variable in model.optimizer.variables if variable.name == "iteration"]
    return int(array_of(counts[0])) if counts else 0
