"""Iterative magnitude pruning as one Keras callback: train, prune, rewind, repeat, inside a single `fit`."""

import dataclasses
import math
import time
import warnings
from collections.abc import Callable, Sequence
from typing import cast

import keras
import numpy as np

from kerasticket import masks
from kerasticket.checks import check_choice, check_seed
from kerasticket.data.positions import move, pipelines_in
from kerasticket.data.shares import check_shares
from kerasticket.masks import Mask
from kerasticket.params import Params, differing
from kerasticket.pruning import criteria
from kerasticket.pruning.allocation import Allocation
from kerasticket.pruning.checks import check_model
from kerasticket.pruning.clock import iterations
from kerasticket.pruning.gradual import warn_of_other_mask
from kerasticket.pruning.rates import RateWatch
from kerasticket.pruning.rewinding import REWINDS, Restart
from kerasticket.pruning.round import Round
from kerasticket.pruning.round_callbacks import RoundCallbacks, know_any_epoch
from kerasticket.pruning.structures import Structure
from kerasticket.tickets import masking, optimizer_state
from kerasticket.tickets.ticket import Ticket


class IterativeMagnitudePruning(keras.callbacks.Callback):
    """Finds lottery tickets (Frankle & Carbin 2019; with `rewind_epoch`, Frankle et al. 2020).

    Each round trains the network, prunes `fraction` of its remaining weights and rewinds the rest. `fit` must
    run for `total_epochs` and ends rewound: the model then is the last ticket, with a fresh optimizer if
    `rewind_epoch` is 0. Put it last in `callbacks`: what comes after it sees the rewound model. The callbacks in
    `fit`'s list see one training of `total_epochs`; those to which a round is a training, such as
    LearningRateScheduler, ReduceLROnPlateau and EarlyStopping, belong in `round_callbacks`.

    One `fit` is one search. A further one with the same callback begins anew where `start` is given, or with a model
    that is neither trained nor pruned; else it is refused.

    A `pipeline` of `kerasticket.data` draws its order from (seed, round, epoch). Give it to the callback as well as to
    `fit`, for Keras tells callbacks nothing of `fit`'s data: a search that starts again from ticket r then goes on
    exactly as if it had not been interrupted. Else each epoch of `fit` has the order that follows the last one.

    Args:
        rounds: how many times to prune.
        fraction: share of the *remaining* prunable weights that a round removes, rounded half to even.
        epochs_per_round: epochs of a whole training.
        rewind_epoch: k; weights, statistics, seed states, step count and optimizer slots go back to where
            they were after k epochs of the first round. Rounds after the first then train
            `epochs_per_round - k` epochs.
        scope: "global" (all layers ranked together), "layer", or another name in `scopes.SCOPES`.
        criterion: a name in `criteria.CRITERIA` or a function with their signature.
        rewind_scope: "all", or "kernels": biases, norms and statistics keep their trained values, as in the
            code of McDermott & Parhi (arXiv 2503.17905). The paper's text, and the default here: all. Two more keep
            the trained weights and momentum (Renda et al. 2020): "learning_rate" goes back to `rewind_epoch` in
            the schedule alone, "nothing" fine-tunes at the last rate. Tickets then are trained networks, and
            `rewind_epoch` of theirs is the position in the schedule.
        start: an earlier ticket to go on from ("syn8", then IMP); its provenance is kept.
        until_sparsity: stop after the round that reaches this sparsity.
        seed: of the criterion's random numbers.
        data: handed to the criterion.
        structure: what is pruned as one, a name in `structures.STRUCTURES` or a structure; `fraction` then is
            that of the remaining filters, blocks, ...
        empty_layers: "warn" where a layer loses its last weight, "keep" its best one, or "refuse".
        evaluate: called with the trained model before it is pruned; returns a dict of numbers for `Round`.
        on_round_end: called with (round record, next ticket, trained params) after each rewind.
        stage: name of this search in the tickets' provenance.
        round_callbacks: callbacks that take each round for a training: they see the epochs of the learning-rate
            schedule within it, begin afresh, and are rewound to the state that they had at `rewind_epoch` (under
            `rewind_scope="nothing"` they go on). Where one stops the training, the round ends, and `fit` ends
            earlier by as much. Their state must be such that `copy.deepcopy` copies it.
        pipeline: what `fit` trains on, if it is a `kerasticket.data.pipeline` or a dataset made of one by `map` and
            its like: moved to (round, epoch of the schedule) at each epoch. No other pipeline is touched.

    Attributes:
        tickets: `tickets[r]` has been pruned r times more than `tickets[0]`, the one started from.
        rounds_done: one `Round` per training, index counted from the dense network.
        total_epochs: what to pass to `fit(epochs=...)`.

    Raises:
        ValueError: any argument out of range, at once; a model without masks or with unnamed layers, no optimizer or
            one with moving averages, a number of epochs that is not `total_epochs` or a second `fit` on what the first
            one left, before training; a round at other learning rates than the first, when it begins.
        FloatingPointError: the loss, where there is one in the logs, or the trained weights are not finite; round and
            epoch are named.

    Warns:
        UserWarning: training stopped before its end, a callback of `fit` changes the learning rate, or another one has
            put back the weights and masks of an earlier epoch, as EarlyStopping(restore_best_weights=True) does.

    >>> imp = IterativeMagnitudePruning(rounds=10, fraction=0.2, epochs_per_round=60, rewind_epoch=3)
    >>> imp.total_epochs
    573
    """

    def __init__(
        self,
        rounds: int = 10,
        fraction: float = 0.2,
        epochs_per_round: int = 60,
        rewind_epoch: int = 0,
        scope: str = "global",
        criterion: str | criteria.Criterion = "magnitude",
        rewind_scope: str = "all",
        *,
        start: Ticket | None = None,
        until_sparsity: float | None = None,
        seed: int = 0,
        data=None,
        evaluate: Callable[[keras.Model], dict[str, float]] | None = None,
        on_round_end: Callable[[Round, Ticket, Params], None] | None = None,
        stage: str = "imp",
        structure: str | Structure = "weights",
        empty_layers: str = "warn",
        round_callbacks: Sequence[keras.callbacks.Callback] = (),
        pipeline=None,
    ):
        super().__init__()
        _check(rounds, fraction, epochs_per_round, rewind_epoch, rewind_scope, until_sparsity, start)
        check_seed(seed)
        _check_pipeline(pipeline)
        self.rounds, self.fraction, self.epochs_per_round = rounds, float(fraction), epochs_per_round
        self.rewind_epoch, self.rewind_scope, self.until_sparsity = rewind_epoch, rewind_scope, until_sparsity
        self.start, self.seed, self.data, self._pipeline = start, seed, data, pipeline
        self.evaluate, self.on_round_end = evaluate, on_round_end
        self._allocation, self._scores = Allocation(scope, structure, empty_layers), criteria.get(criterion)
        name = criterion if isinstance(criterion, str) else getattr(criterion, "__name__", repr(criterion))
        self._stage = {"name": stage, "criterion": name, "scope": scope, "fraction": self.fraction}
        self._stage |= {"rewind_epoch": rewind_epoch, "rewind_scope": rewind_scope, "seed": seed}
        if structure != "weights":
            self._stage["structure"] = str(structure)
        self._first_epoch = start.rewind_epoch if start else 0
        self._first_round = start.round if start else 0
        self._callbacks = RoundCallbacks(round_callbacks)
        if self._first_epoch and not know_any_epoch(round_callbacks):
            raise ValueError(
                f"Expected round_callbacks without a memory, as `start` is a ticket at epoch {self._first_epoch} and "
                "their state there is in no file: LearningRateScheduler with a function of the epoch alone. Received: "
                f"{[type(one).__name__ for one in round_callbacks]}."
            )
        self.async_safe = not round_callbacks  # Keras then need not wait for it after every batch
        self.tickets: list[Ticket] = []
        self.rounds_done: list[Round] = []

    @property
    def total_epochs(self) -> int:
        """Epochs of the first round and of the R - 1 shorter ones after it."""
        later = (self.rounds - 1) * (self.epochs_per_round - self.rewind_epoch)
        return self.epochs_per_round - self._first_epoch + later

    def position(self, epoch: int) -> tuple[int, int]:
        """(round counted from dense, epoch of the learning-rate schedule) of epoch `epoch` of this `fit`.

        That is, where no callback ends a round before its last epoch.
        """
        first = self.epochs_per_round - self._first_epoch
        if epoch < first:
            return self._first_round, self._first_epoch + epoch
        later, within = divmod(epoch - first, self.epochs_per_round - self.rewind_epoch)
        return self._first_round + 1 + later, self.rewind_epoch + within

    def on_train_begin(self, logs=None):
        check_model(self.model)
        check_shares(self._pipeline, self.model)
        if self.params.get("epochs") != self.total_epochs:
            raise ValueError(
                f"Expected fit(epochs=imp.total_epochs), that is {self.total_epochs}: {self.rounds} rounds of "
                f"{self.epochs_per_round} epochs, rewound to epoch {self.rewind_epoch}, in one fit and not in pieces. "
                f"Received: epochs={self.params.get('epochs')}."
            )
        optimizer_state.build(self.model)
        self._refuse_a_second_fit()
        criteria.check_data(self._scores, self.data)
        self._allocation.try_out_fraction(self.model, self.fraction)
        self._rate, self._watch = optimizer_state.get_learning_rate(self.model), RateWatch(self._first_epoch > 0)
        dense = Ticket.dense(self.model)
        ticket = self.start or dense
        self._before: Ticket | None = dataclasses.replace(dense, optimizer=optimizer_state.get_state(self.model))
        ticket.apply(self.model)
        self._rewind_point = ticket if ticket.rewind_epoch == self.rewind_epoch else None
        self.tickets, self.rounds_done = [ticket], []
        self._mask, self._started = masking.get_mask(self.model), time.perf_counter()
        self._epochs_seen, self._within, self._new_round = 0, self._first_epoch, True
        self._callbacks.attach(self.model, self.params | {"epochs": self.epochs_per_round})
        self._begin_callbacks(keep=False)

    def on_epoch_begin(self, epoch, logs=None):
        if epoch and not self._epochs_seen:
            if self._before:
                self._before.apply(self.model)
            raise ValueError(
                "Expected fit(initial_epoch=0), for all rounds are one fit; `start=` goes on from a ticket. "
                f"Received: {epoch}."
            )
        self._before = None
        self._check_rate("start", own=False)
        if self._new_round and self._epochs_seen:
            self._begin_callbacks(keep=self.rewind_scope == "nothing")
        self._new_round, self._new_epoch, self._epochs_seen = False, True, self._epochs_seen + 1
        move(self._pipeline, self._round, self._within)
        self._call("on_epoch_begin", self._callbacks_epoch)

    def on_train_batch_begin(self, batch, logs=None):
        if self._new_epoch:
            self._new_epoch = False
            self._check_rate("first step", own=False)
        if self._callbacks:
            self._callbacks("on_train_batch_begin", batch, logs=logs)

    def on_train_batch_end(self, batch, logs=None):
        if self._callbacks:
            self._callbacks("on_train_batch_end", batch, logs=logs)

    def on_test_begin(self, logs=None):
        self._callbacks("on_test_begin", logs)

    def on_test_end(self, logs=None):
        self._callbacks("on_test_end", logs)

    def on_test_batch_begin(self, batch, logs=None):
        self._callbacks("on_test_batch_begin", batch, logs=logs)

    def on_test_batch_end(self, batch, logs=None):
        self._callbacks("on_test_batch_end", batch, logs=logs)

    def on_epoch_end(self, epoch, logs=None):
        loss = float((logs or {}).get("loss", 0.0))  # a train_step may call it otherwise; weights are looked at too
        if not math.isfinite(loss):
            raise _diverged(f"The loss is {loss}", self._round, self._within)
        self._check_rate("end", own=self._callbacks.within_epochs)
        self._call("on_epoch_end", self._callbacks_epoch, logs)
        self._within += 1
        if self._rewind_point is None and self._within == self.rewind_epoch:
            self._remember_rewind_point()
        if self._callbacks.stopped or self._within == self.epochs_per_round:
            self._end_round(self._round, logs or {})

    def on_train_end(self, logs=None):
        warn_of_other_mask(self.model, self._mask)
        done = len(self.rounds_done) == self.rounds or self._is_sparse_enough(self.tickets[-1])
        if not self._new_round:
            self._callbacks("on_train_end", logs)
        if not (done and self._new_round):
            warnings.warn(
                f"Training stopped after {len(self.rounds_done)} of {self.rounds} rounds, so the model is no ticket. "
                "To go on from the last one: imp.tickets[-1].apply(model). To end rounds early, not the search, pass "
                "EarlyStopping in round_callbacks=[...].",
                UserWarning,
                stacklevel=2,
            )

    @property
    def _round(self) -> int:
        return self._first_round + len(self.rounds_done)

    @property
    def _callbacks_epoch(self) -> int:
        """The epoch that round callbacks see: within the round, or of a training that goes on from round to round."""
        goes_on = self.rewind_scope == "nothing"
        return self._first_epoch + self._epochs_seen - 1 if goes_on else self._within

    def _begin_callbacks(self, keep: bool) -> None:
        self._callbacks.begin(rewind=bool(self.rounds_done and self.rewind_epoch) and not keep, keep=keep)
        if self.rewind_epoch and not self._rewind_point:
            self._callbacks.state()  # raises now, not at the rewind point, if that cannot be remembered
        elif self.rewind_epoch and not self.rounds_done:
            self._callbacks.remember()  # at the epoch of `start`; they know any
        self._watch.leave(self.model)

    def _call(self, hook: str, *args) -> None:
        self._callbacks(hook, *args)
        if self._callbacks:
            self._watch.leave(self.model)

    def _check_rate(self, moment: str, *, own: bool) -> None:
        if self.rewind_scope != "nothing":
            self._watch.check(self.model, self._round, self._within, moment, own=own)

    def _refuse_a_second_fit(self) -> None:
        """What a first fit has left is no dense network to start from."""
        if not self.tickets or self.start:
            return
        pruned, steps = differing(masking.get_mask(self.model), self.tickets[0].mask), iterations(self.model)
        if pruned or steps:
            raise ValueError(
                f"Expected a new IterativeMagnitudePruning for each search. Received: one that has done "
                f"{len(self.rounds_done)} rounds, and a model at a sparsity of {masking.sparsity(self.model):.4f} and "
                f"step {steps} of its training. To go on, make one with start=imp.tickets[-1]; to begin anew, with "
                "start=imp.tickets[0]."
            )

    def _is_sparse_enough(self, ticket: Ticket) -> bool:
        return self.until_sparsity is not None and ticket.sparsity >= self.until_sparsity

    def _remember_rewind_point(self) -> None:
        state = optimizer_state.masked_state(optimizer_state.get_state(self.model), self._mask)
        params, self._rate = masking.get_params(self.model), optimizer_state.get_learning_rate(self.model)
        self._callbacks.remember()
        self._rewind_point = dataclasses.replace(
            self.tickets[0], params=params, optimizer=state, rewind_epoch=self.rewind_epoch
        )
        self.tickets[0] = self._rewind_point

    def _end_round(self, round: int, logs: dict) -> None:
        if self._rewind_point is None:
            raise ValueError(
                f"Expected a round that reaches rewind_epoch={self.rewind_epoch}. Received: one that a callback in "
                f"round_callbacks ended after {self._within} epochs. Let it begin later, or rewind to an earlier epoch."
            )
        self._callbacks("on_train_end", logs)
        trained = masking.get_params(self.model)
        if not all(np.isfinite(array).all() for array in trained.values()):  # a NaN can hide behind a ReLU
            raise _diverged("Weights are not finite", round, self._within - 1)
        seconds = time.perf_counter() - self._started
        evaluation = self.evaluate(self.model) if self.evaluate else {}
        pruning_started = time.perf_counter()
        ticket, rates = self._next_ticket(round, trained)
        ticket.apply(self.model)
        optimizer_state.set_learning_rate(self.model, rates)  # callbacks may have lowered it
        seconds += time.perf_counter() - pruning_started
        record = self._record(round, logs, seconds, evaluation)
        self.tickets.append(ticket)
        self.rounds_done.append(record)
        self._mask, self._within, self._new_round = ticket.mask, self.rewind_epoch, True
        if self.on_round_end:
            self.on_round_end(record, ticket, trained)
        if self._callbacks.stopped:
            self.model.stop_training = False  # the round has ended, not the search
        over = len(self.rounds_done) == self.rounds and self._epochs_seen < self.total_epochs
        if over or self._is_sparse_enough(ticket):
            self.model.stop_training = True
        self._watch.leave(self.model)
        self._started = time.perf_counter()

    def _next_ticket(self, round: int, trained: Params) -> tuple[Ticket, Params]:
        """The rewind point under the mask that this round's training has earned, and its learning rates."""
        rng = np.random.default_rng([self.seed, round])
        scores = self._scores(self.model, trained, self._mask, self.data, rng)
        mask: Mask = self._allocation.by_fraction(self.model, scores, self._mask, self.fraction)
        start = cast(Ticket, self._rewind_point)  # remembered when its epoch began
        point = Restart(start.params, start.optimizer, self._rate)
        restart = REWINDS[self.rewind_scope](point, trained, self.model, start)
        ticket = self.tickets[-1].pruned(
            mask, self._stage, params=restart.params, optimizer=restart.optimizer, round=round + 1
        )
        return ticket, restart.rates

    def _record(self, round: int, logs: dict, seconds: float, evaluation: dict[str, float]) -> Round:
        kept, total = masks.kept(self._mask), masks.total(self._mask)
        accuracy = float(logs.get("accuracy", math.nan))
        loss = float(logs.get("loss", math.nan))
        return Round(round, masks.sparsity(self._mask), kept, total, loss, accuracy, seconds, evaluation)


def _diverged(what: str, round: int, epoch: int) -> FloatingPointError:
    return FloatingPointError(
        f"{what} after epoch {epoch + 1} of round {round}. Lower the learning rate, or look for broken images; "
        "tickets of earlier rounds are in `tickets`."
    )


def _check(rounds, fraction, epochs_per_round, rewind_epoch, rewind_scope, until_sparsity, start) -> None:
    if not (isinstance(fraction, (int, float)) and 0 < fraction < 1):
        raise ValueError(f"`fraction`, a share of the *remaining* weights, must lie in (0, 1). Received: {fraction=}")
    for name, value in (("rounds", rounds), ("epochs_per_round", epochs_per_round)):
        if not (isinstance(value, int) and value >= 1):
            raise ValueError(f"`{name}` must be a whole number of at least 1. Received: {name}={value!r}")
    if not (isinstance(rewind_epoch, int) and 0 <= rewind_epoch < epochs_per_round):
        raise ValueError(
            f"`rewind_epoch` must be a whole number from 0 to epochs_per_round - 1 = {epochs_per_round - 1}, "
            f"so that training goes on after the rewind point. Received: {rewind_epoch=}"
        )
    check_choice(rewind_scope, REWINDS, "rewind_scope")
    if until_sparsity is not None and not (isinstance(until_sparsity, (int, float)) and 0 < until_sparsity < 1):
        raise ValueError(f"`until_sparsity` is a share of all prunable weights in (0, 1). Received: {until_sparsity=}")
    if start is not None and not isinstance(start, Ticket):
        raise ValueError(f"`start` must be a Ticket. Received: {start!r}; a file is read by kerasticket.Ticket.load.")
    if start is not None and start.rewind_epoch > rewind_epoch:
        raise ValueError(
            f"`start` is a ticket at epoch {start.rewind_epoch}; it cannot be rewound to epoch {rewind_epoch} "
            f"before that. Pass rewind_epoch >= {start.rewind_epoch}."
        )


def _check_pipeline(pipeline) -> None:
    if pipeline is not None and not pipelines_in(pipeline):
        raise ValueError(
            "`pipeline` must be made by kerasticket.data.pipeline, or be a dataset made of one; other data have no "
            f"position, and need not be given. Received: {type(pipeline).__name__}."
        )
