"""Events of a training: one after each Keras epoch."""

from typing import Any

import keras

from kerasticket.experiments.events import Event, Listener


class EpochEvents(keras.callbacks.Callback):
    """Tells a listener after each Keras epoch that `amount` of work was done, and names the epoch."""

    def __init__(self, listener: Listener, name: str, amount: float):
        super().__init__()
        self.listener, self.name, self.amount = listener, name, amount

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.listener(
            Event("advance", amount=self.amount, text=f"{self.name}  epoch {epoch + 1}/{self.params['epochs']}")
        )
