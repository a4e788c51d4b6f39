"""The learning rate, watched from round to round: rounds that would not have the same are refused."""

import warnings

import keras

from kerasticket.params import Params, differing
from kerasticket.tickets import optimizer_state

ADVICE = (
    "Pass callbacks that change it as IterativeMagnitudePruning(round_callbacks=[...]): they then see the epoch within "
    "the round and begin each round afresh, or rewound."
)


class RateWatch:
    """Compares the learning rate at the beginning and the end of each epoch with that of the first round.

    Callbacks of `fit` that change it see the epochs of the whole `fit`, and remember what was before the rewind; that
    goes as long as every round has the same rates.

    Args:
        resumed: whether the search starts at a later epoch, whose rate is in no file.
    """

    def __init__(self, resumed: bool):
        self._resumed, self._strange = resumed, False
        self._left: Params = {}
        self._course: dict[tuple[int, str], Params] = {}

    def leave(self, model: keras.Model) -> None:
        """What it is now is known: only others change it until the next `check`."""
        self._left = optimizer_state.get_learning_rate(model)

    def check(self, model: keras.Model, round: int, epoch: int, moment: str, *, own: bool = False) -> None:
        """Raises ValueError if others have changed it, and it differs from the first round's at this epoch.

        Args:
            own: callbacks of the rounds may have changed it since `leave`.
        """
        rates = optimizer_state.get_learning_rate(model)
        if not own and differing(rates, self._left) and not self._strange:
            self._strange = True
            self._say_so()
        first = self._course.setdefault((epoch, moment), rates)
        self._left = rates
        if self._strange and differing(rates, first):
            raise ValueError(
                f"Expected round {round} at the learning rates of the first round, {_numbers(first)} at the {moment} "
                f"of its epoch {epoch}. Received: {_numbers(rates)}, by a callback in fit's list or a train_step. "
                f"{ADVICE} Tickets of earlier rounds are in `tickets`."
            )

    def _say_so(self) -> None:
        if self._resumed:
            raise ValueError(
                "Expected a learning rate that the optimizer's own schedule decides: a search that starts from a "
                "ticket at a later epoch cannot know what callbacks had made of it by then. Received: one that a "
                "callback of fit changes. Compile with a keras.optimizers.schedules.LearningRateSchedule."
            )
        warnings.warn(
            "A callback of fit changes the learning rate. It sees the epochs of all rounds as one training, and is not "
            f"rewound; a round whose rates differ from those of the first is refused. {ADVICE}",
            UserWarning,
            stacklevel=5,
        )


def _numbers(rates: Params) -> str:
    return ", ".join(f"{float(rate):.6g}" for rate in rates.values())
