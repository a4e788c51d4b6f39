"""Trained curves against a hand-written SGD on the closed form, and below the barrier of the straight line."""

import dataclasses

import keras
import nets
import numpy as np
import pytest
from keras import layers
from norm_nets import norm_net
from perturbed_nets import compiled, perturbed

import kerasticket as kt
from kerasticket.analysis import Objective, bezier_path, linear_path
from kerasticket.analysis.bezier import bezier_point
from kerasticket.analysis.statistics import reestimated
from kerasticket.params import Params, interpolate
from kerasticket.training.recipe import Recipe

QUICK = Recipe(epochs=2, batch_size=16)
KERNEL = "out/kernel"


def linear_regression():
    model = compiled(
        keras.Sequential([keras.Input((3,)), layers.Dense(1, use_bias=False, name="out")]), "mean_squared_error"
    )
    rng = np.random.default_rng(0)
    x, y = (rng.normal(size=(12, size)).astype("float32") for size in (3, 1))
    a, b = ({KERNEL: rng.normal(size=(3, 1)).astype("float32")} for _ in "ab")
    return model, a, b, x, y


def test_the_middle_takes_the_steps_of_sgd_on_the_mean_loss_of_the_curve():
    """Gradient of L(w_t) + l2 |w_t|^2 / 2 for the middle, by hand, in double precision."""
    model, a, b, x, y = linear_regression()
    recipe = Recipe(epochs=6, batch_size=12, learning_rate=0.1, momentum=0.8, l2=0.05, milestones=(0.5,), factor=0.3)
    path = bezier_path(model, a, b, (x, y), recipe=recipe, alphas=3, seed=7)
    middle, buffer = (a[KERNEL] + b[KERNEL]) / 2, np.zeros((3, 1))
    rng = np.random.default_rng([7, 1])
    losses = []
    for index in range(6):
        t = rng.uniform()
        w = (1 - t) ** 2 * a[KERNEL] + 2 * t * (1 - t) * middle + t**2 * b[KERNEL]
        losses.append(np.mean((x @ w - y) ** 2))
        slope = 2 * x.T @ (x @ w - y) / len(x)
        buffer = 0.8 * buffer + 2 * t * (1 - t) * (slope + 0.05 * w)
        middle = middle - (0.1 if index < 3 else 0.03) * buffer
    np.testing.assert_allclose(path.middle[KERNEL], middle, rtol=1e-5)
    np.testing.assert_allclose(path.losses, losses, rtol=1e-5)
    half = (a[KERNEL] + 2 * middle + b[KERNEL]) / 4
    assert path.curve.loss[1] == pytest.approx(np.mean((x @ half - y) ** 2), rel=1e-5)


def test_every_pass_shows_every_example_once():
    """With a rate of almost nothing the losses are those of the line, whatever the batches are."""
    model, a, _, x, _ = linear_regression()
    recipe = Recipe(epochs=2, batch_size=5, learning_rate=1e-12)
    targets = np.where(np.arange(12)[:, None] < 11, x @ a[KERNEL], 9).astype("float32")
    same = bezier_path(model, a, a, (x, targets), recipe=recipe, alphas=2)
    expected = np.mean((x @ a[KERNEL] - targets) ** 2)
    assert same.losses == pytest.approx([expected, expected], rel=1e-4)


def two_minima():
    """A net that has learnt random labels, and the same one with its hidden units in another order."""
    hidden = layers.Dense(16, activation="tanh", name="hidden")
    model = keras.Sequential([keras.Input((6,)), hidden, layers.Dense(5, name="classifier")])
    model.compile("sgd", keras.losses.CategoricalCrossentropy(from_logits=True))
    rng = np.random.default_rng(0)
    start = {p: (0.5 * rng.normal(size=a.shape)).astype("float32") for p, a in kt.get_params(model).items()}
    kt.set_params(model, start)
    x, y = nets.batch(model, 40)
    model.compile(keras.optimizers.Adam(0.05), model.loss)
    model.fit(np.tile(x, (80, 1)), np.tile(y, (80, 1)), batch_size=40, shuffle=False, verbose=0)  # 80 whole batches
    a = kt.get_params(model)
    order = rng.permutation(16)
    b = a | {"hidden/kernel": a["hidden/kernel"][:, order], "hidden/bias": a["hidden/bias"][order]}
    return model, a, b | {"classifier/kernel": a["classifier/kernel"][order]}, (x, y)


def test_the_curve_between_two_minima_has_a_lower_barrier_than_the_line():
    model, a, b, data = two_minima()
    objective, before = Objective(model, data), kt.get_params(model)
    line = linear_path(model, a, b, objective, alphas=11)
    recipe = Recipe(epochs=60, batch_size=20, learning_rate=0.1, l2=0.0)
    path = bezier_path(model, a, b, objective, recipe=recipe, alphas=11)
    assert line.barrier > 0.3
    assert path.curve.barrier < line.barrier / 3
    assert (path.curve.loss[0], path.curve.loss[-1]) == (objective(a).loss, objective(b).loss)
    assert path.curve.statistics == "none"
    assert all(np.array_equal(before[p], array) for p, array in kt.get_params(model).items())


def masked_mlp():
    model = compiled(kt.masked(nets.mlp()))
    kt.set_mask(model, nets.half_mask(model))
    a = kt.get_params(model)
    return model, a, perturbed(a, 3), nets.batch(model)


def test_pruned_weights_stay_exactly_zero_and_all_others_move():
    model, a, b, data = masked_mlp()
    path = bezier_path(model, a, b, data, recipe=QUICK, alphas=2)
    start = interpolate(a, b, 0.5)
    for kernel, mask in kt.get_mask(model).items():
        assert not path.middle[kernel][~mask].any()
        assert (path.middle[kernel][mask] != start[kernel][mask]).all()
    assert path.middle["hidden/bias"].any()
    assert path.curve.mask_overlap == 1


def test_ends_under_different_masks_are_joined_and_said():
    model, a, b, data = masked_mlp()
    b = b | {"hidden/kernel": np.where(np.arange(8) < 4, b["hidden/kernel"], 0).astype("float32")}
    with pytest.warns(UserWarning, match="different masks"):
        path = bezier_path(model, a, b, data, recipe=QUICK, alphas=2)
    assert path.curve.mask_overlap < 1
    assert (path.middle["hidden/kernel"][a["hidden/kernel"] != 0] != 0).all()


def test_the_same_seed_gives_the_same_curve():
    model, a, b, data = masked_mlp()
    first, again, other = (
        bezier_path(model, a, b, data, recipe=QUICK, alphas=2, seed=seed).middle["hidden/kernel"] for seed in (1, 1, 2)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_points_of_the_curve():
    a, middle, b = ({"w": np.array([value], "float32")} for value in (1, 5, 2))
    assert bezier_point(a, middle, b, 0)["w"] is a["w"]
    assert bezier_point(a, middle, b, 1)["w"] is b["w"]
    assert bezier_point(a, middle, b, 0.25)["w"] == pytest.approx(0.5625 * 1 + 0.375 * 5 + 0.0625 * 2)


def test_batch_norms_train_with_the_batch_and_are_walked_with_statistics_taken_anew():
    model = compiled(norm_net())
    a, data = kt.get_params(model), nets.batch(model)
    b = perturbed(a)
    path = bezier_path(model, a, b, data, recipe=QUICK, alphas=2)
    objective = Objective(model, data)

    def anew(params: Params) -> float:
        return objective(reestimated(objective, params)).loss

    expected = [anew(bezier_point(a, path.middle, b, t)) for t in path.curve.alphas]
    assert path.curve.loss.tolist() == expected
    assert path.curve.statistics == "reestimate"
    # In training the moving statistics play no part: wrong ones change nothing.
    wrong = {p: 9 * array if "moving" in p else array for p, array in a.items()}
    assert bezier_path(model, wrong, b, data, recipe=QUICK, alphas=2).losses == path.losses


def test_image_sets_may_be_augmented_and_passes_are_counted():
    digits = kt.data.load("digits", images_per_class=3)
    stack = [keras.Input(digits.input_shape), layers.Flatten(name="flatten"), layers.Dense(10, name="out")]
    model = compiled(keras.Sequential(stack))
    a = kt.get_params(model)
    b = perturbed(a)
    recipe = Recipe(epochs=4, batch_size=16, augmentation=kt.data.Augmentation(flip=True), passes_per_epoch=2)
    done: list[int] = []
    path = bezier_path(model, a, b, digits, recipe=recipe, alphas=2, progress=done.append)
    assert done == [1, 2, 3, 4]
    assert len(path.losses) == 4
    plain = bezier_path(
        model, a, b, Objective(model, digits), recipe=dataclasses.replace(recipe, augmentation=None), alphas=2
    )
    assert plain.curve.loss[0] == path.curve.loss[0]  # the curve is of the images as they are
    assert plain.losses != path.losses


def test_what_cannot_be_trained_is_refused():
    model, a, b, data = masked_mlp()
    broken = a | {"hidden/kernel": np.full_like(a["hidden/kernel"], np.nan)}
    for options, match in (
        ({"recipe": Recipe(epochs=1, augmentation=kt.data.DIGITS)}, "image set, for augmentation. Received: .*tuple"),
        ({"alphas": 1}, "alphas"),
        ({"a": broken}, "NaN or infinity in a"),
        ({"b": {"hidden/kernel": a["hidden/kernel"]}}, "the model has paths that b lacks"),
    ):
        with pytest.raises(ValueError, match=match):
            bezier_path(model, data=data, **{"a": a, "b": b, "recipe": QUICK} | options)
    random = compiled(nets.small_convnet())
    params = kt.get_params(random)
    with pytest.raises(ValueError, match="without random layers.*drop/"):
        bezier_path(random, params, perturbed(params), nets.batch(random), recipe=QUICK)


def test_dropout_alone_is_off():
    inputs = keras.Input((6,))
    x = layers.Dropout(0.5, seed=1, name="drop")(layers.Dense(8, name="hidden")(inputs))
    model = compiled(keras.Model(inputs, layers.Dense(5, name="classifier")(x)))
    a = kt.get_params(model)
    path = bezier_path(model, a, perturbed(a), nets.batch(model), recipe=QUICK, alphas=2)
    assert path.curve.statistics == "none"


def test_a_loss_that_is_not_finite_stops_the_training():
    model, a, b, x, y = linear_regression()
    recipe = Recipe(epochs=50, batch_size=4, learning_rate=1e6)
    with pytest.raises(FloatingPointError, match="loss on the curve is .* in pass"):
        bezier_path(model, a, b, (x, y), recipe=recipe)
