"""Recipe, train, evaluate: the paper's training on real or distilled data, through plain Keras `fit`."""

import csv
import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path

import keras

from kerasticket.data import Augmentation, pipeline, seek
from kerasticket.data.pipeline import Data
from kerasticket.optimizers import SGD, paper_schedule
from kerasticket.runs import atomic

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
        """Compiles the model for this recipe; the schedule counts the steps of `dataset`, made by `pipeline`."""
        steps = int(dataset.cardinality()) // self.passes_per_epoch
        schedule = paper_schedule(
            self.learning_rate, self.epochs, steps, milestones=self.milestones, factor=self.factor
        )
        model.compile(
            optimizer=SGD(schedule, momentum=self.momentum, l2=self.l2),
            loss=keras.losses.CategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
        )


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
    first_epoch: int = 0,
    csv: str | Path | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> History:
    """Trains the model as it stands for the whole recipe; the last weights count, not the best.

    A model that is not compiled is compiled for the recipe; one that is keeps its optimizer and its trace, so
    many tickets of one network train without tracing again (apply a ticket before each training).

    Args:
        model: gives logits of shape (batch, classes).
        data: an `ImageSet` or `DistilledSet`, or what `recipe.pipeline` has made of one: making it takes about
            a second, so many short trainings should share it.
        data_order: seed of order, augmentation and CutMix; that of the pipeline if `data` is one. The initial
            weights have their own.
        first_epoch: Keras epoch to start at, for a ticket that was rewound to `ticket.rewind_epoch`.
        csv: file for the metrics of each epoch.

    Raises:
        FloatingPointError: the loss is not finite; the epoch is named.
    """
    dataset = recipe.pipeline(data, data_order) if isinstance(data, Data) else data
    if not getattr(model, "compiled", False):
        recipe.compile(model, dataset)
    log = _Log(recipe.passes_per_epoch)
    model.fit(
        dataset,
        initial_epoch=first_epoch,
        epochs=recipe.keras_epochs,
        verbose=0,
        shuffle=False,
        callbacks=[log, *callbacks],
    )
    history = History(tuple(log.rows))
    if csv is not None:
        history.save(csv)
    return history


def evaluate(model: keras.Model, data, *, batch_size: int = 256) -> dict[str, float]:
    """Mean loss and accuracy over a data set, without augmentation, in inference mode.

    Args:
        model: compiled by a recipe.
        data: an `ImageSet` or `DistilledSet`, or a pipeline of one (`shuffle=False`, no augmentation).

    Returns:
        {"loss": mean cross-entropy without penalties, "accuracy": share in [0, 1]}.
    """
    dataset = pipeline(data, batch_size=batch_size, shuffle=False) if isinstance(data, Data) else data
    metrics = model.evaluate(dataset, verbose=0, return_dict=True)
    return {"loss": float(metrics["loss"]), "accuracy": float(metrics["accuracy"])}


class _Log(keras.callbacks.Callback):
    """Positions the pipelines, keeps the metrics, stops at a loss that is not finite."""

    def __init__(self, passes: int):
        super().__init__()
        self.passes = passes
        self.rows: list[dict[str, float]] = []

    def on_epoch_begin(self, epoch, logs=None):
        seek(round=0, epoch=epoch)

    def on_epoch_end(self, epoch, logs=None):
        row = {"epoch": epoch + 1, "passes": (epoch + 1) * self.passes}
        self.rows.append(row | {name: float((logs or {}).get(name, math.nan)) for name in ("loss", "accuracy")})
        if not math.isfinite(self.rows[-1]["loss"]):
            raise FloatingPointError(
                f"The loss is {self.rows[-1]['loss']} after epoch {epoch + 1} of {self.params['epochs']}. "
                "Lower the learning rate, or look for broken images."
            )
