"""Pruning that is resumed, repeated, or undone by another callback; what is refused before any training."""

import keras
import nets
import numpy as np
import pytest

import kerasticket as kt
from kerasticket.params import differing
from kerasticket.pruning import NOfM, Schedule
from kerasticket.pruning.callbacks import GradualPruning, PruneAtInitialization

STEPS = Schedule(0.8, end=10, frequency=2, unit="step")


def net() -> keras.Model:
    keras.utils.set_random_seed(0)
    return nets.compile_for_test(kt.masked(nets.mlp()), keras.optimizers.SGD(0.05, momentum=0.9))


def fit(model, callbacks, epochs: int, **options) -> None:
    x, y = nets.batch(model)
    model.fit(x, y, batch_size=len(x) // 4, epochs=epochs, shuffle=False, verbose=0, callbacks=callbacks, **options)


class Kill(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 2:
            raise KeyboardInterrupt


@pytest.mark.parametrize("schedule", [STEPS, Schedule(0.8, end=4)])
def test_gradual_pruning_goes_on_where_a_training_was_killed(schedule, tmp_path):
    whole, model = net(), net()
    fit(whole, [GradualPruning(schedule)], 5)
    with pytest.raises(KeyboardInterrupt):
        fit(model, [keras.callbacks.BackupAndRestore(tmp_path), GradualPruning(schedule), Kill()], 5)
    again = net()
    pruning = GradualPruning(schedule)
    fit(again, [keras.callbacks.BackupAndRestore(tmp_path), pruning], 5)
    assert not differing(kt.get_mask(again), kt.get_mask(whole))
    assert all(update.time >= 2 for update in pruning.updates)


@pytest.mark.parametrize("schedule", [Schedule(0.8, end=30, unit="step"), Schedule(0.8, end=8)])
def test_a_fit_at_a_later_epoch_goes_on_in_the_schedule(schedule):
    model, pruning = net(), GradualPruning(schedule)
    fit(model, [pruning], 10)
    before = kt.get_mask(model)
    fit(model, [pruning], 12, initial_epoch=10)
    assert not pruning.updates
    assert not differing(kt.get_mask(model), before)


def test_a_late_first_fit_catches_up():
    model, pruning = net(), GradualPruning(Schedule(0.8, end=4, frequency=2))
    fit(model, [pruning], 6, initial_epoch=3)
    assert [update.time for update in pruning.updates] == [3, 4]
    assert kt.sparsity(model) == pytest.approx(0.8, abs=0.01)


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="Keras has steps_per_execution = 1 alone on torch")
def test_steps_are_counted_under_steps_per_execution():
    model, pruning = net(), GradualPruning(Schedule(0.8, end=9, frequency=9, unit="step"))
    model.compile("sgd", model.loss, steps_per_execution=3)  # 4 steps an epoch: 3 and 1
    fit(model, [pruning], 5)
    assert [update.time for update in pruning.updates] == [0, 11]  # the first execution that begins at 9 or later


def test_masks_of_an_earlier_epoch_are_reported():
    class PutBack(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            self.weights = self.model.get_weights()

        def on_train_end(self, logs=None):
            self.model.set_weights(self.weights)

    with pytest.warns(UserWarning, match="no longer has the mask"):
        fit(net(), [PutBack(), GradualPruning(Schedule(0.8, end=2))], 4)
    imp = kt.callbacks.IterativeMagnitudePruning(rounds=2, epochs_per_round=1)
    with pytest.warns(UserWarning, match="no longer has the mask"):
        fit(net(), [PutBack(), imp], imp.total_epochs)


def test_the_scope_unit_reaches_every_target_of_a_schedule():
    for width in (5, 8, 13):
        keras.utils.set_random_seed(0)
        stack = [keras.Input((width,)), keras.layers.Dense(9, name="a"), keras.layers.Dense(2, name="b")]
        model = kt.masked(keras.Sequential(stack))
        model.compile("sgd", "mse")
        pruning = GradualPruning(Schedule(0.8, end=30), scope="unit")
        model.fit(np.ones((4, width)), np.ones((4, 2)), epochs=31, verbose=0, callbacks=[pruning])
        left = {path: kept.sum(0) for path, kept in kt.get_mask(model).items()}
        assert (left["a/kernel"] == width - round(0.8 * width)).all()
        assert (left["b/kernel"] == 9 - round(0.8 * 9)).all()


@pytest.mark.parametrize("control", [None, "reinitialized", "shuffled"])
def test_a_second_fit_does_not_prune_again(control):
    model, pruning = net(), PruneAtInitialization("magnitude", 0.5, control=control)
    fit(model, [pruning], 3)
    weights, steps = kt.get_params(model), int(model.optimizer.iterations)
    fit(model, [pruning, _Stop()], 4, initial_epoch=3)
    assert not differing(kt.get_params(model), weights)
    assert int(model.optimizer.iterations) == steps


class _Stop(keras.callbacks.Callback):
    """Restores what was there before the first step, so that only what a callback did at the beginning shows."""

    def on_train_begin(self, logs=None):
        self.weights, self.steps = kt.get_params(self.model), int(self.model.optimizer.iterations)

    def on_train_end(self, logs=None):
        kt.set_params(self.model, self.weights)
        self.model.optimizer.iterations.assign(self.steps)


def test_a_restored_training_is_not_pruned_again(tmp_path):
    model, again = net(), net()
    with pytest.raises(KeyboardInterrupt):
        fit(model, [keras.callbacks.BackupAndRestore(tmp_path), PruneAtInitialization("magnitude", 0.5), Kill()], 4)
    fit(again, [keras.callbacks.BackupAndRestore(tmp_path), PruneAtInitialization("magnitude", 0.5)], 4)
    assert int(again.optimizer.iterations) == 16
    assert kt.sparsity(again) == pytest.approx(0.5, abs=0.01)


def test_a_network_that_was_trained_dense_is_pruned():
    model = net()
    fit(model, [], 2)
    fit(model, [PruneAtInitialization("magnitude", 0.5)], 1)
    assert kt.sparsity(model) == pytest.approx(0.5, abs=0.01)


IMP = kt.callbacks.IterativeMagnitudePruning
LATE = {
    "gradual, no data": (lambda: GradualPruning(Schedule(0.5, begin=2, end=3), "snip"), "needs examples"),
    "gradual, pattern": (lambda: GradualPruning(Schedule({"nothing": 0.5}, begin=2, end=3)), "matches none"),
    "gradual, dict under erk": (
        lambda: GradualPruning(Schedule({"*": 0.5}, begin=2, end=3), scope="erk"),
        "scope 'layer'",
    ),
    "gradual, N:M in steps": (
        lambda: GradualPruning(Schedule(0.5, begin=2, end=3), structure=NOfM(1, 2)),
        "N|of|Expected",
    ),
    "imp, no data": (lambda: IMP(rounds=1, epochs_per_round=4, criterion="snip"), "needs examples"),
    "imp, N:M": (lambda: IMP(rounds=1, epochs_per_round=4, structure=NOfM(2, 4)), "whose inputs 4 divides|in one step"),
}


@pytest.mark.parametrize("case", LATE)
def test_what_cannot_be_is_refused_before_training(case):
    make, message = LATE[case]
    callback = make()
    model = net()
    before = kt.get_params(model)
    with pytest.raises(ValueError, match=message):
        fit(model, [callback], getattr(callback, "total_epochs", 4))
    assert not differing(kt.get_params(model), before)


def test_numbers_of_numpy_are_numbers():
    schedule = Schedule(0.5, begin=np.int64(1), end=np.int32(4), frequency=np.int64(2))
    assert (schedule.begin, schedule.end, schedule.frequency) == (1, 4, 2)


def test_a_dict_with_rounds_goes_on_from_a_mask():
    model = net()
    PruneAtInitialization("magnitude", 0.5, scope="layer").find(model).apply(model)
    ticket = PruneAtInitialization("magnitude", {"*": 0.9}, rounds=5).find(model)
    for path, kept in ticket.mask.items():
        assert kept.sum() == kept.size - round(0.9 * kept.size), path


def test_the_sparsity_in_the_message_of_n_of_m_is_taken():
    keras.utils.set_random_seed(0)
    stack = [keras.Input((999,)), keras.layers.Dense(400, name="odd"), keras.layers.Dense(7, name="out")]
    model = kt.masked(keras.Sequential(stack))
    structure = NOfM(2, 4, ragged="dense")
    with pytest.raises(ValueError, match="gives this model") as error:
        PruneAtInitialization("magnitude", 0.3, structure=structure).find(model)
    said = float(str(error.value).split("gives this model, ")[1].split()[0])
    assert PruneAtInitialization("magnitude", said, structure=structure).find(model).sparsity == pytest.approx(
        said, abs=1e-6
    )


def test_a_target_may_name_what_the_user_wrote():
    inputs = keras.Input((6, 4))
    x = keras.layers.LSTM(5, name="read")(inputs)
    model = kt.masked(keras.Model(inputs, keras.layers.Dense(2, name="out")(x)))
    ticket = PruneAtInitialization("magnitude", {"read": 0.5}).find(model)
    shares = {path: 1 - kept.mean() for path, kept in ticket.mask.items()}
    assert [round(share, 1) for share in shares.values()] == [0.5, 0.5, 0.0]


def test_reinitializing_keeps_what_was_measured_on_data():
    normalize = keras.layers.Normalization(name="normalize")
    normalize.adapt(np.array([[1.0, 10.0], [3.0, 30.0]]))
    stack = [keras.Input((2,)), normalize, keras.layers.Dense(3, name="a"), keras.layers.Dense(2, name="b")]
    ticket = kt.Ticket.dense(kt.masked(keras.Sequential(stack)))
    again = ticket.reinitialized(seed=1)
    np.testing.assert_array_equal(again.params["normalize/mean"], ticket.params["normalize/mean"])
    assert (again.params["a/kernel"] != ticket.params["a/kernel"]).all()


def test_a_model_whose_layers_are_not_built_is_told_so():
    class Lazy(keras.Model):
        def __init__(self):
            super().__init__()
            self.out = keras.layers.Dense(2, name="out")

        def call(self, x):
            return self.out(x)

        def build(self, shape):
            self.built = True

    model = Lazy()
    model.build((None, 3))
    with pytest.raises(ValueError, match=r"layers \['out'\] have no"):
        kt.masked(model)
