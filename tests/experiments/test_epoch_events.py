"""An event after each epoch of a real training."""

import keras
import numpy as np
import pytest

from kerasticket.experiments.epoch_events import EpochEvents

pytestmark = pytest.mark.same_on_every_backend


def test_each_epoch_of_fit_is_told():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, name="logits")])
    model.compile("sgd", "mse")
    told = []
    model.fit(
        np.zeros((4, 2)), np.zeros((4, 1)), epochs=3, verbose=0, callbacks=[EpochEvents(told.append, "imp, round 2", 4)]
    )
    assert [event.text for event in told] == [f"imp, round 2  epoch {epoch}/3" for epoch in (1, 2, 3)]
    assert [(event.kind, event.amount) for event in told] == [("advance", 4)] * 3
