"""Distills a data set into a file, and measures the set beside real images and those that the method began with."""

import dataclasses
import functools
import os
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np

import kerasticket as kt
from kerasticket.data import ZCA, DistilledSet, ImageSet
from kerasticket.data.classes import check_same, in_the_order_of
from kerasticket.data.digest import digest
from kerasticket.distillation import evaluation
from kerasticket.distillation.controls import controls
from kerasticket.distillation.method import Method
from kerasticket.experiments import figures
from kerasticket.experiments.events import Event, Listener, ignore
from kerasticket.experiments.set_file import check_replaceable, named, path_of
from kerasticket.experiments.settings import DistillationSettings
from kerasticket.experiments.telling import stretch
from kerasticket.files.atomic import atomic, check_writable
from kerasticket.files.json_files import read_json, write_json
from kerasticket.files.lock import RunLock
from kerasticket.training.recipe import Recipe

SECONDS_BETWEEN_PREVIEWS = 60
AUGMENTATIONS = ("digits", "paper-cifar", "paper-imagenet")

Images = ImageSet | DistilledSet  # the latter: whitened real images


def distill(
    settings: DistillationSettings, method: Method, *, command: str = "", listener: Listener = ignore
) -> tuple[Path, float]:
    """Writes the set with its measured accuracies, and a preview beside it; goes on where it was killed.

    Args:
        settings: of the set and of what measures it.
        method: with its own settings, such as `kt.distillation.GradientMatching(networks=20)`.
        command: is written into the set.
        listener: is told of the work.

    Returns:
        The file, and minutes of distillation over all calls.

    Raises:
        ValueError: settings that make no sense, a file that other settings made, or another process writes there.
    """
    check(settings)
    path = path_of(settings)
    check_writable(path.parent)
    check_writable(settings.state)
    policy = keras.config.dtype_policy()
    try:
        with RunLock.of_file(path), RunLock.of_file(Path(settings.state) / path.stem):
            return path, make(settings, method, command, path, listener)
    finally:
        keras.config.set_dtype_policy(policy)


def check(settings: DistillationSettings) -> None:
    """Raises ValueError for settings that make no sense, before anything is read."""
    if settings.augmentation not in AUGMENTATIONS:
        raise ValueError(
            f"Expected --augmentation {', '.join(AUGMENTATIONS[:-1])} or {AUGMENTATIONS[-1]}. "
            f"Received: '{settings.augmentation}'."
        )
    if settings.ipc < 1:
        raise ValueError(f"Expected --ipc of at least 1. Received: {settings.ipc}.")
    if settings.nets < 2:
        raise ValueError(f"Expected --nets of at least 2, for mean and std. Received: {settings.nets}.")


def make(settings: DistillationSettings, method: Method, command: str, path: Path, listener: Listener) -> float:
    """Distills, saves and measures the set; minutes of distillation."""
    keras.config.set_dtype_policy(settings.precision)
    train, test = load_data(settings)
    test_recipe(settings)  # refuses bad values before the work
    data_sha256 = digest(train)
    if not settings.overwrite:
        check_replaceable(path, settings, method, train, data_sha256)
    distilled, minutes = run_method(settings, method, train, Path(settings.state) / path.stem, listener)
    about = {"minutes": round(minutes, 1), "cores": os.cpu_count(), "precision": settings.precision}
    about |= {"data_sha256": data_sha256, "backend": keras.config.backend()}
    distilled = dataclasses.replace(distilled, settings=distilled.settings | about, command=command)
    keras.config.set_dtype_policy(settings.test_precision)
    zca = ZCA.fit(train, distilled.zca["epsilon"]) if distilled.space == "zca" else None
    if zca:
        test = zca.whiten(test)
    if settings.soft_labels is not None:
        distilled = softened(settings, distilled, zca.whiten(train) if zca else train, test, listener)
    distilled.save(path)  # the work is safe; the measured accuracies follow
    preview(distilled.images, settings.ipc, path.with_suffix(".png"))
    accuracy = measure(settings, method, train, test, distilled, zca, listener)
    dataclasses.replace(distilled, accuracy=accuracy).save(path)
    return minutes


def load_data(settings: DistillationSettings) -> tuple[Any, Any]:
    """Real training and test images of the same classes."""
    where: dict[str, Any] = {"data_dir": settings.data_dir, "image_size": settings.image_size}
    few: dict[str, Any] = {"images_per_class": settings.images_per_class, "seed": settings.seed}
    train = kt.data.load(settings.dataset, "train", **few, **where)
    test = kt.data.load(settings.dataset, "test", **where)
    if not isinstance(train, kt.data.ImageSet):
        raise ValueError(
            f"Expected real images that fit in memory. Received: {len(train):,} of {train.input_shape} of "
            f"'{settings.dataset}'. Pass a smaller --image-size or --images-per-class."
        )
    check_same(train.class_names, test.class_names, "the training images", "the test images")
    return train, in_the_order_of(test, train.class_names, "the training images")


def run_method(
    settings: DistillationSettings, method: Method, train: ImageSet, state: Path, listener: Listener
) -> tuple[DistilledSet, float]:
    """Runs the method, with a preview each minute; the set, and minutes over all calls."""
    clock = state.with_suffix(".json")
    started = shown = time.monotonic()
    method = with_experts(method, train, state, listener)
    before = read_json(clock)["minutes"] if clock.exists() and state.with_suffix(".npz").exists() else 0.0
    with stretch(listener, method.steps) as work:

        def told(done: int, images: np.ndarray, loss: float) -> None:
            nonlocal shown
            work.reach(done, f"step {done}/{method.steps}  loss {loss:.4g}")
            if time.monotonic() - shown > SECONDS_BETWEEN_PREVIEWS:
                shown = time.monotonic()
                preview(images, settings.ipc, state.with_suffix(".png"))
                write_json(clock, {"minutes": before + (shown - started) / 60})

        made = method.distill(
            train, ipc=settings.ipc, seed=settings.seed, progress=told, checkpoint=state.with_suffix(".npz")
        )
    minutes = before + (time.monotonic() - started) / 60
    write_json(clock, {"minutes": minutes})
    return made, minutes


def with_experts(method: Any, train: ImageSet, state: Path, listener: Listener) -> Method:
    """The method after the trainings that it matches were recorded, if it matches any."""
    if not hasattr(method, "record"):
        return method
    method = dataclasses.replace(method, folder=method.folder or f"{state}_experts")
    with stretch(listener, method.experts) as work:
        method.record(train, progress=lambda count: work.reach(count, f"expert {count}/{method.experts}"))
    return method


def preview(images: np.ndarray, ipc: int, path: Path) -> None:
    """A picture of all images, a row per class."""
    if not len(images):  # selection has none on the way
        return
    with atomic(path) as temporary:
        figure = figures.image_grid(np.clip(images, 0, 1), columns=ipc if ipc > 1 else 10)
        figure.savefig(temporary, dpi=150)


def softened(
    settings: DistillationSettings, distilled: DistilledSet, train: Any, test: Images, listener: Listener
) -> DistilledSet:
    """The set with the labels of a network that was trained on the real images."""
    teacher = kt.distillation.trained_teacher(
        train,
        epochs=settings.teacher_epochs,
        augmentation=dataclasses.replace(kt.data.RECIPES[settings.augmentation], cutmix=0.0),
        seed=settings.seed,
        folder=Path(settings.state) / f"teacher_{named(settings.dataset)}_{settings.seed}",
    )
    accuracy = kt.training.evaluate(teacher, test)["accuracy"]
    listener(Event("note", text=f"teacher      {100 * accuracy:.2f} %"))
    about = {"epochs": settings.teacher_epochs, "accuracy": round(accuracy, 4)}
    temperature = 1.0 if settings.soft_labels is None else settings.soft_labels
    return kt.distillation.soft_labels(distilled, teacher, temperature, **about)


def test_recipe(settings: DistillationSettings) -> Recipe:
    """The training of the networks that measure a set."""
    return Recipe(
        epochs=settings.test_epochs,
        learning_rate=settings.test_learning_rate,
        augmentation=kt.data.RECIPES[settings.augmentation],
        passes_per_epoch=settings.test_epochs,
    )


def measure(
    settings: DistillationSettings,
    method: Method,
    train: ImageSet,
    test: Images,
    distilled: DistilledSet,
    zca: ZCA | None,
    listener: Listener,
) -> dict[str, dict[str, Any]]:
    """Accuracy of fresh networks trained on the set, on the images it began with, and on random real images."""
    start = method.start(train, settings.ipc, settings.seed)
    sets = {"distilled": distilled, start.method: start}
    sets["random_real"] = controls(distilled, train, zca)["random_real"]
    recipe, measured, behind = test_recipe(settings), {}, 0
    shown = {name: each.decoded_count * settings.test_epochs * settings.nets for name, each in sets.items()}
    with stretch(listener, sum(shown.values())) as bar:

        def told(name: str, before: int, decoded: int, passes: int) -> None:
            bar.reach(before + passes * decoded, f"{name}  pass {passes}/{settings.test_epochs * settings.nets}")

        for name, each in sets.items():
            accuracy = evaluation.accuracy_of(
                each,
                test,
                build=evaluation.builder("convnet3", test, settings.test_width),
                recipe=recipe,
                seeds=range(settings.nets),
                folder=Path(settings.state) / f"{path_of(settings).stem}_measured" / name,
                progress=functools.partial(told, name, behind, each.decoded_count),
            )
            behind += shown[name]
            bar.note(f"{name:12} {accuracy}")
            measured[name] = {"mean": accuracy.mean, "std": accuracy.std, "accuracies": accuracy.accuracies}
            measured[name] |= {"net": f"convnet3 w{settings.test_width}", "epochs": settings.test_epochs}
            measured[name] |= {"precision": settings.test_precision, "minutes": round(accuracy.minutes, 1)}
    return measured
