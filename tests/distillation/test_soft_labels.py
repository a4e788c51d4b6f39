"""Soft labels: each decoded image gets its own, whatever method made it, and everything trains on them."""

import dataclasses

import keras
import numpy as np
import pytest
from keras import layers

import kerasticket as kt
from kerasticket.distillation import soft_labels, trained_teacher
from kerasticket.files import checkpoint

pytestmark = pytest.mark.usefixtures("plain_operations")


@pytest.fixture(scope="module")
def digits():
    return kt.data.load("digits", "train", images_per_class=10)


@pytest.fixture(scope="module")
def brightness():
    """A teacher that a hand can follow: logit c is c times the mean of the normalized image."""
    inputs = keras.Input((16, 16, 1), name="image")
    mean = layers.Dense(10, use_bias=False, name="logits")(layers.GlobalAveragePooling2D(name="mean")(inputs))
    model = keras.Model(inputs, mean, name="brightness")
    model.set_weights([np.arange(10, dtype="float32")[None]])
    return model


@pytest.mark.parametrize("factor", [1, 2])
@pytest.mark.parametrize("temperature", [0.5, 4.0])
def test_every_decoded_image_has_the_label_of_its_own_pixels(factor, temperature, digits, brightness):
    made = soft_labels(kt.data.mix(digits, 2, factor), brightness, temperature)
    assert made.labels.shape == ((20, 10) if factor == 1 else (20, 4, 10))
    decoded, labels = made.decode()
    assert decoded.shape[0] == labels.shape[0] == 20 * factor**2
    for image, label in zip(decoded, labels, strict=True):
        powers = np.exp(np.arange(10) * (image.mean() - digits.mean[0]) / digits.std[0] / temperature)
        np.testing.assert_allclose(label, powers / powers.sum(), rtol=1e-4, atol=1e-7)


def test_batches_hold_them_beside_their_images(digits, brightness):
    made = soft_labels(kt.data.mix(digits, 1, 2), brightness)
    images, labels = next(iter(kt.data.pipeline(made, batch_size=40, seed=3)))
    powers = np.exp(np.arange(10) * images.numpy().mean(axis=(1, 2, 3))[:, None])
    np.testing.assert_allclose(labels.numpy(), powers / powers.sum(axis=1, keepdims=True), rtol=1e-3, atol=1e-6)


def test_they_are_kept_in_files_and_said_in_settings(digits, brightness, tmp_path):
    made = soft_labels(kt.data.mix(digits, 1, 2), brightness, 2.0, accuracy=0.9)
    made.save(tmp_path / "soft.h5")
    read = kt.data.DistilledSet.load(tmp_path / "soft.h5")
    np.testing.assert_array_equal(read.labels, made.labels)
    assert read.is_soft
    assert read.settings["labels"] == {"temperature": 2.0, "teacher": "brightness", "accuracy": 0.9}
    assert read.settings["resize"] == "nearest"


@pytest.mark.same_on_every_backend
def test_hard_labels_are_the_most_probable_over_all_cells(digits):
    stored = kt.data.mix(digits, 1, 2)
    labels = np.zeros((10, 4, 10), np.float32)
    labels[:, 0, 3] = 1.0  # one cell is sure of 3, three lean to 7: together .6 * 3 / 4 against .25 + .4 * 3 / 4
    labels[:, 1:, 7], labels[:, 1:, 3] = 0.6, 0.4
    assert set(dataclasses.replace(stored, labels=labels).hard_labels.tolist()) == {3}
    with pytest.raises(ValueError, match=r"shape \(10, 10\) or \(10, 4, 10\)"):
        dataclasses.replace(stored, labels=labels[:, :3])


@pytest.mark.same_on_every_backend
def test_training_evaluating_and_pruning_take_soft_sets(digits):
    teacher = trained_teacher(digits, width=8, epochs=3)
    made = soft_labels(kt.data.mix(digits, 1, 2), teacher, 2.0)
    recipe = kt.training.Recipe(4, augmentation=kt.data.PAPER_CIFAR, passes_per_epoch=2)

    def build(seed):
        return kt.models.convnet((16, 16, 1), 10, width=4, seed=seed)

    assert 0 <= kt.distillation.evaluate(made, digits, build=build, recipe=recipe, seeds=(0,)).mean <= 1
    model = kt.masked(build(0))
    batches = recipe.pipeline(made, 0)
    imp = kt.callbacks.IterativeMagnitudePruning(
        rounds=2, fraction=0.2, epochs_per_round=recipe.keras_epochs, pipeline=batches
    )
    recipe.compile(model, batches)
    model.fit(batches, epochs=imp.total_epochs, callbacks=[imp], shuffle=False, verbose=0)
    assert imp.tickets[2].sparsity == pytest.approx(0.36, abs=0.01)


def test_a_teacher_is_a_pure_function_of_its_seed(digits):
    one, two, other = (
        trained_teacher(digits, model="lenet_300_100", epochs=1, seed=seed).get_weights() for seed in (1, 1, 2)
    )
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)
    assert (one[0] != other[0]).any()


@pytest.mark.same_on_every_backend
def test_a_killed_teacher_goes_on_to_the_same_network(digits, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    expected = trained_teacher(digits, model="lenet_300_100", epochs=3).get_weights()
    save = checkpoint.Checkpoint.save

    def kill(self, arrays, state):
        save(self, arrays, state)
        if state["epoch"] == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint.Checkpoint, "save", kill)
    with pytest.raises(KeyboardInterrupt):
        trained_teacher(digits, model="lenet_300_100", epochs=3, folder=tmp_path)
    again = trained_teacher(digits, model="lenet_300_100", epochs=3, folder=tmp_path).get_weights()
    for one, other in zip(again, expected, strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(ValueError, match="another training: recipe was"):
        trained_teacher(digits, model="lenet_300_100", epochs=4, folder=tmp_path)


@pytest.mark.same_on_every_backend
def test_teachers_that_do_not_fit_are_refused(digits, brightness):
    stored = kt.data.mix(digits, 1, 2)
    with pytest.raises(ValueError, match="temperature > 0"):
        soft_labels(stored, brightness, 0.0)
    with pytest.raises(ValueError, match=r"Received: one from \(None, 8, 8, 1\) to \(None, 10\)"):
        soft_labels(stored, kt.models.convnet((8, 8, 1), 10, width=4))
    with pytest.raises(ValueError, match=r"to \(None, 5\)"):
        soft_labels(stored, kt.models.convnet((16, 16, 1), 5, width=4))
    broken = kt.models.convnet((16, 16, 1), 10, width=4)
    broken.set_weights([weight * np.nan for weight in broken.get_weights()])
    with pytest.raises(ValueError, match="400 that are not"):
        soft_labels(stored, broken)


def test_probabilities_of_a_teacher_are_taken_as_such():
    """A teacher that ends in a softmax gives the labels of the same one without it, at every temperature."""
    data = kt.data.mix(kt.data.load("digits", images_per_class=2), 1, 1)
    labels, weights = [], None
    for activation in (None, "softmax"):
        last = layers.Dense(10, activation=activation, name="out")
        teacher = keras.Sequential([keras.Input(data.input_shape), layers.Flatten(name="flat"), last])
        weights = weights or teacher.get_weights()
        teacher.set_weights(weights)
        labels.append(kt.distillation.soft_labels(data, teacher, 2.0).labels)
    np.testing.assert_allclose(labels[1], labels[0], rtol=1e-4)
    last.activation = keras.activations.sigmoid
    sigmoids = keras.Sequential([keras.Input(data.input_shape), layers.Flatten(name="flat"), last])
    with pytest.raises(ValueError, match="logits or in a softmax. Received: .*of sigmoids"):
        kt.distillation.soft_labels(data, sigmoids)
