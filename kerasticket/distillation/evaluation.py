"""How good a distilled set is: the test accuracy of fresh networks that were trained on it, beside its controls."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import overload

import keras
import numpy as np

from kerasticket import models
from kerasticket.checks import check_choice
from kerasticket.data import PAPER_CIFAR, DistilledSet, ImageSet, pipeline
from kerasticket.data.classes import in_the_order_of
from kerasticket.distillation.controls import controls, full_accuracy, label_robust_score
from kerasticket.distillation.networks import renew
from kerasticket.distillation.resuming import ResumedTraining, identity
from kerasticket.layers.convolution import speed_up
from kerasticket.training.recipe import Recipe, train
from kerasticket.training.recipe import evaluate as metrics_of

# Builders of (input_shape, num_classes, seed=...). A ConvNet has a width; others are as published.
ARCHITECTURES: dict[str, Callable[..., keras.Model]] = {
    f"convnet{depth}": functools.partial(models.convnet, depth=depth) for depth in (3, 4, 5)
} | {name: builder for name, builder in models.MODELS.items() if name != "convnet"}
IMAGES_PER_EPOCH = 5000  # half a minute of a ConvNet-3 of width 128 on two cores, minutes of a ResNet-18


@dataclasses.dataclass(frozen=True)
class Accuracy:
    """Test accuracies of several networks, in [0, 1], and the minutes that all of them took.

    `std` is the sample standard deviation (n - 1).
    """

    accuracies: tuple[float, ...]
    minutes: float = 0.0

    @property
    def mean(self) -> float:
        return float(np.mean(self.accuracies))

    @property
    def std(self) -> float:
        return float(np.std(self.accuracies, ddof=1)) if len(self.accuracies) > 1 else float("nan")

    def __str__(self) -> str:
        return f"{100 * self.mean:.2f} ± {100 * self.std:.2f} % ({len(self.accuracies)} networks)"


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What networks of one architecture attain on a set, on its controls, and on all real images (None: unknown)."""

    distilled: Accuracy
    controls: dict[str, Accuracy]
    full: float | None = None

    @property
    def label_robust_score(self) -> float | None:
        """`label_robust_score` by hard labels; None where random images or all images were not measured."""
        random = self.controls.get("random_real")
        if random is None or self.full is None:
            return None
        hard = self.controls.get("hard_labels", self.distilled).mean
        return label_robust_score(full=self.full, hard=hard, distilled=hard, random=random.mean)

    def __str__(self) -> str:
        lines = [f"{name:12} {accuracy}" for name, accuracy in {"distilled": self.distilled, **self.controls}.items()]
        known = {"all images": self.full, "label-robust": self.label_robust_score}
        return "\n".join([*lines, *(f"{key:12} {100 * x:.2f} %" for key, x in known.items() if x is not None)])


@overload
def evaluate(
    data: DistilledSet | ImageSet,
    test: ImageSet | DistilledSet,
    *,
    build: Callable[[int], keras.Model],
    recipe: Recipe | None = ...,
    seeds: Sequence[int] = ...,
) -> Accuracy: ...


@overload
def evaluate(
    data: DistilledSet,
    test: ImageSet | DistilledSet,
    nets: int = ...,
    architectures: Sequence[str] = ...,
    *,
    real: ImageSet | None = ...,
    recipe: Recipe | None = ...,
    width: int = ...,
) -> dict[str, Comparison]: ...


def evaluate(
    data, test, nets=3, architectures=("convnet3",), *, build=None, recipe=None, seeds=None, real=None, width=128
):
    """How good fresh networks get on `data`: a `Comparison` for each architecture, printable.

    Args:
        data: a distilled set. Its classes are matched with those of `test` by name, whatever their order.
        test: real images; for a set in ZCA space whitened ones (`ZCA.whiten`).
        nets: how many networks of each architecture, with seeds 0, 1, ...
        architectures: names in `ARCHITECTURES`.
        real: the images that were distilled, for `controls`; None: the set alone (and with hard labels).
        recipe: of the training; default: the paper's for distilled data, 1,000 passes with its augmentation (which
            mirrors: not for digits).
        width: of ConvNets.
        build, seeds: a builder of one's own, from a seed to a network, instead of architectures; then its
            `Accuracy` on `data` alone is returned, as `accuracy_of` does.

    Raises:
        ValueError: an unknown architecture, no networks, or sets that do not match.

    Example:

    >>> import kerasticket as kt
    >>> real, test = (kt.data.load("digits", split) for split in ("train", "test"))
    >>> found = evaluate(kt.data.mix(real, 1, 2), test, 2, real=real, width=4, recipe=Recipe(1))
    >>> list(found), list(found["convnet3"].controls)
    (['convnet3'], ['random_real', 'mix'])
    """
    recipe = recipe or Recipe(1000, augmentation=PAPER_CIFAR, passes_per_epoch=20)
    if build is not None:
        return accuracy_of(data, test, build=build, recipe=recipe, seeds=range(nets) if seeds is None else seeds)
    if not isinstance(data, DistilledSet):
        raise ValueError(f"Expected a DistilledSet; for real images pass build=. Received: {type(data).__name__}")
    for name in architectures:
        check_choice(name, ARCHITECTURES, "architecture")
    data = in_the_order_of(data, test.class_names, f"the test data of {test.source!r}")
    real = real and in_the_order_of(real, test.class_names, f"the test data of {test.source!r}")
    beside = controls(data, real)
    found = {}
    for name in architectures:
        measure = functools.partial(
            accuracy_of, test=test, build=builder(name, test, width), recipe=recipe, seeds=range(nets)
        )
        measured = {what: measure(each) for what, each in beside.items()}
        found[name] = Comparison(measure(data), measured, full_accuracy(data.source, name, _width(name, width)))
    return found


def accuracy_of(
    data: DistilledSet | ImageSet,
    test: ImageSet | DistilledSet,
    *,
    build: Callable[[int], keras.Model],
    recipe: Recipe,
    seeds: Sequence[int] = (0, 1, 2),
    folder: str | Path | None = None,
    progress: Callable[[int], None] | None = None,
) -> Accuracy:
    """Trains one fresh network per seed on `data` and tests it on all of `test`; last weights count.

    Args:
        data: what to train on.
        test: as for `evaluate`.
        build: from a seed to a network with fresh weights; the same architecture each time.
        recipe: of the training.
        seeds: one network each, its weights and its data order.
        folder: keeps finished networks' accuracies and, each minute, the state of the one in training. A later
            call with the same arguments goes on from there, to the same result bit for bit. Keras epochs are cut
            into `IMAGES_PER_EPOCH` images for it, which changes no batch.
        progress: called with the passes over the data behind, of all networks.

    Raises:
        ValueError: `data` does not match `test` in classes, shape or space, there are no seeds, or the folder is
            of another evaluation.
    """
    if not seeds:
        raise ValueError("Expected at least one seed. Received: none.")
    data = in_the_order_of(data, test.class_names, f"the test data of {test.source!r}")
    if isinstance(data, DistilledSet):
        data.check_matches(test)
    if folder is not None:
        recipe = _with_short_epochs(recipe, data)
    fresh = build(seeds[0])
    about = {} if folder is None else identity(data, test, fresh, recipe)
    recipe.compile(fresh, recipe.pipeline(data, seeds[0]))
    tested, found = pipeline(test, batch_size=256, shuffle=False), []
    for index, seed in enumerate(seeds):
        told = _after(progress, index * recipe.epochs)
        training = ResumedTraining(recipe, seed, about, folder, told)
        found.append(training.result or _accuracy_of_one(fresh, build(seed), data, tested, seed, training))
        told(recipe.epochs)
    return Accuracy(tuple(accuracy for accuracy, _ in found), sum(minutes for _, minutes in found))


def builder(architecture: str, test: ImageSet | DistilledSet, width: int) -> Callable[[int], keras.Model]:
    """From a seed to a fresh network of `ARCHITECTURES` for these images; `width` is a ConvNet's.

    To be trained and tested only: see `speed_up`.
    """
    options = {"width": width} if _width(architecture, width) else {}
    fresh = functools.partial(ARCHITECTURES[architecture], test.input_shape, test.num_classes, **options)
    return lambda seed: speed_up(fresh(seed=seed))


def _width(architecture: str, width: int) -> int | None:
    return width if architecture.startswith("convnet") else None


def _with_short_epochs(recipe: Recipe, data: DistilledSet | ImageSet) -> Recipe:
    images = data.decoded_count if isinstance(data, DistilledSet) else len(data)
    most = min(recipe.epochs, max(1, IMAGES_PER_EPOCH // images))
    passes = max(passes for passes in range(1, most + 1) if recipe.epochs % passes == 0)
    return dataclasses.replace(recipe, passes_per_epoch=passes)


def _after(progress: Callable[[int], None] | None, passes: int) -> Callable[[int], None]:
    return lambda more: progress(passes + more) if progress else None


def _accuracy_of_one(model, fresh, data, tested, seed: int, training: ResumedTraining) -> tuple[float, float]:
    """Accuracy and minutes; the network's weights go into the compiled model, so that all of them share one trace."""
    renew(model, fresh)
    first = training.restore(model)
    if first < training.recipe.keras_epochs:
        train(model, data, training.recipe, data_order=seed, first_epoch=first, callbacks=[training])
    return training.finish(metrics_of(model, tested)["accuracy"])
