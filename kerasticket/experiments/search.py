"""One search for tickets on disk: every finished round is kept, and a killed search goes on after the last one."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import numpy as np

from kerasticket import masks
from kerasticket.data.positions import pipelines_in
from kerasticket.experiments.run import Run
from kerasticket.files.json_files import write_json
from kerasticket.params import Params
from kerasticket.pruning import criteria
from kerasticket.pruning.callbacks import IterativeMagnitudePruning
from kerasticket.pruning.round import Round
from kerasticket.tickets.ticket import Ticket


@dataclasses.dataclass(frozen=True)
class Search:
    """Where a search keeps its tickets: `run.round(init_seed, kind, r)` for r = 0 ... rounds.

    Attributes:
        kind: name of the search, e.g. "imp" or "synthetic".
        init_seed: seed of the initial weights.
        rounds: rounds of pruning, counted from the dense network.
    """

    run: Run
    kind: str
    init_seed: int
    rounds: int

    def path(self, index: int) -> Path:
        return self.run.ticket(self.init_seed, self.kind, index)

    def ticket(self, index: int) -> Ticket:
        return Ticket.load(self.path(index))

    def latest(self) -> Ticket | None:
        """The last whole ticket, None if no round has been finished."""
        done = [index for index in range(1, self.rounds + 1) if self.path(index).exists()]
        return self.ticket(max(done)) if done else None

    def iterate(
        self,
        model: keras.Model,
        start: Ticket,
        pipeline,
        epochs_per_round: int,
        *,
        callbacks: Sequence[keras.callbacks.Callback] = (),
        on_round_end: Callable[[Round, Params], None] | None = None,
        **options,
    ) -> list[Ticket]:
        """Runs iterative pruning, or what is left of it.

        Args:
            model: masked and compiled; its weights are replaced.
            start: where the search begins if nothing is on disk.
            pipeline, epochs_per_round: of the training inside the rounds; a `kerasticket.data.pipeline`.
            on_round_end: called with each round's record and trained params before its ticket is kept.
            **options: of `IterativeMagnitudePruning`, e.g. `fraction`, `rewind_epoch`, `evaluate`.

        Returns:
            The tickets that this call has made.
        """
        latest = self.latest() or start
        if latest.round >= self.rounds:
            return []

        def keep(record: Round, ticket: Ticket, trained: Params) -> None:
            if not self.path(record.index).exists():  # the ticket that was started from, at its rewind point
                imp.tickets[0].save(self.path(record.index))
            write_json(self.run.record(self.init_seed, self.kind, record.index), dataclasses.asdict(record))
            if on_round_end:
                on_round_end(record, trained)
            ticket.save(self.path(ticket.round))  # last: its presence says that the round is whole

        imp = IterativeMagnitudePruning(
            rounds=self.rounds - latest.round,
            epochs_per_round=epochs_per_round,
            start=latest,
            stage=self.kind,
            on_round_end=keep,
            pipeline=pipeline if pipelines_in(pipeline) else None,
            **options,
        )
        model.fit(pipeline, epochs=imp.total_epochs, callbacks=[*callbacks, imp], shuffle=False, verbose=0)
        return imp.tickets[1:]


def random_ticket(dense: Ticket, like: Ticket, seed: int) -> Ticket:
    """The control: a one-shot random mask over all layers with exactly as many weights as `like` keeps.

    Args:
        dense: ticket to prune.
        like: ticket whose sparsity and round number the random one shares.
        seed: of the random scores; the round is mixed in, so masks of different rounds are independent.
    """
    rng = np.random.default_rng([seed, like.round])
    scores = criteria.random(None, dense.params, dense.mask, None, rng)
    mask = masks.keep_top(scores, dense.mask, like.kept)
    stage = {"name": "random", "criterion": "random", "scope": "global", "one_shot": True, "seed": seed}
    return dense.pruned(mask, stage, round=like.round)
