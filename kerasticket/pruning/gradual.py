"""Gradual pruning as a Keras callback: one training, during which the network becomes sparse."""

import dataclasses
import warnings

import keras
import numpy as np

from kerasticket import masking, masks
from kerasticket.masks import Mask
from kerasticket.params import differing
from kerasticket.pruning import criteria
from kerasticket.pruning.allocation import Allocation, Target
from kerasticket.pruning.schedules import Schedule
from kerasticket.pruning.structures import Structure
from kerasticket.seeds import check_seed


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

    A training that goes on at a later epoch (`initial_epoch`, `BackupAndRestore`) goes on in the schedule.

    Updates every n steps work on JAX too: the state of the training is put back into the model before each, and
    taken from it after. That costs a copy of the weights, so give a `frequency` of many steps. Where a model runs
    several steps per execution, as `Recipe.compile` has it, an update comes before the first execution that begins at
    its step or later.

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
            weights, a training that is over before the schedule, no data for a criterion that needs them, or targets
            that scope and structure cannot meet, before training.

    Warns:
        UserWarning: training stopped before the schedule ended, or a callback before this one in the list has put back
            the masks of an earlier epoch, as EarlyStopping(restore_best_weights=True) does: give it a
            `start_from_epoch` behind the schedule.

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
        check_seed(seed)
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
        self._try_out()
        self.updates, self._last, self._mask = [], -1, masking.get_mask(self.model)
        self._before, self._in_epoch, self._epochs = 0, 0, 0

    def on_epoch_begin(self, epoch, logs=None):
        if not self._epochs:
            self._resume(epoch)
        self._epochs += 1
        if self.schedule.unit == "epoch":
            self._advance(epoch)

    def on_train_batch_begin(self, batch, logs=None):
        if self.schedule.unit == "step":
            self._advance(self._before + batch)

    def on_train_batch_end(self, batch, logs=None):
        self._in_epoch = batch + 1

    def on_epoch_end(self, epoch, logs=None):
        # With steps_per_execution, the number of the last batch may lie beyond the epoch's end.
        steps = self.params.get("steps") or self._in_epoch
        self._before, self._in_epoch = self._before + steps, 0

    def on_train_end(self, logs=None):
        warn_of_other_mask(self.model, self._mask)
        if self.schedule.next_update(self._last) is not None:
            warnings.warn(
                f"Training stopped before the schedule's end, {self.schedule.unit} {self.schedule.last}: the sparsity "
                f"is {masking.sparsity(self.model):.4f}, not {self.schedule.target}.",
                UserWarning,
                stacklevel=2,
            )

    def _resume(self, epoch: int) -> None:
        """A training that goes on at a later epoch, as after BackupAndRestore, has had the updates before it."""
        self._mask = masking.get_mask(self.model)  # restored, perhaps, since the training began
        if self.schedule.unit == "step":
            self._before = epoch * (self.params.get("steps") or 0)
        start = epoch if self.schedule.unit == "epoch" else self._before
        due, self._start = self.schedule.last_update(start), start
        if start and due is not None:
            self._last = due
            self._prune(due, start)

    def _ahead(self, target: Target, time: int) -> bool:
        """Whether a training that goes on has had this update; a whole mask never has, nor one after the last."""
        resumed = self._start > 0 and time < max(self._start, self.schedule.last)
        return resumed and self._allocation.is_at(self.model, target)

    def _advance(self, time: int) -> None:
        due = self.schedule.next_update(self._last)
        if due is not None and due <= time:
            self._prune(time, time)
            self._last = time

    def _try_out(self) -> None:
        """Raises ValueError before any training if pruning would, for want of data or for a target that cannot be."""
        criteria.check_data(self._scores, self.data)
        begun = masking.sparsity(self.model) > 0  # as in a training that goes on, whose first targets are behind it
        self._allocation.try_out(self.model, [self.schedule.target] if begun else self.schedule.targets())

    def _prune(self, time: int, now: int) -> None:
        """Prunes to the target of a time, if the mask is not there already; `now` is when, for the record."""
        if hasattr(self.model, "jax_state_sync"):
            self.model.jax_state_sync()  # within an epoch, the weights of a JAX model live outside of it
        target, mask = self.schedule.at(time), masking.get_mask(self.model)
        if self._ahead(target, time):
            return
        rng = np.random.default_rng([self.seed, time])
        scores = self._scores(self.model, masking.get_params(self.model), mask, self.data, rng)
        pruned = self._allocation.to_sparsity(self.model, scores, mask, target)
        masking.set_mask(self.model, pruned)
        self._mask = pruned
        self.updates.append(Update(now, masks.sparsity(pruned), masks.kept(pruned)))


def warn_of_other_mask(model: keras.Model, mask: Mask) -> None:
    """Warns if the model does not hold the mask that it was given last."""
    if differing(masking.get_mask(model), mask):
        warnings.warn(
            f"The model no longer has the mask that pruning gave it: its sparsity is {masking.sparsity(model):.4f}, "
            f"not {masks.sparsity(mask):.4f}. A callback has put back the weights of an earlier epoch, masks too, as "
            "EarlyStopping(restore_best_weights=True) does: let it begin after the last pruning (start_from_epoch).",
            UserWarning,
            stacklevel=3,
        )
