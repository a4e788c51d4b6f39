"""Callbacks for one round after the other: afresh, rewound or going on, and what cannot be one."""

import threading

import keras
import nets
import pytest

from kerasticket.pruning.callbacks import IterativeMagnitudePruning
from kerasticket.pruning.round_callbacks import RoundCallbacks, know_any_epoch

pytestmark = pytest.mark.same_on_every_backend


class Counter(keras.callbacks.Callback):
    """Counts epochs, of this round and in a list, and stops at the third."""

    def __init__(self):
        super().__init__()
        self.epochs, self.begun = [], 0

    def on_train_begin(self, logs=None):
        self.begun += 1

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append(epoch)
        if len(self.epochs) == 3:
            self.model.stop_training = True


@pytest.fixture
def counted():
    counter = Counter()
    callbacks = RoundCallbacks([counter])
    model = nets.compile_for_test(nets.mlp())
    model.stop_training = False
    callbacks.attach(model, {"epochs": 3})
    return callbacks, counter, model


def test_a_round_begins_afresh_with_the_model_that_there_is(counted):
    callbacks, counter, model = counted
    for _ in range(2):
        callbacks.begin(rewind=False)
        assert (counter.epochs, counter.begun) == ([], 1)
        callbacks("on_epoch_end", 0)
        callbacks("on_epoch_end", 1)
    assert counter.epochs == [0, 1]
    assert counter.model is model
    assert counter.params == {"epochs": 3}


def test_a_round_goes_back_to_the_point_as_often_as_wanted_or_goes_on(counted):
    callbacks, counter, _ = counted
    callbacks.begin(rewind=False)
    callbacks("on_epoch_end", 0)
    callbacks.remember()
    callbacks("on_epoch_end", 1)
    for _ in range(2):
        callbacks.begin(rewind=True)
        assert (counter.epochs, counter.begun) == ([0], 1)
        callbacks("on_epoch_end", 5)  # the list at the point is not this one
    callbacks.begin(rewind=False, keep=True)
    assert counter.epochs == [0, 5]


def test_who_stops_is_noticed_until_the_next_round(counted):
    callbacks, _, model = counted
    callbacks.begin(rewind=False)
    for epoch in range(3):
        assert not callbacks.stopped
        callbacks("on_epoch_end", epoch)
    assert callbacks.stopped
    assert model.stop_training
    callbacks.begin(rewind=False)
    assert not callbacks.stopped
    callbacks("on_epoch_end", 0)  # the model was stopped before: not by this one
    assert not callbacks.stopped


def test_the_model_in_a_state_is_shared_and_not_copied():
    callback = Counter()
    callbacks = RoundCallbacks([callback])
    model = nets.compile_for_test(nets.mlp())
    callbacks.attach(model, {})
    callback.watched = {"model": model, "optimizer": model.optimizer}
    callbacks.remember()
    callbacks.begin(rewind=True)
    assert callback.watched["model"] is model
    assert callback.watched["optimizer"] is model.optimizer


def test_calls_within_epochs_are_known():
    class Batches(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            pass

    assert RoundCallbacks([Counter(), Batches()]).within_epochs
    assert RoundCallbacks([keras.callbacks.LambdaCallback(on_train_batch_begin=print)]).within_epochs
    assert not RoundCallbacks([Counter(), keras.callbacks.ReduceLROnPlateau()]).within_epochs
    assert not RoundCallbacks([])


def test_only_schedules_of_the_epoch_need_no_memory():
    by_epoch = keras.callbacks.LearningRateScheduler(lambda epoch: 0.1)
    by_rate = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate)
    assert know_any_epoch([by_epoch])
    assert know_any_epoch([])
    assert not know_any_epoch([by_epoch, by_rate])
    assert not know_any_epoch([Counter()])


def test_what_cannot_be_one_is_refused(tmp_path):
    for odd in (print, keras.callbacks.BackupAndRestore(tmp_path), IterativeMagnitudePruning(rounds=1)):
        with pytest.raises(ValueError, match="round_callbacks as a list of Keras callbacks.*ReduceLROnPlateau"):
            RoundCallbacks([Counter(), odd])
    locked = Counter()
    locked.lock = threading.Lock()
    with pytest.raises(ValueError, match=r"Received: Counter, whose attribute 'lock' cannot.*fit\(callbacks="):
        RoundCallbacks([locked])
