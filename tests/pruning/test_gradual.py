"""Gradual pruning and pruning at initialization in real fits: exact sparsities, exact zeros, what is refused."""

import keras
import nets
import numpy as np
import pytest

import kerasticket as kt
from kerasticket import masks
from kerasticket.models.paths import raw_params
from kerasticket.params import differing
from kerasticket.pruning import Movement, NOfM, Schedule, criteria
from kerasticket.pruning.callbacks import GradualPruning
from kerasticket.tickets import optimizer_state


class Watch(keras.callbacks.Callback):
    """Writes down the sparsity during each epoch, and whether pruned weights and slots are exactly zero after it."""

    def __init__(self):
        super().__init__()
        self.sparsities: list[float] = []
        self.clean: list[bool] = []

    def on_epoch_end(self, epoch, logs=None):
        mask, state = kt.get_mask(self.model), optimizer_state.get_state(self.model)
        self.sparsities.append(kt.sparsity(self.model))
        weights = [raw_params(self.model)[path][~kept] for path, kept in mask.items()]
        slots = [array[~mask[key.rpartition(":")[0]]] for key, array in state.items() if key.rpartition(":")[0] in mask]
        self.clean.append(bool(slots) and not any(array.any() for array in [*weights, *slots]))


def fit(pruning, epochs: int, *before, model=None, optimizer=None) -> tuple[keras.Model, Watch]:
    model = model or nets.compile_for_test(kt.masked(nets.mlp()), optimizer or keras.optimizers.SGD(0.1, momentum=0.9))
    watch = Watch()
    x, y = nets.batch(model)
    callbacks = [*before, pruning, watch]
    model.fit(x, y, batch_size=8, epochs=epochs, callbacks=callbacks, shuffle=False, verbose=0)
    return model, watch


def kept_of(sparsity: float) -> int:
    return 88 - round(sparsity * 88)


def test_epochs_see_the_sparsities_of_the_schedule():
    schedule = Schedule(0.8, begin=1, end=3)
    pruning = GradualPruning(schedule)
    model, watch = fit(pruning, 5)
    expected = [kept_of(schedule.at(epoch)) for epoch in range(5)]
    assert [88 - round(88 * value) for value in watch.sparsities] == expected
    assert all(watch.clean)
    assert [(update.time, update.kept) for update in pruning.updates] == [(t, expected[t]) for t in (1, 2, 3)]
    assert kt.sparsity(model) == pruning.updates[-1].sparsity


def test_steps_see_the_sparsities_of_the_schedule_on_every_backend():
    """On JAX the weights live outside the model within an epoch; the callback fetches them and hands them back."""
    schedule = Schedule(0.75, begin=1, end=9, frequency=3, unit="step", shape="linear")
    pruning = GradualPruning(schedule)
    model, watch = fit(pruning, 3)
    assert [(u.time, u.kept) for u in pruning.updates] == [(t, kept_of(schedule.at(t))) for t in (1, 4, 7, 9)]
    assert all(watch.clean)
    x, y = nets.batch(model)
    before = kt.get_params(model)
    model.fit(x, y, batch_size=8, epochs=1, shuffle=False, verbose=0)  # trains on, in its mask
    assert differing(before, kt.get_params(model))
    assert all(not raw_params(model)[path][~mask].any() for path, mask in kt.get_mask(model).items())


def test_updates_between_steps_leave_training_as_it_is():
    """With nothing to prune, weights and optimizer come out to the bit as without the callback."""
    ends = []
    dense = kt.Ticket.dense(kt.masked(nets.mlp()))
    for pruning in (GradualPruning(Schedule(0.0, begin=1, end=6, unit="step")), Watch()):
        model = dense.model()
        fit(pruning, 2, model=nets.compile_for_test(model, keras.optimizers.Adam(0.01)))
        ends.append((kt.get_params(model), optimizer_state.get_state(model)))
    assert not differing(ends[0][0], ends[1][0])
    assert not differing(ends[0][1], ends[1][1])


def test_train_prune_fine_tune_and_patterns_and_structures():
    pruning = GradualPruning(Schedule({"hidden": 0.5}, begin=1, shape="one_shot"), scope="layer", structure=NOfM(1, 2))
    model, watch = fit(pruning, 2)
    mask = kt.get_mask(model)
    assert mask["classifier/kernel"].all()
    assert (mask["hidden/kernel"].reshape(3, 2, 8).sum(1) == 1).all()
    assert watch.sparsities[0] == 0


def test_the_lowest_scores_go_and_seeds_repeat():
    taken = []

    def first_come(model, params, mask, data, rng):
        taken.append((data, float(rng.random())))
        return {path: -np.arange(array.size).reshape(array.shape) for path, array in mask.items()}

    for _ in range(2):
        pruning = GradualPruning(
            Schedule(0.5, begin=0, shape="one_shot"), first_come, scope="layer", data="mine", seed=4
        )
        model, _ = fit(pruning, 1)
    assert taken[0] == taken[1] == ("mine", float(np.random.default_rng([4, 0]).random()))
    assert kt.get_mask(model)["hidden/kernel"].ravel()[:24].all()


def test_movement_adds_up_over_epochs_and_begins_anew_after_each_pruning():
    model = nets.compile_for_test(kt.masked(nets.mlp()), keras.optimizers.SGD(0.1, momentum=0.9))
    data, terms, given = nets.batch(model), [], []
    movement = Movement(data)

    class Terms(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            mask, params = kt.get_mask(self.model), kt.get_params(self.model)
            terms.append(criteria.movement(self.model, params, mask, data, None))

    def watched(*arguments):
        given.append(movement(*arguments))
        return given[-1]

    fit(GradualPruning(Schedule(0.5, begin=2, end=3, shape="linear"), watched), 4, Terms(), movement, model=model)
    for path in terms[0]:
        np.testing.assert_allclose(given[0][path], terms[0][path] + terms[1][path], rtol=1e-6)
        np.testing.assert_allclose(given[1][path], terms[2][path], rtol=1e-6)


def test_movement_before_any_epoch_is_refused():
    movement = Movement(nets.batch(nets.mlp()))
    with pytest.raises(ValueError, match="an epoch of training.*before the one that prunes"):
        fit(GradualPruning(Schedule(0.5, begin=0, shape="one_shot"), movement), 1, movement)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"schedule": 0.9}, "Expected a Schedule.*schedule=0.9"),
        ({"criterion": "snipp"}, "Did you mean 'snip'"),
        ({"scope": "rows"}, "scope to be one of"),
        ({"seed": -1}, "seed that is a whole number.*-1"),
    ],
)
def test_bad_arguments_are_refused_at_once(options, message):
    with pytest.raises(ValueError, match=message):
        GradualPruning(**{"schedule": Schedule(0.5, end=2), **options})


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        (Schedule(0.5, end=2), "ends before the schedule does, at epoch 2"),
        (Schedule(0.5, end=80, unit="step"), "ends before the schedule does, at step 80"),
    ],
)
def test_a_training_that_is_too_short_says_so_at_its_beginning(schedule, message):
    """It may be the first piece of a longer one."""
    model = nets.compile_for_test(kt.masked(nets.mlp()))
    with pytest.warns(UserWarning, match=message):
        fit(GradualPruning(schedule), 2, model=model)
    assert kt.sparsity(model) < 0.5


def test_models_without_masks_and_averaged_weights_are_refused():
    with pytest.raises(ValueError, match="model with masked layers"):
        fit(GradualPruning(Schedule(0.5, end=1)), 2, model=nets.compile_for_test(nets.mlp()))
    with pytest.raises(ValueError, match="use_ema"):
        fit(GradualPruning(Schedule(0.5, end=1)), 2, optimizer=keras.optimizers.Adam(use_ema=True))


def test_a_training_that_stops_early_says_so():
    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = True

    with pytest.warns(
        UserWarning, match=r"stopped before the schedule's end, epoch 2: the sparsity is 0\.0000, not 0\.5"
    ):
        fit(GradualPruning(Schedule(0.5, begin=0, end=2, shape="linear")), 4, Stop())


def test_a_full_pass_empties_no_layer_by_default():
    pruning = GradualPruning(Schedule(0.97, begin=0, shape="one_shot"), lambda model, params, mask, data, rng: {
        path: np.full(array.shape, float(path == "hidden/kernel")) for path, array in mask.items()
    })  # fmt: skip
    model, _ = fit(pruning, 1)
    counts = [int(array.sum()) for array in kt.get_mask(model).values()]
    assert counts == [kept_of(0.97) - 1, 1]
    assert masks.kept(kt.get_mask(model)) == kept_of(0.97)
