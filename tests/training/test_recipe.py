"""Recipe, train and evaluate on real digits: pure functions of their seeds, metrics in files."""

import csv

import keras
import numpy as np
import pytest

import kerasticket as kt
from kerasticket.backend import fused
from kerasticket.params import differing
from kerasticket.training.recipe import FIELDS, Recipe, evaluate, train

RECIPE = Recipe(epochs=4, learning_rate=0.05, augmentation=kt.data.DIGITS, passes_per_epoch=2)


@pytest.fixture(scope="module")
def digits():
    return kt.data.load("digits", "train", images_per_class=10), kt.data.load("digits", "test")


def network() -> keras.Model:
    return kt.masked(kt.models.convnet((16, 16, 1), 10, width=8, depth=1, seed=1))


def test_the_same_seeds_give_the_same_weights_and_another_order_others(digits, tmp_path):
    model = network()
    start, ends = kt.Ticket.dense(model), {}
    for name, data_order in (("a", 1), ("b", 1), ("c", 2)):
        start.apply(model)
        history = train(model, digits[0], RECIPE, data_order=data_order, csv=tmp_path / f"{name}.csv")
        ends[name] = kt.get_params(model)
    assert not differing(ends["a"], ends["b"])
    assert differing(ends["a"], ends["c"])
    rows = list(csv.DictReader((tmp_path / "c.csv").read_text().splitlines()))
    assert list(rows[0]) == list(FIELDS)
    assert [row["passes"] for row in rows] == ["2", "4"]
    assert float(rows[-1]["loss"]) == history.final["loss"]


def test_the_compiled_schedule_follows_the_recipe(digits):
    model = network()
    recipe = Recipe(epochs=12, learning_rate=0.1, passes_per_epoch=4)
    recipe.compile(model, recipe.pipeline(digits[0], 0))  # 100 images: 2 steps a pass
    schedule = model.optimizer._learning_rate
    rates = [float(schedule(step)) for step in (15, 16, 17, 19, 20, 21)]
    np.testing.assert_allclose(sorted(rates, reverse=True), rates)
    np.testing.assert_allclose([rates[0], rates[2], rates[5]], [0.1, 0.02, 0.004], rtol=1e-6)


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="Keras runs one step at a time on torch")
def test_several_steps_in_one_execution_are_the_same_steps(digits):
    """Epochs of 24 steps, 20 and 4, with a smaller batch at the end of each pass: equal to the bit."""
    recipe, ends = Recipe(epochs=4, batch_size=9, augmentation=kt.data.DIGITS, passes_per_epoch=2), {}
    for steps in (1, fused.steps_per_execution()):
        model = network()
        pipeline = recipe.pipeline(digits[0], 0)
        recipe.compile(model, pipeline)
        model.steps_per_execution = steps
        history = train(model, pipeline, recipe)
        ends[steps] = kt.get_params(model), int(model.optimizer.iterations), history.rows
    (weights, steps, rows), (others, other_steps, other_rows) = ends.values()
    assert not differing(weights, others)
    assert (steps, rows) == (other_steps, other_rows) == (48, rows)


def test_several_devices_make_one_step_at_a_time_on_tensorflow():
    """Which fails at the end of the data otherwise: see end_to_end/test_data_parallel.py."""
    expected = fused.steps_per_execution() if keras.backend.backend() == "jax" else 1
    assert fused.steps_per_execution(2) == expected


def test_evaluate_equals_a_hand_count(digits):
    model, test = network(), digits[1]
    RECIPE.compile(model, RECIPE.pipeline(digits[0], 0))
    logits = model.predict((test.to_float() - np.float32(test.mean)) / np.float32(test.std), verbose=0)
    logits = np.float64(logits)
    log_sum = np.log(np.exp(logits - logits.max(1, keepdims=True)).sum(1)) + logits.max(1)
    loss = np.mean(log_sum - logits[np.arange(len(test)), test.labels])
    metrics = evaluate(model, test)
    assert metrics["accuracy"] == pytest.approx(np.mean(logits.argmax(1) == test.labels), abs=1e-6)
    assert metrics["loss"] == pytest.approx(loss, rel=1e-4)


def test_training_goes_on_from_a_rewound_ticket(digits):
    model = network()
    pipeline = RECIPE.pipeline(digits[0], data_order=3)
    imp = kt.callbacks.IterativeMagnitudePruning(rounds=1, epochs_per_round=2, rewind_epoch=1, pipeline=pipeline)
    RECIPE.compile(model, pipeline)
    dense = kt.Ticket.dense(model)
    model.fit(pipeline, epochs=imp.total_epochs, callbacks=[imp], shuffle=False, verbose=0)
    rewound = imp.tickets[0]
    rewound.apply(model)
    train(model, digits[0], RECIPE, data_order=3, first_epoch=1)
    continued = kt.get_params(model)
    dense.apply(model)
    train(model, digits[0], RECIPE, data_order=3)
    assert not differing(continued, kt.get_params(model))


def test_rounds_draw_orders_of_their_own_and_a_resumed_search_the_same(digits):
    ends, searches = [], []
    for rounds, start in ((3, None), (2, 1)):
        model = network()
        pipeline = RECIPE.pipeline(digits[0], data_order=3)
        RECIPE.compile(model, pipeline)
        imp = kt.callbacks.IterativeMagnitudePruning(
            rounds=rounds,
            epochs_per_round=2,
            start=searches[0].tickets[start] if start else None,
            on_round_end=lambda record, ticket, trained: ends.append((record.index, trained)),
            pipeline=pipeline,
        )
        model.fit(pipeline, epochs=imp.total_epochs, callbacks=[imp], shuffle=False, verbose=0)
        searches.append(imp)
    assert [index for index, _ in ends] == [0, 1, 2, 1, 2]
    assert not differing(ends[2][1], ends[4][1])
    assert not differing(searches[0].tickets[3].mask, searches[1].tickets[2].mask)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "at least 1 for `epochs`"),
        ({"batch_size": 2.5}, "`batch_size`"),
        ({"epochs": 10, "passes_per_epoch": 3}, "multiple of `passes_per_epoch`"),
        ({"learning_rate": -0.1}, "learning_rate > 0"),
        ({"momentum": 1.0}, "momentum in"),
        ({"l2": -1.0}, "l2 >= 0"),
        ({"milestones": (0.5, 1.5)}, "milestones in"),
        ({"augmentation": "dsa"}, "must be an Augmentation"),
    ],
)
def test_bad_recipes_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Recipe(**options)


def test_a_loss_that_is_not_finite_names_the_epoch(digits):
    with pytest.raises(FloatingPointError, match="after epoch 1 of 2|not finite"):
        train(network(), digits[0], Recipe(epochs=2, learning_rate=1e30))


def test_a_ticket_trains_as_in_its_round_of_the_search(digits):
    model, trained = network(), []
    pipeline = RECIPE.pipeline(digits[0], data_order=3)
    RECIPE.compile(model, pipeline)
    imp = kt.callbacks.IterativeMagnitudePruning(
        rounds=3,
        epochs_per_round=2,
        on_round_end=lambda record, ticket, params: trained.append(params),
        pipeline=pipeline,
    )
    model.fit(pipeline, epochs=imp.total_epochs, callbacks=[imp], shuffle=False, verbose=0)
    imp.tickets[2].apply(model)
    train(model, pipeline, RECIPE, round=2)
    assert not differing(kt.get_params(model), trained[2])
    imp.tickets[2].apply(model)
    train(model, pipeline, RECIPE, round=1)
    assert differing(kt.get_params(model), trained[2])


def test_the_pipeline_of_a_recipe_augments(digits):
    plain = Recipe(epochs=4, passes_per_epoch=2)
    first, second = (next(iter(recipe.pipeline(digits[0], 3)))[0].numpy() for recipe in (RECIPE, plain))
    assert first.shape == second.shape
    assert (first != second).any()


def test_bad_arguments_are_refused_before_training(digits, tmp_path):
    model = network()
    before = kt.get_params(model)
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="folder that can be written to"):
        train(model, digits[0], RECIPE, csv=tmp_path / "file" / "history.csv")
    with pytest.raises(ValueError, match=r"first_epoch in 0\.\.1"):
        train(model, digits[0], RECIPE, first_epoch=2)
    assert not differing(before, kt.get_params(model))


def test_epochs_of_a_training_that_stops_early_are_numbered_from_the_first():
    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = epoch == 1

    few = kt.data.load("digits", images_per_class=2)
    history = kt.training.train(
        kt.models.convnet(few.input_shape, 10, width=2, depth=1, seed=0), few, kt.training.Recipe(6), callbacks=[Stop()]
    )
    assert [row["epoch"] for row in history.rows] == [1, 2]
