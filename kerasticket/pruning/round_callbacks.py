"""Callbacks to which each round of iterative pruning is a training of its own: afresh at its beginning, or rewound."""

import copy
import inspect
from collections.abc import Sequence
from typing import Any

import keras

from kerasticket.backend.keras_internals import LIVE_ATTRIBUTES, model_of

_IN_EPOCHS = ("on_train_batch_begin", "on_train_batch_end", "on_batch_begin", "on_batch_end")


class RoundCallbacks:
    """Calls callbacks for one round after the other, with the epochs of the round.

    Attributes:
        stopped: whether one of them has set `model.stop_training` in this round.
        within_epochs: whether one of them is called within epochs.

    Raises:
        ValueError: something is no callback, is one that takes `fit` for one whole run, or has a state that cannot be
            copied.
    """

    def __init__(self, callbacks: Sequence[keras.callbacks.Callback]):
        self.callbacks = list(callbacks)
        odd = [one for one in self.callbacks if not isinstance(one, keras.callbacks.Callback)]
        whole = [one for one in self.callbacks if isinstance(one, keras.callbacks.BackupAndRestore)]
        whole += [one for one in self.callbacks if hasattr(one, "total_epochs")]
        if odd or whole:
            raise ValueError(
                "Expected round_callbacks as a list of Keras callbacks for a training of one round, such as "
                f"LearningRateScheduler, ReduceLROnPlateau or EarlyStopping. Received: {(odd or whole)[0]!r}."
            )
        self._fresh = self.state()
        self._point: list[dict[str, Any]] | None = None
        self.stopped, self.within_epochs = False, any(map(_is_called_within_epochs, self.callbacks))

    def __bool__(self) -> bool:
        return bool(self.callbacks)

    def attach(self, model: keras.Model, params: dict) -> None:
        for callback in self.callbacks:
            callback.set_params(dict(params))
            callback.set_model(model)

    def begin(self, *, rewind: bool, keep: bool = False) -> None:
        """Begins a round: afresh, from where `remember` was called, or going on as they are."""
        self.stopped = False
        if rewind:
            self._put(self._point or [])
        elif not keep:
            self._put(self._fresh)
            self("on_train_begin")

    def remember(self) -> None:
        """Keeps the state at the rewind point."""
        self._point = self.state()

    def state(self) -> list[dict[str, Any]]:
        return [_copied(callback, vars(callback)) for callback in self.callbacks]

    def _put(self, states: list[dict[str, Any]]) -> None:
        for callback, state in zip(self.callbacks, states, strict=True):
            live = {name: vars(callback)[name] for name in LIVE_ATTRIBUTES if name in vars(callback)}
            vars(callback).clear()
            vars(callback).update(_copied(callback, state, model_of(live)) | live)

    def __call__(self, hook: str, *args, **kwargs) -> None:
        for callback in self.callbacks:
            model = callback.model
            before = model.stop_training
            getattr(callback, hook)(*args, **kwargs)
            self.stopped |= model.stop_training and not before


def know_any_epoch(callbacks: Sequence[keras.callbacks.Callback]) -> bool:
    """Whether callbacks need no memory of earlier epochs: schedules of the learning rate by the epoch alone."""
    return all(type(one) is keras.callbacks.LearningRateScheduler and not _takes_two(one.schedule) for one in callbacks)


def _takes_two(function) -> bool:
    try:
        inspect.signature(function).bind(0, 0.1)
    except TypeError:
        return False
    return True


def _is_called_within_epochs(callback: keras.callbacks.Callback) -> bool:
    base = keras.callbacks.Callback
    return any(
        name in vars(callback) or getattr(type(callback), name) is not getattr(base, name) for name in _IN_EPOCHS
    )


def _copied(callback: keras.callbacks.Callback, state: dict[str, Any], model: keras.Model | None = None) -> dict:
    model = model or model_of(vars(callback))
    shared = [model, getattr(model, "optimizer", None)]  # a state may point to them; they are no part of it
    memo = {id(one): one for one in shared if one is not None}
    copied = {}
    for name, value in state.items():
        if name in LIVE_ATTRIBUTES:  # of the training, no state of the callback
            continue
        try:
            copied[name] = copy.deepcopy(value, memo)
        except Exception as error:  # of whatever the attribute is: files, threads, datasets
            raise ValueError(
                f"Expected round_callbacks whose state can be copied, so that a round can begin with it. Received: "
                f"{type(callback).__name__}, whose attribute '{name}' cannot: {error}. Pass it to fit(callbacks=...)."
            ) from error
    return copied
