"""Soft labels for any distilled set: what a network that was trained on real images says of its images."""

import dataclasses
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kerasticket.data import Augmentation, DistilledSet, ImageSet, pipeline
from kerasticket.data.multi_formation import decode_cells
from kerasticket.distillation.networks import fresh_network
from kerasticket.distillation.resuming import ResumedTraining, identity
from kerasticket.layers.restoring import lent
from kerasticket.tickets import optimizer_state
from kerasticket.training import classifier_outputs
from kerasticket.training.recipe import Recipe, train


def trained_teacher(
    images: ImageSet,
    *,
    model: str = "convnet",
    width: int = 128,
    epochs: int = 12,
    learning_rate: float = 0.01,
    augmentation: Augmentation | None = None,
    seed: int = 0,
    folder: str | Path | None = None,
) -> keras.Model:
    """A network trained on real images, whose outputs can be labels.

    Args:
        images: real training images.
        model, width: the network, a name in `kerasticket.models.MODELS`, or "module:function".
        epochs: passes over the images; SGD with momentum, `kerasticket.training.Recipe`.
        learning_rate, augmentation: of the training.
        seed: of its weights and its data order.
        folder: keeps the state of the training each minute; a later call with the same arguments goes on from
            there, to the same network bit for bit.

    Raises:
        ValueError: the folder is of another training.

    Example:

    >>> import kerasticket as kt
    >>> trained_teacher(kt.data.load("digits"), width=4, epochs=1).output_shape
    (None, 10)
    """
    network = fresh_network(model, width, images, seed)
    recipe = Recipe(epochs, learning_rate=learning_rate, augmentation=augmentation)
    recipe.compile(network, recipe.pipeline(images, seed))
    optimizer_state.build(network)
    about = identity(images, images, network, recipe) if folder else {}
    training = ResumedTraining(recipe, seed, about, folder or None)
    first = training.restore(network)
    if first < recipe.keras_epochs:
        train(network, images, recipe, data_order=seed, first_epoch=first, callbacks=[training])
    return network


def soft_labels(distilled: DistilledSet, teacher: keras.Model, temperature: float = 1.0, **about: Any) -> DistilledSet:
    """The set with softmax(logits / temperature) of a teacher as labels, one for each decoded image.

    Works on the set of any method. Training on it needs nothing else: pipelines, CutMix and pruning take soft
    labels as they take classes.

    Args:
        distilled: what `teacher` has the classes, shape and normalization of.
        teacher: gives logits or, by a softmax, probabilities (batch, classes), such as `trained_teacher`.
        temperature: above 1 softer, below 1 harder (Hinton et al. 2015, arXiv 1503.02531, section 2).
        about: what to write down of the teacher in `settings["labels"]`, beside name and temperature.

    Raises:
        ValueError: the temperature is not positive, the teacher is of another shape, ends in sigmoids, or gives values
            that are not finite.

    Example:

    >>> import kerasticket as kt
    >>> real = kt.data.load("digits")
    >>> teacher = trained_teacher(real, width=4, epochs=1)
    >>> soft_labels(kt.data.mix(real, 1, factor=2), teacher, temperature=2.0).labels.shape
    (10, 4, 10)
    """
    if not temperature > 0:
        raise ValueError(f"Expected temperature > 0. Received: {temperature}")
    shapes = ((None, *distilled.input_shape), (None, distilled.num_classes))
    if (teacher.input_shape, teacher.output_shape) != shapes:
        raise ValueError(
            f"Expected a teacher from {shapes[0]} to logits {shapes[1]}, as the set has images and classes. "
            f"Received: one from {teacher.input_shape} to {teacher.output_shape}."
        )
    if classifier_outputs.end_of(teacher) == classifier_outputs.SIGMOIDS:
        raise ValueError(
            f"Expected a teacher that ends in logits or in a softmax. Received: '{teacher.name}', of sigmoids."
        )
    labels = _probabilities(distilled, teacher, temperature)
    said = {"temperature": temperature, "teacher": teacher.name} | about
    return dataclasses.replace(distilled, labels=labels, settings=distilled.settings | {"labels": said})


def _probabilities(distilled: DistilledSet, teacher: keras.Model, temperature: float) -> np.ndarray:
    """float32, (n, classes), or (n, factor^2, classes) in multi-formation."""
    cells = decode_cells(np, distilled.images, distilled.factor).astype(np.float32, copy=False)
    any_class = np.zeros(len(cells), np.int64)
    decoded = dataclasses.replace(distilled, images=cells, labels=any_class, factor=1)
    with lent(teacher):
        logits = np.asarray(teacher.predict(pipeline(decoded, batch_size=256, shuffle=False), verbose=0), np.float64)
    if not np.isfinite(logits).all():
        raise ValueError(
            f"Expected finite outputs of the teacher. Received: {np.sum(~np.isfinite(logits))} that are not."
        )
    if classifier_outputs.end_of(teacher) == classifier_outputs.SOFTMAX:
        logits = np.log(np.maximum(logits, np.finfo(np.float32).tiny))  # whose softmax they are
    scaled = (logits - logits.max(axis=1, keepdims=True)) / temperature
    probability = np.exp(scaled)
    probability /= probability.sum(axis=1, keepdims=True)
    by_cell = probability.reshape(distilled.factor**2, len(distilled), distilled.num_classes)
    labels = by_cell.transpose(1, 0, 2) if distilled.factor > 1 else by_cell[0]
    return np.ascontiguousarray(labels, np.float32)
