"""Gradual pruning as a Keras callback: one training, during which the network becomes sparse."""

import dataclasses
import warnings

import keras
import numpy as np

from kerasticket import masks
from kerasticket.checks import check_seed
from kerasticket.masks import Mask
from kerasticket.params import differing
from kerasticket.pruning import criteria
from kerasticket.pruning.allocation import Allocation, Target
from kerasticket.pruning.checks import check_model
from kerasticket.pruning.clock import Clock
from kerasticket.pruning.schedules import Schedule
from kerasticket.pruning.structures import Structure
from kerasticket.tickets import masking


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

    A training may come in pieces: a `fit` with `initial_epoch`, as after a kill or in KerasTuner's Hyperband, goes on
    in the schedule, with this callback or another one like it; so does a further `fit` of the same callback that
    begins at epoch 0, unless the model is another one or was put back. A model that is pruned already stays as it is
    until the schedule passes its sparsity.

    Updates every n steps work on JAX too: the state of the training is put back into the model before each, and
    taken from it after. That costs a copy of the weights, so give a `frequency` of many steps. Where a model runs
    several steps per execution, as `Recipe.compile` has it, an update comes before the first execution that begins at
    its step or later.

    Args:
        schedule: a `Schedule`; it should end before the training does.
        criterion: a name in `criteria.CRITERIA` or a function with their signature.
        scope, structure, empty_layers: as of `allocation.Allocation`.
        data: handed to the criterion.
        seed: of the criterion's random numbers, which follow from it and the time.

    Attributes:
        updates: an `Update` for each change of the mask in the last `fit`; times count over all pieces.

    Raises:
        ValueError: any argument out of range, at once; a model without masks or optimizer, an optimizer with moving
            averages of the weights, no data for a criterion that needs them, targets that scope and structure cannot
            meet or that the model has passed, or steps that cannot be known, before training.

    Warns:
        UserWarning: `fit` is over, or was stopped, before the schedule; the model is pruned beyond the schedule's
            beginning; or a callback before this one in the list has put back the masks of an earlier epoch, as
            EarlyStopping(restore_best_weights=True) does: give it a `start_from_epoch` behind the schedule.

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
        self._clock, self._has_pruned, self._said_so = Clock(), False, False

    def on_train_begin(self, logs=None):
        check_model(self.model)
        criteria.check_data(self._scores, self.data)
        self.updates, self._mask, self._runs = [], masking.get_mask(self.model), False

    def on_epoch_begin(self, epoch, logs=None):
        if not self._runs:
            self._start(epoch)
        self._runs = True
        if self.schedule.unit == "epoch":
            self._advance(self._clock.epoch)

    def on_train_batch_begin(self, batch, logs=None):
        if self.schedule.unit == "step":
            self._advance(self._clock.steps + batch)

    def on_train_batch_end(self, batch, logs=None):
        self._in_epoch = batch + 1

    def on_epoch_end(self, epoch, logs=None):
        # With steps_per_execution, the number of the last batch may lie beyond the epoch's end.
        steps = self.params.get("steps") or self._in_epoch
        self._clock.end_epoch(self.model, self._mask, self._has_pruned, steps)

    def on_train_end(self, logs=None):
        if not masks.is_nested(masking.get_mask(self.model), self._mask):
            warn_of_other_mask(self.model, self._mask)
        if not self._ends_early and self.schedule.next_update(self._last) is not None:
            warnings.warn(
                f"Training stopped before the schedule's end, {self.schedule.unit} {self.schedule.last}: the sparsity "
                f"is {masking.sparsity(self.model):.4f}, not {self.schedule.target}.",
                UserWarning,
                stacklevel=2,
            )

    def _start(self, epoch: int) -> None:
        """Where in the schedule this `fit` begins; updates that are due, and not there, are made up for."""
        self._mask = masking.get_mask(self.model)  # restored, perhaps, since the training began
        known = self._clock.start(self.model, epoch, self.params.get("steps"))
        time = self._clock.epoch if self.schedule.unit == "epoch" else self._clock.steps
        self._begun = time > 0 or masks.sparsity(self._mask) > 0
        self._has_pruned = self._has_pruned and time > 0
        self._try_out()
        if not known and self.schedule.unit == "step" and not self._is_there(self.schedule.target):
            raise ValueError(
                f"Expected to know how many steps lie before epoch {epoch}. Received: data of unknown length, and a "
                "callback that has not seen them. Pass fit(steps_per_epoch=...), or let the schedule count epochs: "
                "Schedule(unit='epoch')."
            )
        self._warn_at_start(time, epoch)
        due = self.schedule.last_update(time)
        self._last = -1 if due is None else due
        if time and due is not None:
            self._prune(due, time)

    def _try_out(self) -> None:
        """Raises ValueError before any training if pruning would, for a target that cannot be or is passed."""
        first, last = self.schedule.at(self.schedule.begin), self.schedule.target
        self._allocation.try_out(self.model, [last] if self._begun else self.schedule.targets())
        if self._begun and not self._is_there(first):
            self._allocation.try_out(self.model, [self._allocation.raised(self.model, first), last])

    def _warn_at_start(self, time: int, epoch: int) -> None:
        steps, rest = self.params.get("steps"), self.params.get("epochs", 0) - epoch
        length = rest if self.schedule.unit == "epoch" else rest * steps if steps else None
        self._ends_early = length is not None and self.schedule.last >= time + length
        if self._ends_early and not self._said_so:
            self._said_so = True
            warnings.warn(
                f"This fit ends before the schedule does, at {self.schedule.unit} {self.schedule.last}, so it does not "
                f"reach the sparsity {self.schedule.target}. A further fit with this callback, or with initial_epoch=, "
                "goes on in the schedule; else train longer, or end the schedule earlier.",
                UserWarning,
                stacklevel=4,
            )
        sparsity, first = masks.sparsity(self._mask), self.schedule.at(self.schedule.begin)
        if not time and sparsity and self._is_there(first) and not self._is_there(self.schedule.target):
            warnings.warn(
                f"The model is pruned already, to a sparsity of {sparsity:.4f}, and pruned weights do not come back: "
                "it stays as it is until the schedule passes that. To begin there, pass "
                f"Schedule(..., initial={sparsity:.4g}).",
                UserWarning,
                stacklevel=4,
            )

    def _advance(self, time: int) -> None:
        due = self.schedule.next_update(self._last)
        if due is not None and due <= time:
            self._prune(time, time)
            self._last = time

    def _is_there(self, target: Target) -> bool:
        return self._allocation.is_at(self.model, target)

    def _prune(self, time: int, now: int) -> None:
        """Prunes to the target of a time, if the mask is not there already; `now` is when, for the record."""
        if hasattr(self.model, "jax_state_sync"):
            self.model.jax_state_sync()  # within an epoch, the weights of a JAX model live outside of it
        target, mask = self.schedule.at(time), masking.get_mask(self.model)
        if time < now and self._is_there(target):  # an update that this training has had
            return
        if self._begun and time < self.schedule.last and self._allocation.is_beyond(self.model, target):
            target = self._allocation.raised(self.model, target)
            if self._is_there(target):
                return
        rng = np.random.default_rng([self.seed, time])
        scores = self._scores(self.model, masking.get_params(self.model), mask, self.data, rng)
        pruned = self._allocation.to_sparsity(self.model, scores, mask, target)
        masking.set_mask(self.model, pruned)
        self._mask, self._has_pruned = pruned, True
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
