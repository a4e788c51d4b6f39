"""Gradual pruning as a Keras callback: one training, during which the network becomes sparse."""

import dataclasses
import warnings

import keras
import numpy as np

from kerasticket import masking, masks
from kerasticket.pruning import criteria
from kerasticket.pruning.allocation import Allocation
from kerasticket.pruning.schedules import Schedule
from kerasticket.pruning.structures import Structure


@dataclasses.dataclass(frozen=True)
class Update:
    """One update of the mask: before which epoch or step, and what it left."""

    time: int
    sparsity: float
    kept: int


class GradualPruning(keras.callbacks.Callback):
    """Prunes a masked model while it trains, by a schedule (Zhu & Gupta 2018; Gale et al. 2019; Han et al. 2015).

    Pruned weights and their optimizer slots are exactly zero from then on, and do not come back: masks are nested,
    whereas TF-MOT and the original let weights under the mask train on. Learning rate and all else go on as they are.

    Updates every n steps work on JAX too: the state of the training is put back into the model before each, and
    taken from it after. That costs a copy of the weights, so give a `frequency` of many steps.

    Args:
        schedule: a `Schedule`; it must end before the training does.
        criterion: a name in `criteria.CRITERIA` or a function with their signature.
        scope, structure, empty_layers: as of `allocation.Allocation`.
        data: handed to the criterion.
        seed: of the criterion's random numbers, which follow from it and the time.

    Attributes:
        updates: an `Update` for each change of the mask.

    Raises:
        ValueError: any argument out of range, at once; a model without masks, an optimizer with moving averages of the
            weights, or a training that is over before the schedule, before training.

    Warns:
        UserWarning: training stopped before the schedule ended.

    >>> pruning = GradualPruning(Schedule(0.9, begin=2, end=20), scope="erk")
    >>> pruning.schedule.at(20)
    0.9
    """

    def __init__(
        self,
        schedule: Schedule,
        criterion: str | criteria.Criterion = "magnitude",
        *,
        scope: str = "global",
        structure: str | Structure = "weights",
        empty_layers: str = "keep",
        data=None,
        seed: int = 0,
    ):
        super().__init__()
        if not isinstance(schedule, Schedule):
            raise ValueError(f"Expected a Schedule, such as Schedule(0.9, end=20). Received: schedule={schedule!r}")
        if not (isinstance(seed, int) and seed >= 0):
            raise ValueError(f"Expected a seed that is a whole number of at least 0. Received: seed={seed!r}")
        self.schedule, self.data, self.seed = schedule, data, seed
        self._scores, self._allocation = criteria.get(criterion), Allocation(scope, structure, empty_layers)
        self.updates: list[Update] = []

    def on_train_begin(self, logs=None):
        masking.require_masked(self.model)
        if getattr(self.model.optimizer, "inner_optimizer", self.model.optimizer).use_ema:
            raise ValueError("Expected an optimizer without use_ema, whose averages would bring pruned weights back.")
        epochs, steps = self.params.get("epochs"), self.params.get("steps")
        length = epochs if self.schedule.unit == "epoch" else epochs * steps if steps else None
        if length is not None and self.schedule.last >= length:
            raise ValueError(
                f"Expected a training that goes on after the schedule's end, {self.schedule.unit} "
                f"{self.schedule.last}. Received: one of {length} {self.schedule.unit}s. Train longer, or end the "
                "schedule earlier."
            )
        self.updates, self._last = [], -1
        self._before, self._in_epoch = 0, 0

    def on_epoch_begin(self, epoch, logs=None):
        if self.schedule.unit == "epoch":
            self._advance(epoch)

    def on_train_batch_begin(self, batch, logs=None):
        if self.schedule.unit == "step":
            self._advance(self._before + batch)

    def on_train_batch_end(self, batch, logs=None):
        self._in_epoch = batch + 1

    def on_epoch_end(self, epoch, logs=None):
        self._before, self._in_epoch = self._before + self._in_epoch, 0

    def on_train_end(self, logs=None):
        if self.schedule.next_update(self._last) is not None:
            warnings.warn(
                f"Training stopped before the schedule's end, {self.schedule.unit} {self.schedule.last}: the sparsity "
                f"is {masking.sparsity(self.model):.4f}, not {self.schedule.target}.",
                UserWarning,
                stacklevel=2,
            )

    def _advance(self, time: int) -> None:
        due = self.schedule.next_update(self._last)
        if due is not None and due <= time:
            self._prune(time)
            self._last = time

    def _prune(self, time: int) -> None:
        if hasattr(self.model, "jax_state_sync"):
            self.model.jax_state_sync()  # within an epoch, the weights of a JAX model live outside of it
        mask = masking.get_mask(self.model)
        rng = np.random.default_rng([self.seed, time])
        scores = self._scores(self.model, masking.get_params(self.model), mask, self.data, rng)
        pruned = self._allocation.to_sparsity(self.model, scores, mask, self.schedule.at(time))
        masking.set_mask(self.model, pruned)
        self.updates.append(Update(time, masks.sparsity(pruned), masks.kept(pruned)))
