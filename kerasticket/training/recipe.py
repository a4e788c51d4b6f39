"""Recipe, train, evaluate: the paper's training on real or distilled data, through plain Keras `fit`."""

import csv
import dataclasses
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras

from kerasticket.backend import distribution, fused
from kerasticket.data import Augmentation, pipeline
from kerasticket.data.pipeline import Data
from kerasticket.data.positions import move
from kerasticket.data.shares import check_shares
from kerasticket.files.atomic import atomic, check_writable
from kerasticket.layers.restoring import lent
from kerasticket.training import classifier_outputs
from kerasticket.training.optimizers import SGD, paper_schedule

FIELDS = ("epoch", "passes", "loss", "accuracy")


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How to train: SGD with momentum and coupled L2, a step schedule, DSA augmentation and CutMix.

    The defaults are those of the paper (McDermott & Parhi, arXiv 2503.17905) as its authors' code has them.

    Attributes:
        epochs: passes over the data. 300 on real data, 1,000 on distilled data in the paper.
        batch_size: the last, smaller batch of a pass is used too.
        learning_rate, momentum, l2: of `kerasticket.optimizers.SGD`.
        milestones, factor: the rate is multiplied by `factor` after each of these fractions of `epochs`.
        augmentation: None for none.
        passes_per_epoch: passes over the data that make one Keras epoch. Distilled sets are a few batches
            large; Keras' work between epochs would otherwise take longer than the training.

    >>> Recipe(epochs=1000, passes_per_epoch=20).keras_epochs
    50
    """

    epochs: int = 300
    batch_size: int = 64
    learning_rate: float = 0.01
    momentum: float = 0.9
    l2: float = 5e-4
    milestones: tuple[float, ...] = (2 / 3, 5 / 6)
    factor: float = 0.2
    augmentation: Augmentation | None = None
    passes_per_epoch: int = 1

    def __post_init__(self):
        for name in ("epochs", "batch_size", "passes_per_epoch"):
            value = getattr(self, name)
            if not (isinstance(value, int) and value >= 1):
                raise ValueError(f"Recipe needs a whole number of at least 1 for `{name}`. Received: {name}={value!r}")
        if self.epochs % self.passes_per_epoch:
            raise ValueError(
                f"`epochs` must be a multiple of `passes_per_epoch`. "
                f"Received: epochs={self.epochs}, passes_per_epoch={self.passes_per_epoch}"
            )
        if not isinstance(self.augmentation, Augmentation | None):
            raise ValueError(f"`augmentation` must be an Augmentation or None. Received: {self.augmentation!r}")
        self._optimizer(steps_per_pass=1)  # refuses rates, momentum and milestones out of range

    @property
    def keras_epochs(self) -> int:
        """What to pass to `fit(epochs=...)` and to `IterativeMagnitudePruning(epochs_per_round=...)`."""
        return self.epochs // self.passes_per_epoch

    def pipeline(self, data, data_order: int):
        """The tf.data pipeline of one Keras epoch; `data_order` is the seed of all SGD noise."""
        return pipeline(
            data,
            batch_size=self.batch_size,
            seed=data_order,
            augmentation=self.augmentation,
            passes=self.passes_per_epoch,
        )

    def compile(self, model: keras.Model, dataset) -> None:
        """Compiles the model for this recipe; the schedule counts the steps of `dataset`, made by `pipeline`.

        The loss is the cross-entropy of logits or, of a network that ends in a softmax, of its probabilities.

        Callbacks that act within epochs are called after every 20 steps (on torch after each); where that is too
        seldom, set `model.steps_per_execution = 1` before the first fit.

        Raises:
            ValueError: the network has not an output for each class, or ends in sigmoids.
        """
        batches = int(dataset.cardinality()) if hasattr(dataset, "cardinality") else -1
        if batches < 1:
            raise ValueError(
                "Expected a dataset of known length, whose steps the schedule counts, such as recipe.pipeline(data). "
                f"Received: {type(dataset).__name__} of unknown length. Say it by "
                "dataset.apply(tf.data.experimental.assert_cardinality(batches))."
            )
        steps = batches // self.passes_per_epoch
        model.compile(
            optimizer=self._optimizer(steps),
            loss=classifier_outputs.cross_entropy(model, _shape_of_one(dataset), _shape_of_one(dataset, labels=True)),
            metrics=["accuracy"],
            steps_per_execution=fused.steps_per_execution(distribution.devices_of(model)),
        )

    def _optimizer(self, steps_per_pass: int) -> SGD:
        schedule = paper_schedule(
            self.learning_rate, self.epochs, steps_per_pass, milestones=self.milestones, factor=self.factor
        )
        return SGD(schedule, momentum=self.momentum, l2=self.l2)


@dataclasses.dataclass(frozen=True)
class History:
    """Metrics per Keras epoch; `rows` have the columns of `FIELDS`."""

    rows: tuple[dict[str, float], ...]

    @property
    def final(self) -> dict[str, float]:
        return self.rows[-1]

    def save(self, path: str | Path) -> None:
        """Writes CSV."""
        with atomic(path) as temporary, open(temporary, "w", newline="") as file:
            writer = csv.DictWriter(file, FIELDS)
            writer.writeheader()
            writer.writerows(self.rows)


def train(
    model: keras.Model,
    data,
    recipe: Recipe,
    *,
    data_order: int = 0,
    round: int = 0,
    first_epoch: int = 0,
    csv: str | Path | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> History:
    """Trains the model as it stands for the whole recipe; the last weights count, not the best.

    A model that is not compiled is compiled for the recipe; one that is keeps its optimizer and its trace, so
    many tickets of one network train without tracing again (apply a ticket before each training).

    Args:
        model: gives logits or probabilities (a softmax) of shape (batch, classes).
        data: an `ImageSet` or `DistilledSet`, or what `recipe.pipeline` has made of one: making it takes a
            fraction of a second, so many short trainings, one after the other, should share it. Its position is set.
        data_order: seed of order, augmentation and CutMix; that of the pipeline if `data` is one. The initial
            weights have their own.
        round: of iterative pruning; each round has its own orders, drawn from (data order, round, epoch).
        first_epoch: Keras epoch to start at, for a ticket that was rewound to `ticket.rewind_epoch`.
        csv: file for the metrics of each epoch.

    Raises:
        ValueError: no epoch is left to train, the CSV's folder cannot be written to, the network has not an output
            for each class, or it is compiled with a cross-entropy for logits and ends in probabilities, or the reverse;
            what several devices cannot share, see `kerasticket.masked`.
        FloatingPointError: the loss is not finite; round and epoch are named.
    """
    if not 0 <= first_epoch < recipe.keras_epochs:
        raise ValueError(f"Expected first_epoch in 0..{recipe.keras_epochs - 1}. Received: {first_epoch}.")
    if csv is not None:
        check_writable(Path(csv).parent)
    dataset = recipe.pipeline(data, data_order) if isinstance(data, Data) else data
    if not getattr(model, "compiled", False):
        with distribution.scope_of(model):
            recipe.compile(model, dataset)
    check_shares(dataset, model)
    distribution.check_training(model)
    classifier_outputs.check_loss(model, _shape_of_one(dataset))
    log = EpochLog(recipe)
    model.fit(
        dataset,
        initial_epoch=first_epoch,
        epochs=recipe.keras_epochs,
        verbose=0,
        shuffle=False,
        callbacks=[_Guide(dataset, round), log, *callbacks],
    )
    history = log.take(first_epoch)
    if csv is not None:
        history.save(csv)
    return history


def evaluate(model: keras.Model, data, *, batch_size: int = 256) -> dict[str, float]:
    """Mean loss and accuracy over a data set, without augmentation, in inference mode.

    Args:
        model: compiled by a recipe.
        data: an `ImageSet` or `DistilledSet`, or a pipeline of one (`shuffle=False`, no augmentation).

    Returns:
        {"loss": mean cross-entropy plus the penalties of the model's own layers (ours have none), "accuracy":
        share in [0, 1]}.

    Raises:
        ValueError: the model is not compiled, has no accuracy among its metrics, or has a cross-entropy for logits and
            ends in probabilities, or the reverse; batches that several devices cannot share.
    """
    dataset = pipeline(data, batch_size=batch_size, shuffle=False) if isinstance(data, Data) else data
    if not getattr(model, "compiled", False):
        raise ValueError(f"Expected a compiled model. Received: '{model.name}'. Call recipe.compile(model, pipeline).")
    classifier_outputs.check_loss(model, _shape_of_one(dataset))
    check_shares(dataset, model, training=False)
    with lent(model):
        metrics = model.evaluate(dataset, verbose=0, return_dict=True)
    if "accuracy" not in metrics:
        raise ValueError(
            f"Expected a model compiled with metrics=['accuracy']. Received: '{model.name}' with {sorted(metrics)}."
        )
    return {"loss": float(metrics["loss"]), "accuracy": float(metrics["accuracy"])}


def compiled_loss(model: keras.Model) -> Callable:
    """The one loss that a model is compiled with, which analysis and criteria differentiate.

    Loss weights, weights of examples and penalties are no part of it.

    Raises:
        ValueError: the model is not built, not compiled with a loss, or has several losses or outputs.
    """
    if not isinstance(model, keras.Model) or not model.built:
        raise ValueError(f"Expected a built keras.Model. Received: {getattr(model, 'name', model)!r}, not built.")
    loss = getattr(model, "loss", None) if getattr(model, "compiled", False) else None
    if isinstance(loss, (list, tuple)) and len(loss) == 1:
        (loss,) = loss
    several = isinstance(loss, (dict, list, tuple)) or len(getattr(model, "outputs", [None])) != 1
    if not loss or several:
        raise ValueError(
            f"Expected a model compiled with one loss for one output. Received: '{model.name}', "
            f"{'with several' if loss else 'not compiled with a loss'}. Call model.compile(optimizer, loss) first."
        )
    return keras.losses.get(loss)


def _shape_of_one(dataset, *, labels: bool = False) -> tuple[int | None, ...] | None:
    """The shape of one input, or of its labels, of a pipeline that says it."""
    spec = getattr(dataset, "element_spec", None)
    part: Any = spec[int(labels)] if isinstance(spec, tuple) and len(spec) > 1 else None
    return tuple(part.shape[1:]) if getattr(getattr(part, "shape", None), "rank", None) else None


class _Guide(keras.callbacks.Callback):
    """Moves the pipeline of a training to each epoch of one round, and stops at a loss that is not finite."""

    def __init__(self, dataset, round: int):
        super().__init__()
        self.dataset, self.round = dataset, round

    def on_epoch_begin(self, epoch, logs=None):
        move(self.dataset, self.round, epoch)

    def on_epoch_end(self, epoch, logs=None):
        loss = float((logs or {}).get("loss", 0.0))  # an own train_step may report it by another name
        if not math.isfinite(loss):
            raise FloatingPointError(
                f"The loss is {loss} after epoch {epoch + 1} of {self.params['epochs']} of round {self.round}. "
                "Lower the learning rate, or look for broken images."
            )


class EpochLog(keras.callbacks.Callback):
    """Keeps the metrics of each epoch of one training, or of one round after the other."""

    def __init__(self, recipe: Recipe):
        super().__init__()
        self.recipe = recipe
        self.metrics: list[dict[str, float]] = []

    def on_epoch_end(self, epoch, logs=None):
        self.metrics.append({name: float((logs or {}).get(name, math.nan)) for name in ("loss", "accuracy")})

    def take(self, first_epoch: int | None = None) -> History:
        """The history of the training that ends now; the next one starts empty.

        Args:
            first_epoch: the epoch that it began at, from 0; None: the one from which it reaches the recipe's last.
        """
        before = self.recipe.keras_epochs - len(self.metrics) if first_epoch is None else first_epoch
        epochs = range(before + 1, before + len(self.metrics) + 1)
        rows = [
            {"epoch": epoch, "passes": epoch * self.recipe.passes_per_epoch} | metrics
            for epoch, metrics in zip(epochs, self.metrics, strict=True)
        ]
        self.metrics = []
        return History(tuple(rows))
