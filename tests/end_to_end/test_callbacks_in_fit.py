"""Callbacks that prune, in the fits that people write: in pieces, repeated, resumed, beside other callbacks."""

import copy

import keras
import nets
import numpy as np
import pytest

import kerasticket as kt
from kerasticket import masks
from kerasticket.params import differing
from kerasticket.pruning import Movement, Schedule, criteria
from kerasticket.pruning.callbacks import GradualPruning, IterativeMagnitudePruning
from kerasticket.pruning.checks import check_model

EPOCHS = Schedule(0.8, begin=1, end=3)
STEPS = Schedule(0.8, begin=2, end=9, frequency=3, unit="step", shape="linear")  # two steps an epoch
ENDS = "ignore:This fit ends before the schedule:UserWarning"


@pytest.fixture(scope="module")
def net():
    """One network, traced once, put back before each training."""
    keras.utils.set_random_seed(0)
    model = nets.compile_for_test(kt.masked(nets.mlp()), keras.optimizers.SGD(0.1, momentum=0.9))
    dense = kt.Ticket.dense(model)

    def fresh() -> keras.Model:
        dense.apply(model)
        model.optimizer.learning_rate = 0.1
        return model

    return fresh


def fit(model, callbacks, epochs: int, **options):
    x, y = nets.batch(model)
    model.fit(x, y, batch_size=16, epochs=epochs, callbacks=callbacks, shuffle=False, verbose=0, **options)
    return model


@pytest.fixture(scope="module")
def unbroken(net):
    """Weights and masks after a gradual pruning in one fit of five epochs, by schedule."""
    ends = {}
    for schedule in (EPOCHS, STEPS):
        model = fit(net(), [GradualPruning(schedule)], 5)
        ends[schedule.unit] = kt.get_params(model), kt.get_mask(model)
    return ends


class Rates(keras.callbacks.Callback):
    """The learning rate at the first step of each epoch."""

    def __init__(self):
        super().__init__()
        self.seen: list[float] = []

    def on_train_batch_begin(self, batch, logs=None):
        if batch == 0:
            self.seen.append(round(float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)), 6))


class Lower(keras.callbacks.Callback):
    """Halves the rate after each epoch."""

    def on_epoch_end(self, epoch, logs=None):
        self.model.optimizer.learning_rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)) / 2


@pytest.mark.filterwarnings(ENDS)
@pytest.mark.parametrize("schedule", [EPOCHS, STEPS], ids=["epochs", "steps"])
@pytest.mark.parametrize("way", ["initial_epoch", "from 0 again", "new callback", "copied callback"])
def test_pieces_are_one_training(way, schedule, net, unbroken):
    model, pruning = net(), GradualPruning(schedule)
    for epoch in range(5):
        one = {"new callback": GradualPruning(schedule), "copied callback": copy.deepcopy(pruning)}.get(way, pruning)
        first = 0 if way == "from 0 again" else epoch
        fit(model, [one], first + 1 if way == "from 0 again" else epoch + 1, initial_epoch=first)
    params, mask = unbroken[schedule.unit]
    assert not differing(kt.get_mask(model), mask)
    assert not differing(kt.get_params(model), params)


@pytest.mark.filterwarnings(ENDS)
def test_data_of_unknown_length_go_on(net, unbroken):
    import tensorflow as tf

    def batches():
        yield from ((x[start : start + 16], y[start : start + 16]) for start in (0, 16))

    model, pruning = net(), GradualPruning(STEPS)
    x, y = nets.batch(model)
    signature = (tf.TensorSpec((None, *x.shape[1:])), tf.TensorSpec((None, y.shape[1])))
    data = tf.data.Dataset.from_generator(batches, output_signature=signature)
    for first, last in ((0, 2), (2, 5)):
        model.fit(data, initial_epoch=first, epochs=last, callbacks=[pruning], shuffle=False, verbose=0)
    assert not differing(kt.get_mask(model), unbroken["step"][1])
    before = kt.get_params(fit(net(), [], 2))
    with pytest.raises(ValueError, match=r"how many steps lie before epoch 2.*unknown length.*steps_per_epoch"):
        model.fit(data, initial_epoch=2, epochs=6, callbacks=[GradualPruning(STEPS)], verbose=0)
    assert not differing(kt.get_params(model), before)


def test_a_fit_that_ends_before_the_schedule_says_so_once(net):
    model, pruning = net(), GradualPruning(Schedule(0.8, end=2))
    with pytest.warns(UserWarning, match=r"ends before the schedule does, at epoch 2.*sparsity 0\.8") as said:
        _ = [fit(model, [pruning], epoch + 1, initial_epoch=epoch) for epoch in range(4)]
    assert sum("ends before the schedule" in str(warning.message) for warning in said) == 1
    with pytest.warns(UserWarning, match="ends before the schedule does, at step 9"):
        fit(net(), [GradualPruning(STEPS)], 4)


@pytest.mark.filterwarnings(ENDS)
def test_the_same_callback_begins_anew_with_a_network_that_was_put_back(net):
    for epochs in (1, 4):  # nothing is pruned by then, and all is
        pruning, found = GradualPruning(EPOCHS), []
        for _ in range(2):
            model = fit(net(), [pruning], epochs)
            found.append([(update.time, update.kept) for update in pruning.updates])
        assert found[0] == found[1]
        assert masks.kept(kt.get_mask(model)) == (88 if epochs == 1 else 88 - round(0.8 * 88))


def test_pruning_further_begins_where_the_model_is(net):
    model, first = net(), GradualPruning(Schedule(0.5, end=2))
    fit(model, [first], 3)
    before = kt.get_mask(model)
    fit(model, [first], 4)
    assert not differing(kt.get_mask(model), before)
    second = GradualPruning(Schedule(0.8, end=4, shape="linear"))
    with pytest.warns(UserWarning, match=r"pruned already, to a sparsity of 0\.5000.*initial=0\.5\)"):
        fit(model, [second], 5)
    assert [(u.time, u.kept) for u in second.updates] == [(t, 88 - round(88 * s)) for t, s in ((3, 0.6), (4, 0.8))]
    assert masks.is_nested(kt.get_mask(model), before)
    params = kt.get_params(model)
    with pytest.raises(ValueError, match=r"at least the sparsity that the mask has, 0\.7955.*target=0\.5"):
        fit(model, [GradualPruning(Schedule(0.5, end=2))], 3)
    assert not differing(params, kt.get_params(model))


def test_pruning_further_layer_by_layer(net):
    """The hidden layer has lost 3/4, the classifier nothing: each waits until the schedule passes it."""
    model = net()
    kt.set_mask(model, {"hidden/kernel": np.arange(48).reshape(6, 8) % 4 == 0})
    pruning = GradualPruning(Schedule(0.75, end=2, initial=0.5, shape="linear"), scope="layer")
    fit(model, [pruning], 3)
    assert [update.kept for update in pruning.updates] == [12 + 20, 12 + 15, 12 + 10]


@pytest.mark.filterwarnings(ENDS)
def test_movement_goes_on_from_piece_to_piece(net):
    schedule, ends = Schedule(0.6, begin=2, end=4, frequency=2, shape="linear"), []
    for pieces in ([(0, 5)], [(0, 1), (1, 2), (2, 5)]):
        model = net()
        movement = Movement(nets.batch(model))
        pruning = GradualPruning(schedule, movement)
        for first, last in pieces:
            fit(model, [movement, pruning], last, initial_epoch=first)
        ends.append(kt.get_mask(model))
    assert not differing(*ends)
    model = fit(net(), [], 1)
    movement = Movement(nets.batch(model))
    with pytest.warns(UserWarning, match="no scores of the epochs before 1"):
        fit(model, [movement, GradualPruning(schedule, movement)], 5, initial_epoch=1)


SCHEDULERS = {
    "epoch": lambda epoch: 0.1 / (1 + epoch),
    "epoch and rate": lambda epoch, rate: rate * (0.5 if epoch else 1.0),
}


@pytest.mark.parametrize("rewind_epoch", [0, 1])
@pytest.mark.parametrize("form", SCHEDULERS)
def test_schedulers_of_the_rate_see_the_epoch_within_the_round(form, rewind_epoch, net):
    scheduler, rates = keras.callbacks.LearningRateScheduler(SCHEDULERS[form]), Rates()
    options = {"rounds": 3, "epochs_per_round": 3, "rewind_epoch": rewind_epoch, "round_callbacks": [scheduler]}
    imp = IterativeMagnitudePruning(**options)
    fit(net(), [imp, rates], imp.total_epochs)
    first = [0.1, 0.05, round(0.1 / 3, 6) if form == "epoch" else 0.025]
    assert rates.seen == pytest.approx([*first, *first[rewind_epoch:] * 2], abs=1e-6)


@pytest.mark.parametrize("rewind_epoch", [0, 2])
def test_a_round_with_callbacks_is_a_training_of_its_ticket(rewind_epoch, net):
    """Against plain fits: ReduceLROnPlateau, whose memory is rewound too."""

    def plateau():
        return keras.callbacks.ReduceLROnPlateau("loss", factor=0.5, patience=1, min_delta=10.0)

    ends = []
    options = {"rounds": 2, "epochs_per_round": 4, "rewind_epoch": rewind_epoch, "round_callbacks": [plateau()]}
    imp = IterativeMagnitudePruning(on_round_end=lambda *found: ends.append(found[2]), **options)
    rates = Rates()
    fit(net(), [imp, rates], imp.total_epochs)
    assert rates.seen[:4] == [0.1, 0.1, 0.05, 0.025]
    assert rates.seen[4:] == rates.seen[rewind_epoch:4]
    model, whole = net(), plateau()
    fit(model, [whole], 4)
    assert not differing(kt.get_params(model), ends[0])
    if not rewind_epoch:
        imp.tickets[1].apply(model)
        model.optimizer.learning_rate = 0.1
        fit(model, [plateau()], 4)
        assert not differing(kt.get_params(model), ends[1])


@pytest.mark.parametrize("before", [True, False])
def test_a_callback_of_fit_that_gives_rounds_other_rates_is_refused(before, net):
    """Seen before: rounds that began at .1, .05, .025 and .0125, without a word."""
    scheduler = keras.callbacks.LearningRateScheduler(SCHEDULERS["epoch"])
    plateau = keras.callbacks.ReduceLROnPlateau("loss", factor=0.5, patience=0, min_delta=10.0)
    for other in (scheduler, plateau):
        imp = IterativeMagnitudePruning(rounds=3, epochs_per_round=2)
        model = net()
        message = r"round 1 at the learning rates of the first round.*round_callbacks=\["
        with pytest.warns(UserWarning, match="is not rewound"), pytest.raises(ValueError, match=message):
            fit(model, [other, imp] if before else [imp, other], imp.total_epochs)
        assert len(imp.tickets) == 2
    if not before:
        imp, rates = IterativeMagnitudePruning(rounds=4, epochs_per_round=1), Rates()
        with (
            pytest.warns(UserWarning, match="rewound"),
            pytest.raises(ValueError, match=r"0\.1 at the start.*Received: 0\.05"),
        ):
            fit(net(), [keras.callbacks.CallbackList([imp, Lower()]), rates], imp.total_epochs)
        assert rates.seen == [0.1]  # the second round has not been trained


def test_a_callback_that_stops_ends_its_round(net):
    class StopAt(keras.callbacks.EarlyStopping):
        """Stops after the second epoch of each round that it sees, with the weights of the first."""

    stop = StopAt("loss", patience=1, min_delta=10.0, restore_best_weights=True)
    ends, epochs = [], []
    imp = IterativeMagnitudePruning(
        rounds=2, epochs_per_round=5, round_callbacks=[stop], on_round_end=lambda *found: ends.append(found[2])
    )
    count = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: epochs.append(epoch))
    model = fit(net(), [imp, count], imp.total_epochs)
    assert epochs == [0, 1, 2, 3]
    assert len(imp.rounds_done) == 2
    imp.tickets[-1].verify(model)
    assert not differing(kt.get_params(fit(net(), [], 1)), ends[0])
    early = IterativeMagnitudePruning(rounds=1, epochs_per_round=5, rewind_epoch=3, round_callbacks=[stop])
    with pytest.raises(ValueError, match="ended after 2 epochs"):
        fit(net(), [early], early.total_epochs)
    with pytest.warns(UserWarning, match=r"stopped after 0 of 2 rounds.*EarlyStopping in round_callbacks"):
        fit(net(), [stop, IterativeMagnitudePruning(rounds=2, epochs_per_round=5)], 10)


def test_what_cannot_be_a_callback_of_rounds_is_refused(net, tmp_path):
    class Writes(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            self.file = (tmp_path / "log").open("w")

    for odd in ("scheduler", keras.callbacks.BackupAndRestore(tmp_path), IterativeMagnitudePruning(rounds=1)):
        with pytest.raises(ValueError, match="round_callbacks as a list of Keras callbacks"):
            IterativeMagnitudePruning(round_callbacks=[odd])
    imp = IterativeMagnitudePruning(rounds=1, epochs_per_round=2, rewind_epoch=1, round_callbacks=[Writes()])
    with pytest.raises(ValueError, match=r"Writes, whose attribute 'file' cannot.*fit\(callbacks"):
        fit(net(), [imp], imp.total_epochs)
    start = kt.Ticket.dense(net(), rewind_epoch=1)
    options = {"start": start, "rewind_epoch": 1, "epochs_per_round": 2}
    IterativeMagnitudePruning(**options, round_callbacks=[keras.callbacks.LearningRateScheduler(SCHEDULERS["epoch"])])
    for other in (Lower(), keras.callbacks.LearningRateScheduler(SCHEDULERS["epoch and rate"])):
        with pytest.raises(ValueError, match="without a memory"):
            IterativeMagnitudePruning(**options, round_callbacks=[other])


def test_a_second_fit_with_one_search_is_refused(net):
    model, imp = net(), IterativeMagnitudePruning(rounds=2, epochs_per_round=1)
    dense = kt.get_params(model)
    fit(model, [imp], 2)
    found, state = list(imp.tickets), kt.get_params(model)
    with pytest.raises(ValueError, match=r"done 2 rounds, and a model at a sparsity of 0\.3636.*imp\.tickets\[0\]"):
        fit(model, [imp], 2)
    assert imp.tickets == found
    assert not differing(kt.get_params(model), state)
    fit(net(), [imp], 2)  # another dense network, or this one put back: a search of its own
    assert not differing(imp.tickets[0].params, dense)
    assert not differing(imp.tickets[-1].mask, found[-1].mask)
    again = IterativeMagnitudePruning(rounds=2, epochs_per_round=1, start=imp.tickets[0])
    for _ in range(2):  # it says itself where it begins
        fit(model, [again], 2)
        assert again.tickets[0].sparsity == 0
        assert not differing(again.tickets[-1].mask, found[-1].mask)


def test_a_search_in_pieces_is_refused_and_leaves_the_model_as_it_was(net):
    model, imp = fit(net(), [], 1), IterativeMagnitudePruning(rounds=2, epochs_per_round=1)
    steps = int(model.optimizer.iterations)
    with pytest.raises(ValueError, match="in one fit and not in pieces"):
        fit(model, [imp], 1)
    with pytest.raises(ValueError, match="initial_epoch=0"):
        fit(model, [imp], 2, initial_epoch=1)
    assert int(model.optimizer.iterations) == steps > 0


class Own(keras.Model):
    """Reports its loss by another name."""

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        return {"total": 1.0}


def own(optimizer) -> keras.Model:
    inputs = keras.Input((6,))
    model = kt.masked(Own(inputs, keras.layers.Dense(5, name="head")(inputs)))
    model.compile(optimizer, keras.losses.CategoricalCrossentropy(from_logits=True))
    return model


def test_logs_without_a_loss():
    model, imp = own("sgd"), IterativeMagnitudePruning(rounds=1, fraction=0.5, epochs_per_round=1)
    x, y = nets.batch(model)
    model.fit(x, y, callbacks=[imp], verbose=0)
    assert imp.tickets[-1].kept == 15
    assert np.isnan(imp.rounds_done[0].loss)
    x[0] = np.nan
    again = IterativeMagnitudePruning(rounds=1, epochs_per_round=1, start=imp.tickets[0])
    with pytest.raises(FloatingPointError, match="Weights are not finite after epoch 1 of round 0"):
        model.fit(x, y, callbacks=[again], verbose=0)


def test_a_model_without_an_optimizer_is_refused():
    model = own(None)
    for callback in (
        GradualPruning(Schedule(0.5, end=1)),
        IterativeMagnitudePruning(rounds=1, epochs_per_round=1),
        kt.callbacks.PruneAtInitialization("magnitude", 0.5),
    ):
        callback.set_model(model)
        callback.set_params({"epochs": 1, "steps": 1})
        with pytest.raises(ValueError, match="Compile the model with an optimizer"):
            callback.on_train_begin()
    with pytest.raises(ValueError, match="Compile the model with an optimizer"):
        check_model(kt.masked(nets.mlp()))


@pytest.mark.same_on_every_backend
def test_a_criterion_of_another_signature_is_refused_at_once():
    class Scores:
        def __call__(self, model, params, mask, data, rng):
            return params

    for odd in (lambda w: w, np.abs, keras.ops.abs, Movement, lambda model, params, mask, data: mask):
        for make in (
            lambda odd=odd: GradualPruning(Schedule(0.5, end=1), odd),
            lambda odd=odd: IterativeMagnitudePruning(criterion=odd),
            lambda odd=odd: kt.callbacks.PruneAtInitialization(odd, 0.5),
        ):
            with pytest.raises(ValueError, match=r"criterion\(model, params, mask, data, rng\)"):
                make()
    for fine in (Scores(), Movement(None), lambda *arguments: {}, criteria.magnitude):
        assert criteria.get(fine) is fine
    with pytest.raises(ValueError, match="scores as a dict of arrays.*ndarray"):
        masks.keep_top(np.ones(3), {"k": np.ones(3, bool)}, 1)


@pytest.mark.same_on_every_backend
def test_a_ticket_in_place_of_a_mask_is_told_so():
    model = kt.masked(nets.mlp())
    ticket, mask = kt.Ticket.dense(model), kt.get_mask(model)
    for call in (
        lambda odd: kt.set_mask(model, odd),
        lambda odd: kt.set_params(model, ticket.params, odd),
        lambda odd: ticket.pruned(odd, {}),
        lambda odd: kt.analysis.mask_overlap(mask, odd),
        lambda odd: kt.analysis.layer_sparsity(odd),
        lambda odd: kt.analysis.layer_sparsity_difference(odd, mask),
        lambda odd: kt.analysis.dead_units(odd),
        masks.total,
        masks.kept,
        masks.sparsity,
        lambda odd: masks.is_nested(odd, mask),
        lambda odd: masks.is_nested(mask, odd),
        lambda odd: masks.zeroed(ticket.params, odd),
        lambda odd: masks.keep_top(mask, odd, 1),
    ):
        for odd, message in (
            (ticket, r"a Ticket\. Pass ticket\.mask"),
            (model, r"Pass kt\.get_mask\(model\)"),
            ("ticket.keras", r"'ticket\.keras'.*Ticket\.load\(path\)\.mask"),
            ([True], "a list. Masks come from"),
        ):
            with pytest.raises(ValueError, match=message):
                call(odd)


@pytest.mark.same_on_every_backend
def test_a_recipe_needs_data_of_known_length():
    import tensorflow as tf

    endless = tf.data.Dataset.from_tensors((np.ones(3), np.ones(2))).repeat()
    for odd in (endless, iter([])):
        with pytest.raises(ValueError, match="dataset of known length"):
            kt.training.Recipe(epochs=2).compile(nets.mlp(), odd)


def test_pruning_at_initialization_is_not_undone_by_pruning_further(net):
    model = net()
    callbacks = [
        kt.callbacks.PruneAtInitialization("magnitude", 0.5),
        GradualPruning(Schedule(0.8, end=1, initial=0.5)),
    ]
    fit(model, callbacks, 2)
    fit(model, callbacks, 3, initial_epoch=2)
    assert kt.sparsity(model) == pytest.approx(0.8, abs=0.01)
