"""Recipes of augmentation: what they hold, draw and mix, alike in every namespace."""

import dataclasses
import json
from dataclasses import replace

import keras
import numpy as np
import pytest
from augmented import SHAPE, images_of, on_backend, uniform_from
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasticket.data import DIGITS, MATCHING, PAPER_CIFAR, PAPER_IMAGENET, RECIPES, Augmentation
from kerasticket.data.augmentation.presets import augment, augment_unit, cutmix, draw
from kerasticket.data.tensorflow_ops import tensorflow_namespace


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_a_recipe_survives_json(recipe):
    assert Augmentation(**json.loads(json.dumps(dataclasses.asdict(recipe)))) == recipe


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_a_recipe_is_the_same_on_the_backend_and_on_tensorflow(recipe):
    import tensorflow as tf

    for seed in range(4):
        parameters = draw(np, recipe, uniform_from(seed), SHAPE[0])
        ours = augment_unit(keras.ops, recipe, keras.ops.convert_to_tensor(images_of()), parameters)
        ours = keras.ops.convert_to_numpy(augment(keras.ops, recipe, ours, parameters))
        xp = tensorflow_namespace()
        held = {name: tf.constant(np.asarray(value)) for name, value in parameters.items()}
        theirs = augment(xp, recipe, augment_unit(xp, recipe, tf.constant(images_of()), held), held)
        np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-5)


def test_one_of_applies_exactly_one_move():
    recipe = Augmentation(one_of=("crop", "scale", "rotate"))
    chosen = set()
    for seed in range(12):
        parameters = draw(np, recipe, uniform_from(seed), SHAPE[0])
        name = recipe.one_of[int(parameters["one_of"])]
        chosen.add(name)
        result = keras.ops.convert_to_numpy(
            augment(keras.ops, recipe, keras.ops.convert_to_tensor(images_of()), parameters)
        )
        np.testing.assert_allclose(result, on_backend(name, images_of(), parameters[name]), atol=1e-5)
    assert chosen == set(recipe.one_of)


def test_siamese_recipes_draw_one_row_and_others_one_per_image():
    for recipe, rows in ((MATCHING, 1), (replace(MATCHING, siamese=False), 7)):
        parameters = draw(np, recipe, uniform_from(0), 7)
        assert {len(parameters[name]) for name in recipe.steps} == {rows}


def test_a_shared_draw_treats_real_and_synthetic_images_alike():
    parameters = draw(np, MATCHING, uniform_from(0), 1)

    def augmented(images):
        tensor = keras.ops.convert_to_tensor(images)
        return keras.ops.convert_to_numpy(augment(keras.ops, MATCHING, tensor, parameters))

    np.testing.assert_allclose(augmented(images_of())[4:], augmented(images_of()[4:]), atol=1e-6)


def test_the_order_is_flip_color_move_cutout():
    assert PAPER_CIFAR.steps == ("flip", "brightness", "saturation", "contrast", "crop", "scale", "rotate")
    assert MATCHING.steps == ("brightness", "saturation", "contrast", "crop", "cutout")
    assert PAPER_IMAGENET.unit_steps == ("random_resized_crop", "jitter", "lighting")
    assert (PAPER_IMAGENET.steps, DIGITS.unit_steps) == (("flip",), ())


@settings(max_examples=60, deadline=None)
@given(st.tuples(*[st.floats(0, 0.875, width=32)] * 3), st.integers(1, 13), st.integers(1, 13))
def test_cutmix_mixes_labels_by_the_area_it_pastes(numbers, height, width):
    import tensorflow as tf

    count = 4
    numbered = np.arange(count, dtype=np.float32)[:, None, None, None]
    images = tf.constant(np.broadcast_to(numbered, (count, height, width, 1)))
    labels = tf.eye(count)
    partners = np.array([1, 2, 3, 0])
    parameters = {"cutmix": tf.constant([0.0, *numbers], tf.float32), "partners": tf.constant(partners)}
    mixed, labels = cutmix(tensorflow_namespace(), PAPER_CIFAR, images, labels, parameters)
    pasted = (mixed.numpy() == partners[:, None, None, None]).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(labels.numpy()[np.arange(count), partners], pasted, atol=1e-6)
    np.testing.assert_allclose(labels.numpy().sum(axis=1), 1, atol=1e-6)
    assert pasted[0] <= 1 - numbers[0] + 1e-6


def test_cutmix_happens_with_its_probability_and_keeps_the_mass_of_labels():
    images, labels = keras.ops.convert_to_tensor(images_of()), keras.ops.one_hot(np.arange(6), 6)
    happened, share = 0, []
    for seed in range(200):
        parameters = draw(np, PAPER_CIFAR, uniform_from(seed), 6)
        mixed, soft = cutmix(keras.ops, PAPER_CIFAR, images, labels, parameters)
        soft = keras.ops.convert_to_numpy(soft)
        np.testing.assert_allclose(soft.sum(axis=1), 1, atol=1e-5)
        applied = float(parameters["cutmix"][0]) < 0.5
        happened += applied
        if applied:
            share.append(1 - np.diag(soft)[parameters["partners"] != np.arange(6)].mean())
        else:
            np.testing.assert_array_equal(keras.ops.convert_to_numpy(mixed), images_of())
    assert 70 < happened < 130
    assert 0.15 < np.nanmean(share) < 0.5  # 1 - lambda is uniform, less what the edges cut off


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"one_of": ("shear",)}, "one_of must name some of"),
        ({"one_of": ("crop", "crop")}, "each once"),
        ({"cutmix": 1.5}, "cutmix is a probability"),
        ({"jitter": 1.0}, "jitter must lie in"),
        ({"lighting": -0.1}, "lighting be at least 0"),
        ({"random_resized_crop": (0.9, 0.5)}, "random_resized_crop needs"),
    ],
)
def test_impossible_recipes_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Augmentation(**fields)
