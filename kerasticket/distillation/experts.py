"""Experts: the weights of networks after every epoch of plain training, in memory or one file per network."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kerasticket.data import ZCA, Augmentation, DistilledSet, ImageSet
from kerasticket.data.digest import digest
from kerasticket.distillation.networks import fresh_helper, renew
from kerasticket.files.atomic import check_writable
from kerasticket.files.checkpoint import Checkpoint
from kerasticket.params import Params
from kerasticket.tickets import masking
from kerasticket.training.recipe import Recipe, train

Expert = Sequence[Params]  # [0]: fresh weights, [k]: those after k epochs


def record_experts(
    images: ImageSet,
    folder: str | Path | None = None,
    *,
    count: int,
    epochs: int,
    zca: ZCA | None = None,
    learning_rate: float = 0.01,
    batch_size: int = 256,
    model: str = "convnet",
    width: int = 128,
    augmentation: Augmentation | None = None,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> list[Expert]:
    """Trains `count` networks from different fresh weights and keeps their weights at the start and after every epoch.

    The experts of MTT (Cazenavette et al. 2022, section 3.1): SGD at a constant rate, without momentum or L2. An
    expert is a pure function of the other arguments and its number, so that more of them may be asked for later.

    Args:
        images: real training images.
        folder: keeps each expert in a file; whole ones are not made again, so that a killed recording goes on.
            None: all in memory, (epochs + 1) times a network's weights for each.
        count: how many networks.
        epochs: passes over the images.
        zca: whitens the images before.
        learning_rate, batch_size, augmentation: of the training.
        model, width: the network, a name in `kerasticket.models.MODELS`, or "module:function"; `width` is a ConvNet's.
        seed: of weights, order and augmentation.
        progress: called with the number of experts that there are.

    Returns:
        The experts; `experts[n][k]` are the weights of network n after k epochs, read when asked for.

    Raises:
        ValueError: a number is below 1, the folder holds experts of other settings (the fields are named) or a
            damaged file, or cannot be written to.
        FloatingPointError: a training's loss is not finite.

    Example:

    >>> import kerasticket as kt
    >>> experts = record_experts(kt.data.load("digits", images_per_class=8), count=1, epochs=2, width=4)
    >>> len(experts[0]), experts[0][2]["logits/kernel"].shape
    (3, (16, 10))
    """
    if count < 1:
        raise ValueError(f"Expected at least 1 expert. Received: count={count}")
    # No drop of the rate: MTT's authors leave theirs switched off.
    recipe = Recipe(epochs, batch_size, learning_rate, 0.0, 0.0, milestones=(), augmentation=augmentation)
    about = _about(images, zca, recipe, model, width, seed)
    if folder is not None:
        check_writable(folder)
    trainer = _Trainer(zca.whiten(images) if zca else images, recipe, model, width, seed)
    experts: list[Expert] = []
    for number in range(count):
        if folder is None:
            experts.append(trainer.train(number))
        else:
            path = Path(folder) / f"expert_{number:03}.npz"
            checkpoint = Checkpoint(path, about | {"number": number}, what="expert")
            if not path.exists():
                checkpoint.save(_by_epoch(trainer.train(number)))
            experts.append(StoredExpert(checkpoint))
        if progress:
            progress(number + 1)
    return experts


class StoredExpert(Sequence[Params]):
    """The weights in one expert's file, read epoch by epoch.

    Raises:
        ValueError: the file is damaged, or of another recording than the checkpoint's identity says.
    """

    def __init__(self, checkpoint: Checkpoint):
        self.checkpoint = checkpoint
        self[0]

    def __len__(self) -> int:
        return self.checkpoint.identity["epochs"] + 1

    def __getitem__(self, epoch):
        if isinstance(epoch, slice):
            return [self[each] for each in range(len(self))[epoch]]
        prefix = f"{range(len(self))[epoch]}|"
        saved = self.checkpoint.load(prefix)
        if saved is None or not saved.arrays:
            raise self.checkpoint.damaged(f"it has no weights after epoch {epoch}")
        return {name.removeprefix(prefix): array for name, array in saved.arrays.items()}


class _Trainer:
    """Trains expert after expert in one compiled network, which is built when the first is asked for."""

    def __init__(self, images: ImageSet | DistilledSet, recipe: Recipe, model: str, width: int, seed: int):
        self.images, self.recipe, self.seed = images, recipe, seed
        self.fresh = functools.partial(fresh_helper, model, width, images)

    @functools.cached_property
    def compiled(self) -> tuple[keras.Model, Any]:
        network, batches = self.fresh(seed=0), self.recipe.pipeline(self.images, self.seed)
        self.recipe.compile(network, batches)
        return network, batches

    def train(self, number: int) -> list[Params]:
        """Weights before training and after each epoch. The order of the data is that of round `number`."""
        network, batches = self.compiled
        weights_seed = int(np.random.default_rng([self.seed, number]).integers(2**31))
        renew(network, self.fresh(seed=weights_seed))
        recorder = _Recorder()
        train(network, batches, self.recipe, round=number, callbacks=[recorder])
        return recorder.weights


class _Recorder(keras.callbacks.Callback):
    """Copies the weights at the start and after every epoch."""

    def on_train_begin(self, logs=None):
        self.weights = [masking.get_params(self.model)]

    def on_epoch_end(self, epoch, logs=None):
        self.weights.append(masking.get_params(self.model))


def _about(images: ImageSet, zca: ZCA | None, recipe: Recipe, model: str, width: int, seed: int) -> dict[str, Any]:
    """All that decides the weights of all experts but what computes."""
    about: dict[str, Any] = {"model": model, "width": width, "seed": seed, "source": images.source}
    about |= {"mean": images.mean, "std": images.std}
    about |= {"data_sha256": digest(images), "zca": zca.described if zca else None}  # its bits depend on the machine
    return about | dataclasses.asdict(recipe)


def _by_epoch(weights: list[Params]) -> Params:
    """The weights after each epoch as arrays of one file."""
    return {f"{epoch}|{name}": array for epoch, params in enumerate(weights) for name, array in params.items()}
