"""Iterative magnitude pruning: the real callback in real fits, bit-exact rewinds, and what is refused."""

import math

import keras
import nets
import numpy as np
import pytest

import kerasticket as kt
from kerasticket import masks
from kerasticket.data.positions import Counter
from kerasticket.models.paths import raw_params
from kerasticket.params import differing
from kerasticket.pruning.criteria import CRITERIA
from kerasticket.pruning.scopes import SCOPES
from kerasticket.tickets import optimizer_state

OPTIMIZERS = {
    "kerasticket": lambda: kt.optimizers.SGD(kt.optimizers.StepSchedule(0.1, [3, 5], 0.2), momentum=0.9, l2=5e-4),
    "adam": lambda: keras.optimizers.Adam(0.01),
}


def search(model, optimizer="kerasticket", **options) -> kt.callbacks.IterativeMagnitudePruning:
    """Fits the masked model on 32 fixed examples, two steps an epoch, with the callback; returns the callback."""
    nets.compile_for_test(model, OPTIMIZERS[optimizer]())
    return search_with_compiled(model, **options)


def search_with_compiled(model, **options) -> kt.callbacks.IterativeMagnitudePruning:
    imp = kt.callbacks.IterativeMagnitudePruning(**options)
    x, y = nets.batch(model)
    model.fit(x, y, batch_size=16, epochs=imp.total_epochs, callbacks=[imp], shuffle=False, verbose=0)
    return imp


def assert_rewound(ticket: kt.Ticket, start: kt.Ticket) -> None:
    """Level-n weights are mask x level-0 weights to the bit, everything else is level 0's."""
    for path, array in start.params.items():
        expected = np.where(ticket.mask[path], array, np.float32(0)) if path in ticket.mask else array
        np.testing.assert_array_equal(ticket.params[path], expected)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_real_pipeline_two_rounds_of_two_steps(optimizer):
    model = kt.masked(nets.small_convnet())
    before = kt.get_params(model)
    imp = search(model, optimizer, rounds=2, fraction=0.2, epochs_per_round=1)
    assert [ticket.round for ticket in imp.tickets] == [0, 1, 2]
    assert not differing(imp.tickets[0].params, before)
    for ticket in imp.tickets:
        assert_rewound(ticket, imp.tickets[0])
    assert masks.is_nested(imp.tickets[2].mask, imp.tickets[1].mask)
    imp.tickets[2].verify(model)  # fit ends rewound, with a fresh optimizer


def test_each_round_removes_the_smallest_trained_weights():
    model = kt.masked(nets.small_convnet())
    trained = []
    imp = search(model, rounds=3, epochs_per_round=1, on_round_end=lambda *arguments: trained.append(arguments[2]))
    for before, after, params in zip(imp.tickets, imp.tickets[1:], trained, strict=False):
        removed = [params[p][before.mask[p] & ~after.mask[p]] for p in after.mask]
        kept = [params[p][after.mask[p]] for p in after.mask]
        assert max(np.abs(np.concatenate(removed))) <= min(np.abs(np.concatenate(kept)))
        assert before.kept - after.kept == round(0.2 * before.kept)


def test_a_round_trains_exactly_like_a_training_of_its_ticket():
    model = kt.masked(nets.small_convnet())
    ends = []
    imp = search(model, rounds=2, epochs_per_round=2, on_round_end=lambda *arguments: ends.append(arguments[2]))
    x, y = nets.batch(model)
    for ticket, end in zip(imp.tickets, ends, strict=False):
        ticket.apply(model)
        model.fit(x, y, batch_size=16, epochs=2, shuffle=False, verbose=0)
        assert not differing(kt.get_params(model), end)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_rewinding_to_an_epoch_restores_weights_slots_and_step_count(optimizer):
    model = kt.masked(nets.small_convnet())
    imp = search(model, optimizer, rounds=3, epochs_per_round=3, rewind_epoch=1)
    assert imp.total_epochs == 3 + 2 * 2
    start = imp.tickets[0]
    assert start.rewind_epoch == 1
    assert start.optimizer["iteration"] == 2  # one epoch of two steps
    x, y = nets.batch(model)
    assert_rewound(imp.tickets[-1], start)
    imp.tickets[-1].verify(model)
    slots = {key: array for key, array in imp.tickets[-1].optimizer.items() if key.startswith("conv/kernel:")}
    assert slots
    for key, array in slots.items():
        kept = imp.tickets[-1].mask["conv/kernel"]
        assert not array[~kept].any()
        np.testing.assert_array_equal(array[kept], start.optimizer[key][kept])
    model.fit(x, y, batch_size=16, epochs=3, initial_epoch=1, shuffle=False, verbose=0)
    for path, mask in imp.tickets[-1].mask.items():
        assert not raw_params(model)[path][~mask].any()  # unmasked momentum would have revived these


def test_the_rewind_point_is_where_a_plain_training_is_after_k_epochs():
    model = kt.masked(nets.small_convnet())
    dense = kt.Ticket.dense(model)
    imp = search(model, rounds=1, epochs_per_round=3, rewind_epoch=2)
    dense.apply(model)
    x, y = nets.batch(model)
    model.fit(x, y, batch_size=16, epochs=2, shuffle=False, verbose=0)
    assert not differing(kt.get_params(model), imp.tickets[0].params)
    assert not differing(optimizer_state.get_state(model), imp.tickets[0].optimizer)


@pytest.mark.parametrize(
    ("rewind_epoch", "rewind_scope"),
    [(0, "all"), (1, "all"), (0, "kernels"), (1, "kernels"), (1, "learning_rate"), (1, "nothing")],
)
def test_a_search_continued_from_a_file_gives_the_same_tickets(rewind_epoch, rewind_scope, tmp_path):
    options = {"epochs_per_round": 2, "rewind_epoch": rewind_epoch, "rewind_scope": rewind_scope}
    model = kt.masked(nets.small_convnet())
    whole = search(model, rounds=4, **options)
    whole.tickets[2].save(tmp_path / "ticket.keras")
    other = kt.masked(nets.small_convnet())
    rest = search(other, rounds=2, start=kt.Ticket.load(tmp_path / "ticket.keras"), **options)
    for a, b in zip(whole.tickets[2:], rest.tickets, strict=True):
        assert not differing(a.mask, b.mask)
        assert not differing(a.params, b.params)
        assert not differing(a.removed_in, b.removed_in)
        assert a.stages == b.stages
    assert [record.index for record in rest.rounds_done] == [2, 3]


def test_syn8_then_imp_keeps_the_provenance():
    model = kt.masked(nets.small_convnet())
    first = search(model, rounds=2, epochs_per_round=1, stage="synthetic")
    second = search(model, rounds=2, epochs_per_round=2, stage="imp", start=first.tickets[-1], rewind_epoch=1)
    stages = [(s["name"], s["first_round"], s["last_round"]) for s in second.tickets[-1].stages]
    assert stages == [("synthetic", 1, 2), ("imp", 3, 4)]
    for path, removed in second.tickets[-1].removed_in.items():
        np.testing.assert_array_equal(removed == 0, second.tickets[-1].mask[path])
        np.testing.assert_array_equal((removed == 1) | (removed == 2), ~first.tickets[-1].mask[path])


def test_rewinding_kernels_alone_keeps_trained_biases_and_statistics():
    model = kt.masked(nets.small_convnet())
    trained = []
    imp = search(
        model,
        rounds=1,
        epochs_per_round=2,
        rewind_scope="kernels",
        on_round_end=lambda *arguments: trained.append(arguments[2]),
    )
    last = imp.tickets[-1]
    for path, array in last.params.items():
        if path in last.mask:
            np.testing.assert_array_equal(array, np.where(last.mask[path], imp.tickets[0].params[path], 0))
        else:
            np.testing.assert_array_equal(array, trained[0][path])
    assert (last.params["norm/moving_mean"] != imp.tickets[0].params["norm/moving_mean"]).any()


def assert_trained(ticket: kt.Ticket, trained: dict) -> None:
    """Every weight and statistic is what training made of it, under the ticket's mask; so are the kept slots."""
    assert not differing(ticket.params, masks.zeroed(trained, ticket.mask))
    for path, mask in ticket.mask.items():
        slot = ticket.optimizer[f"{path}:momentum"]
        assert not slot[~mask].any()
        assert slot[mask].any()


@pytest.mark.parametrize(("rewind_scope", "steps"), [("learning_rate", [2, 2]), ("nothing", [6, 10])])
def test_retraining_goes_on_from_the_trained_weights(rewind_scope, steps):
    """Two steps an epoch: the schedule goes back to epoch 1, or goes on from epoch 3 and from 3 + 2."""
    model, trained = kt.masked(nets.small_convnet()), []
    options = {"rewind_epoch": 1, "rewind_scope": rewind_scope}
    options["on_round_end"] = lambda *arguments: trained.append(arguments[2])
    imp = search(model, rounds=2, epochs_per_round=3, **options)
    for ticket, end in zip(imp.tickets[1:], trained, strict=True):
        assert_trained(ticket, end)
    assert [int(ticket.optimizer["iteration"]) for ticket in imp.tickets[1:]] == steps
    assert imp.tickets[-1].stages[0]["rewind_scope"] == rewind_scope
    imp.tickets[-1].verify(model)


def test_learning_rate_rewinding_to_the_beginning_starts_the_schedule_anew():
    model, trained = kt.masked(nets.mlp()), []
    imp = search(
        model,
        "adam",
        rounds=1,
        epochs_per_round=2,
        rewind_scope="learning_rate",
        on_round_end=lambda *arguments: trained.append(arguments[2]),
    )
    assert_trained(imp.tickets[1], trained[0])
    assert imp.tickets[1].optimizer["iteration"] == 0


def test_structures_and_emptied_layers_in_rounds():
    imp = search(kt.masked(nets.mlp()), rounds=2, epochs_per_round=1, fraction=0.5, scope="layer", structure="filters")
    units = [(mask.any(0).sum(), mask.all(0).sum()) for mask in imp.tickets[-1].mask.values()]
    assert units == [(2, 2), (1, 1)]  # of 8 and 5, half of them twice, rounded to even
    assert imp.tickets[-1].stages[0]["structure"] == "filters"
    last = {"criterion": lambda model, params, mask, data, rng: {p: np.full(a.shape, -len(p)) for p, a in mask.items()}}
    with pytest.warns(UserWarning, match=r"empties the layers \['classifier/kernel'\]"):
        search(kt.masked(nets.mlp()), rounds=1, epochs_per_round=1, fraction=0.5, **last)
    with pytest.raises(ValueError, match=r"empties \['classifier/kernel'\]"):
        search(kt.masked(nets.mlp()), rounds=1, epochs_per_round=1, fraction=0.5, empty_layers="refuse", **last)


def test_layer_scope_prunes_each_layer_alike():
    model = kt.masked(nets.small_convnet())
    imp = search(model, rounds=2, epochs_per_round=1, scope="layer", fraction=0.5)
    kept = {path: int(mask.sum()) for path, mask in imp.tickets[-1].mask.items()}
    assert kept == {"conv/kernel": 27, "classifier/kernel": 5}


CHOICES = [("magnitude", scope) for scope in SCOPES] + [(criterion, "global") for criterion in CRITERIA]


@pytest.fixture(scope="module")
def constant():
    """A network whose weights are all equal, traced once for all criteria, and its ticket."""
    model = kt.masked(nets.small_convnet())
    kt.set_params(model, {path: np.full_like(array, 0.1) for path, array in kt.get_params(model).items()})
    return nets.compile_for_test(model, OPTIMIZERS["kerasticket"]()), kt.Ticket.dense(model)


@pytest.mark.parametrize(("criterion", "scope"), CHOICES[1:])
def test_every_criterion_and_scope_is_exact_and_repeatable(criterion, scope, constant):
    masks_found, (model, dense) = [], constant
    for _ in range(2):
        dense.apply(model)
        data = dense if criterion == "magnitude_at_init" else nets.batch(model)
        options = {"criterion": criterion, "scope": scope, "data": data, "seed": 3, "empty_layers": "keep"}
        imp = search_with_compiled(model, rounds=2, epochs_per_round=1, **options)
        masks_found.append(imp.tickets[-1].mask)
        assert imp.tickets[-1].kept == 128 - 26 - 20
    assert not differing(*masks_found)


def test_a_criterion_may_be_a_function():
    def first_come(model, params, mask, data, rng):
        return {path: -np.arange(array.size).reshape(array.shape) for path, array in mask.items()}

    imp = search(kt.masked(nets.mlp()), rounds=1, epochs_per_round=1, criterion=first_come, scope="layer", fraction=0.5)
    assert imp.tickets[1].mask["hidden/kernel"].ravel()[:24].all()
    assert imp.tickets[1].stages[0]["criterion"] == "first_come"


def test_it_stops_at_a_sparsity():
    imp = search(kt.masked(nets.mlp()), rounds=10, epochs_per_round=1, until_sparsity=0.4)
    assert [round(ticket.sparsity, 2) for ticket in imp.tickets] == [0, 0.2, 0.36, 0.49]


def test_records_and_the_evaluation_hook():
    seen = []
    model = kt.masked(nets.mlp())

    def evaluate(trained):
        seen.append(kt.sparsity(trained))
        return {"accuracy": 0.5}

    imp = search(model, rounds=2, epochs_per_round=1, evaluate=evaluate)
    assert seen == [record.sparsity for record in imp.rounds_done] == [0, imp.tickets[1].sparsity]
    record = imp.rounds_done[1]
    assert (record.index, record.kept, record.total, record.evaluation) == (1, 70, 88, {"accuracy": 0.5})
    assert math.isfinite(record.loss)
    assert 0 <= record.accuracy <= 1


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="torch runs eagerly: there is no trace to count")
def test_one_trace_serves_all_rounds():
    counts = []
    for rounds in (1, 5):
        model, traced = kt.masked(nets.mlp()), []
        compute_loss = model.compute_loss
        model.compute_loss = lambda *a, f=compute_loss, t=traced, **k: t.append(1) or f(*a, **k)
        search(model, rounds=rounds, epochs_per_round=1)
        counts.append(len(traced))
    assert counts[0] == counts[1] <= 2  # the step, and on JAX the peek that builds metrics


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fraction": 0.0}, r"must lie in \(0, 1\).*0\.0"),
        ({"fraction": 1}, r"must lie in \(0, 1\)"),
        ({"rounds": 0}, "`rounds` must be a whole number of at least 1.*0"),
        ({"epochs_per_round": 1.5}, "`epochs_per_round`.*1.5"),
        ({"epochs_per_round": 5, "rewind_epoch": 5}, "from 0 to epochs_per_round - 1 = 4"),
        ({"rewind_epoch": -1}, "`rewind_epoch`"),
        ({"rewind_scope": "some"}, "rewind_scope.*all.*kernels"),
        ({"scope": "blocks"}, "global.*layer.*blocks"),
        ({"criterion": "magnitud"}, "magnitude.*random.*magnitud"),
        ({"until_sparsity": 1.0}, "until_sparsity"),
        ({"seed": -1}, "seed=-1"),
        ({"start": "syn8.keras"}, "must be a Ticket"),
    ],
)
def test_bad_arguments_are_refused_at_once(options, message):
    with pytest.raises(ValueError, match=message):
        kt.callbacks.IterativeMagnitudePruning(**options)


def test_a_fit_of_another_length_is_refused_before_training():
    model = nets.compile_for_test(kt.masked(nets.mlp()))
    imp = kt.callbacks.IterativeMagnitudePruning(rounds=2, epochs_per_round=3)
    before = kt.get_params(model)
    with pytest.raises(ValueError, match=r"imp\.total_epochs.*6.*epochs=5"):
        model.fit(*nets.batch(model), epochs=5, callbacks=[imp], verbose=0)
    assert not differing(before, kt.get_params(model))


def test_a_model_without_masks_is_refused_before_training():
    model = nets.compile_for_test(nets.mlp())
    imp = kt.callbacks.IterativeMagnitudePruning(rounds=1, epochs_per_round=1)
    with pytest.raises(ValueError, match="model with masked layers"):
        model.fit(*nets.batch(model), epochs=1, callbacks=[imp], verbose=0)


def test_a_start_ticket_behind_the_rewind_epoch_is_refused():
    model = kt.masked(nets.mlp())
    late = search(model, rounds=1, epochs_per_round=3, rewind_epoch=2).tickets[-1]
    with pytest.raises(ValueError, match="cannot be rewound to epoch 0"):
        kt.callbacks.IterativeMagnitudePruning(start=late)


def test_a_loss_that_is_not_finite_names_round_and_epoch():
    model = nets.compile_for_test(kt.masked(nets.mlp()))
    imp = kt.callbacks.IterativeMagnitudePruning(rounds=2, epochs_per_round=2)
    x, y = nets.batch(model)
    x[3] = np.nan
    with pytest.raises(FloatingPointError, match="after epoch [12] of round 0"):
        model.fit(x, y, epochs=imp.total_epochs, callbacks=[imp], verbose=0)


def test_a_lowered_learning_rate_is_put_back_at_each_round():
    model = kt.masked(nets.mlp())
    imp = kt.callbacks.IterativeMagnitudePruning(rounds=2, epochs_per_round=2)
    nets.compile_for_test(model, keras.optimizers.SGD(0.1))
    seen = []

    class Lower(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            seen.append(float(self.model.optimizer.learning_rate))

        def on_epoch_end(self, epoch, logs=None):
            self.model.optimizer.learning_rate = 0.05

    x, y = nets.batch(model)
    model.fit(x, y, epochs=imp.total_epochs, callbacks=[Lower(), imp], shuffle=False, verbose=0)
    assert seen == pytest.approx([0.1, 0.05, 0.1, 0.05])
    assert float(model.optimizer.learning_rate) == pytest.approx(0.1)


def test_fine_tuning_keeps_a_lowered_learning_rate():
    model = nets.compile_for_test(kt.masked(nets.mlp()), keras.optimizers.SGD(0.1))
    imp = kt.callbacks.IterativeMagnitudePruning(rounds=1, epochs_per_round=1, rewind_scope="nothing")

    class Lower(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.optimizer.learning_rate = 0.05

    x, y = nets.batch(model)
    model.fit(x, y, epochs=imp.total_epochs, callbacks=[Lower(), imp], shuffle=False, verbose=0)
    assert float(model.optimizer.learning_rate) == pytest.approx(0.05)


def test_a_sparsity_that_is_reached_exactly_ends_the_search():
    inputs = keras.Input((10,), name="features")
    model = kt.masked(keras.Model(inputs, keras.layers.Dense(10, name="layer")(inputs), name="hundred"))
    model.compile("sgd", "mse")
    imp = kt.callbacks.IterativeMagnitudePruning(rounds=5, fraction=0.2, epochs_per_round=1, until_sparsity=0.2)
    model.fit(np.ones((4, 10)), np.ones((4, 10)), epochs=imp.total_epochs, callbacks=[imp], verbose=0)
    assert [ticket.sparsity for ticket in imp.tickets] == [0, 0.2]


def test_slots_of_weights_whose_names_look_alike_are_kept_apart():
    block = keras.Sequential(
        [keras.Input((6,)), keras.layers.Dense(6, name="conv"), keras.layers.Dense(6, name="block_conv")], name="block"
    )
    inputs = keras.Input((6,), name="features")
    model = kt.masked(keras.Model(inputs, keras.layers.Dense(5, name="classifier")(block(inputs)), name="alike"))
    imp = search(model, rounds=1, fraction=0.5, epochs_per_round=3, rewind_epoch=1)
    imp.tickets[1].verify(model)
    x, y = nets.batch(model)
    model.fit(x, y, epochs=1, verbose=0)
    assert all(not raw_params(model)[path][~mask].any() for path, mask in imp.tickets[1].mask.items())


def test_rounds_draw_data_orders_of_their_own(monkeypatch):
    digits = kt.data.load("digits", images_per_class=2)
    model = kt.masked(kt.models.lenet_300_100((16, 16, 1), 10, seed=0))
    nets.compile_for_test(model, kt.optimizers.SGD(0.01))
    places, take = [], Counter.take

    def watched(counter):
        place = take(counter)
        places.append(tuple(place.tolist()))
        return place

    monkeypatch.setattr(Counter, "take", watched)
    batches = kt.data.pipeline(digits, batch_size=20, seed=1)
    imp = kt.callbacks.IterativeMagnitudePruning(rounds=3, epochs_per_round=2, pipeline=batches)
    model.fit(batches, epochs=imp.total_epochs, callbacks=[imp], shuffle=False, verbose=0)
    assert places[-6:] == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)]  # JAX peeks once before


def test_a_fit_that_ends_early_says_that_the_model_is_no_ticket():
    model = kt.masked(nets.mlp())
    imp = kt.callbacks.IterativeMagnitudePruning(rounds=2, epochs_per_round=3)
    nets.compile_for_test(model, keras.optimizers.SGD(0.1))

    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = epoch == 3

    x, y = nets.batch(model)
    with pytest.warns(UserWarning, match="after 1 of 2 rounds"):
        model.fit(x, y, epochs=imp.total_epochs, callbacks=[Stop(), imp], verbose=0)


def test_a_fit_that_begins_late_or_averages_weights_is_refused():
    model = kt.masked(nets.mlp())
    imp = kt.callbacks.IterativeMagnitudePruning(rounds=2, epochs_per_round=2)
    x, y = nets.batch(model)
    nets.compile_for_test(model, keras.optimizers.SGD(0.1))
    with pytest.raises(ValueError, match="initial_epoch=0"):
        model.fit(x, y, initial_epoch=1, epochs=imp.total_epochs, callbacks=[imp], verbose=0)
    nets.compile_for_test(model, keras.optimizers.Adam(use_ema=True))
    with pytest.raises(ValueError, match="use_ema"):
        model.fit(x, y, epochs=imp.total_epochs, callbacks=[imp], verbose=0)
