"""Distills a data set and measures the result beside real images and the images that the method began with.

    python scripts/distill_dataset.py                                    # IDC, digits, 10 images per class
    python scripts/distill_dataset.py --method dm --out my.h5            # by distribution matching; also dc, dsa,
                                                                         # mtt, tesla, rded, selection
    python scripts/distill_dataset.py --preset cifar10-cpu               # CIFAR-10 within 3 hours on two cores
    python scripts/distill_dataset.py --preset cifar10-paper             # IDC as published: days on a GPU

Writes one HDF5 file with settings, seeds and measured accuracies in its attributes, and a preview picture. A run
that is killed goes on from its state file, at most a minute back; more --networks or --iterations go on from it too.
"""

import argparse
import dataclasses
import functools
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kerasticket.backend.quiet import import_keras
from kerasticket.cli.door import program

SECONDS_BETWEEN_PREVIEWS = 60
# What may grow between two calls, as a longer distillation begins with a shorter one.
EXTENDS = {"idc": ("networks",), "dm": ("iterations",), "mtt": ("iterations",), "selection": ("networks",)}
AUGMENTATIONS = ("digits", "paper-cifar", "paper-imagenet")
METHODS = ("idc", "dc", "dsa", "dm", "mtt", "tesla", "rded", "selection")


@dataclasses.dataclass(frozen=True)
class Config:
    """What decides the distilled set, and how it is measured; a method's own settings are flags too."""

    dataset: str = "digits"
    """Name for kerasticket.data.load, or folder:PATH."""
    out: str = "assets/distilled/{dataset}_ipc{ipc}.h5"
    """File to write; {dataset} and {ipc} are filled in. One made from other data or settings is not overwritten."""
    overwrite: bool = False
    """Overwrite --out whatever it was made from."""
    state: str = "runs/distill"
    """Folder for what a killed run goes on from, and for previews on the way."""
    data_dir: str | None = None
    """TensorFlow Datasets folder; default: TFDS_DATA_DIR, then TFDS' own."""
    image_size: int | None = None
    """Side of the images; default: the data set's."""
    images_per_class: int | None = None
    """Real images of each class that are distilled; default: all."""
    ipc: int = 10
    """Stored images per class."""
    seed: int = 0
    precision: str = "float32"
    """Keras' dtype policy of the networks: float32 or mixed_bfloat16."""
    soft_labels: float | None = None
    """Temperature of soft labels by a network trained on the real data; default: the images' classes."""
    teacher_epochs: int = 12
    """Passes over the real data of that network, a ConvNet-3 of 128 filters."""
    nets: int = 5
    """Fresh networks per measured accuracy."""
    test_width: int = 32
    """Filters of the ConvNet-3 that tests."""
    test_epochs: int = 300
    """Passes over the decoded set per test network."""
    test_learning_rate: float = 0.01
    test_precision: str = "float32"
    """Keras' dtype policy of test networks and teacher."""
    augmentation: str = "digits"
    """Of test networks and teacher: digits (no mirror, no CutMix), paper-cifar or paper-imagenet."""


PRESETS = {
    "digits": Config(),
    "cifar10-cpu": Config(
        dataset="cifar10",
        nets=3,
        test_width=128,
        test_epochs=1000,
        test_precision="mixed_bfloat16",
        augmentation="paper-cifar",
    ),
    "cifar10-paper": Config(
        dataset="cifar10",
        out="runs/distilled/{dataset}_paper_ipc{ipc}.h5",
        nets=3,
        test_width=128,
        test_epochs=1000,
        augmentation="paper-cifar",
    ),
}


def tuned(preset: str, method: str, ipc: int) -> dict[str, Any]:
    """What a preset changes in a method's published settings; nothing for "cifar10-paper"."""
    import kerasticket as kt

    matching = kt.data.Augmentation(color=True, one_of=("crop",), siamese=True)  # no cutout on small digits
    digits: dict[str, Any] = {"width": 32}
    small = {"factor": 2, "initialization": "mix", "resize": "area"}
    rounds = {"networks": 20, "iterations": 25, "net_images": 512, "distance": "l1", "learning_rate": 3e-4}
    settings: dict[tuple[str, str], dict[str, Any]] = {
        ("digits", "idc"): digits | small | rounds | {"matching": matching, "training": kt.data.DIGITS},
        ("digits", "dm"): digits | small | {"iterations": 1000, "real_batch": 128, "matching": matching},
        ("digits", "mtt"): digits
        | {
            "zca": False,
            "iterations": 200,
            "student_steps": 20,
            "start_epochs": 8,
            "student_learning_rate": 0.05,
            "learning_rate": 30.0,
            "rate_learning_rate": 1e-4,
            "matching": matching,
            "experts": 20,
            "epochs": 15,
            "expert_learning_rate": 0.05,
            "expert_batch": 64,
            "expert_augmentation": dataclasses.replace(matching, siamese=False),
        },
        ("digits", "rded"): digits | {"factor": 2, "candidates": 50, "smallest_crop": 0.8, "training": kt.data.DIGITS},
        ("digits", "selection"): digits | {"by": "k_center", "networks": 5},
        ("cifar10-cpu", "idc"): {
            "width": 32,
            "networks": 24,
            "iterations": 200,
            "learning_rate": 0.005 * ipc,
            "real_batch": 32,
            "net_images": 512,
            "training": kt.data.PAPER_CIFAR,
        },
    }
    if (preset, method) == ("cifar10-paper", "idc"):
        return {"learning_rate": 0.005 * ipc / 10}
    return settings.get((preset, "mtt" if method == "tesla" else method), {})


def parse(arguments: list[str]) -> tuple[Config, Any]:
    """The configuration, and the method with its settings, of `--preset NAME --method NAME` and flags."""
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--preset", default="digits", choices=PRESETS)
    first.add_argument("--method", choices=METHODS)
    first.add_argument("--ipc", type=int, default=10)  # DC and DSA choose their loops by it
    known, _ = first.parse_known_args(arguments)
    if known.method is None and {"-h", "--help"} & set(arguments):
        flags(PRESETS[known.preset], None, known.preset, "idc", arguments)  # which ends the process
    known.method = known.method or "idc"
    import_keras()
    import kerasticket as kt

    makers: dict[str, Callable[..., Any]] = dict(kt.distillation.METHODS)
    makers |= {each.__name__: functools.partial(each, known.ipc) for each in (kt.distillation.dc, kt.distillation.dsa)}
    makers["tesla"] = functools.partial(kt.distillation.TrajectoryMatching, form="constant-memory")
    published = makers[known.method]()
    settings = dataclasses.replace(published, **tuned(known.preset, known.method, known.ipc))
    config = dataclasses.replace(PRESETS[known.preset], ipc=known.ipc)
    return flags(config, settings, known.preset, known.method, arguments)


def flags(config: Config, settings, preset: str, method: str, arguments: list[str]) -> tuple[Config, Any]:
    """Any field of `Config` or of the method's dataclass, if there is one, as a flag."""
    from typing import Annotated

    import tyro

    unprefixed = tyro.conf.arg(name="")
    fields = [("config", Annotated[Config, unprefixed]), ("settings", Annotated[type(settings), unprefixed])]
    values = [config, settings]
    if settings is None:
        fields, values = fields[:1], values[:1]
    more = "" if settings else " --method NAME --help shows the settings of a method, which are flags too."
    command = dataclasses.make_dataclass("Command", [("preset", str), ("method", str), *fields])
    given = tyro.cli(
        command,
        default=command(preset, method, *values),
        args=arguments,
        prog=program(),
        description=f"{__doc__}\nPresets: {', '.join(PRESETS)}; methods: {', '.join(METHODS)}.{more}\n",
        config=(tyro.conf.AvoidSubcommands,),
    )
    if given.config.augmentation not in AUGMENTATIONS:
        raise ValueError(
            f"Expected --augmentation {', '.join(AUGMENTATIONS[:-1])} or {AUGMENTATIONS[-1]}. "
            f"Received: '{given.config.augmentation}'."
        )
    if given.config.ipc < 1:
        raise ValueError(f"Expected --ipc of at least 1. Received: {given.config.ipc}.")
    if given.config.nets < 2:
        raise ValueError(f"Expected --nets of at least 2, for mean and std. Received: {given.config.nets}.")
    return given.config, given.settings


def main(config: Config, settings, command: str) -> None:
    from kerasticket.files.atomic import check_writable
    from kerasticket.files.lock import RunLock

    path = path_of(config)
    check_writable(path.parent)
    check_writable(config.state)
    with RunLock.of_file(path), RunLock.of_file(Path(config.state) / path.stem):
        make(config, settings, command, path)


def make(config: Config, settings, command: str, path: Path) -> None:
    """Distills, saves and measures the set; refuses bad values before the work."""
    import keras

    from kerasticket.data import ZCA
    from kerasticket.data.digest import digest

    keras.config.set_dtype_policy(config.precision)
    train, test = load_data(config)
    test_recipe(config)  # refuses bad values before the work
    data_sha256 = digest(train)
    if not config.overwrite:
        check_replaceable(path, config, settings, train, data_sha256)
    distilled, minutes = distill(config, settings, train, Path(config.state) / path.stem)
    about = {"minutes": round(minutes, 1), "cores": os.cpu_count(), "precision": config.precision}
    about |= {"data_sha256": data_sha256, "backend": keras.config.backend()}
    distilled = dataclasses.replace(distilled, settings=distilled.settings | about, command=command)
    keras.config.set_dtype_policy(config.test_precision)
    zca = ZCA.fit(train, distilled.zca["epsilon"]) if distilled.space == "zca" else None
    if zca:
        test = zca.whiten(test)
    if config.soft_labels is not None:
        distilled = softened(config, distilled, zca.whiten(train) if zca else train, test)
    distilled.save(path)  # the work is safe; the measured accuracies follow
    preview(distilled.images, config.ipc, path.with_suffix(".png"))
    accuracy = measure(config, settings, train, test, distilled, zca)
    dataclasses.replace(distilled, accuracy=accuracy).save(path)
    print(f"{minutes:.1f} minutes of distillation; set in {path}, preview in {path.with_suffix('.png')}")


def named(dataset: str) -> str:
    """A data set's name as part of a file's."""
    return re.sub(r"[^\w.-]+", "_", dataset)


def path_of(config: Config) -> Path:
    """The file to write."""
    return Path(config.out.replace("{dataset}", named(config.dataset)).replace("{ipc}", str(config.ipc)))


def load_data(config: Config) -> tuple[Any, Any]:
    """Real training and test images of the same classes."""
    import kerasticket as kt
    from kerasticket.data.classes import check_same, in_the_order_of

    where: dict[str, Any] = {"data_dir": config.data_dir, "image_size": config.image_size}
    train = kt.data.load(config.dataset, "train", images_per_class=config.images_per_class, seed=config.seed, **where)
    test = kt.data.load(config.dataset, "test", **where)
    if not isinstance(train, kt.data.ImageSet):
        raise ValueError(
            f"Expected real images that fit in memory. Received: {len(train):,} of {train.input_shape} of "
            f"'{config.dataset}'. Pass a smaller --image-size or --images-per-class."
        )
    check_same(train.class_names, test.class_names, "the training images", "the test images")
    return train, in_the_order_of(test, train.class_names, "the training images")


def check_replaceable(path: Path, config: Config, settings, train, data_sha256: str) -> None:
    """Raises ValueError if there is a file that this command would not make again.

    A longer run of the same distillation may replace a shorter one. What files of earlier versions do not say counts as
    the same.
    """
    import json

    import keras

    import kerasticket as kt

    if not path.exists():
        return
    remedy = "Choose another --out, or pass --overwrite to replace it."
    try:
        old = kt.data.DistilledSet.load(path)
    except ValueError as error:
        raise ValueError(f"'{path}' exists and is no distilled set ({error}). {remedy}") from error
    ours = json.loads(json.dumps(dataclasses.asdict(settings)))
    ours |= {"precision": config.precision, "data_sha256": data_sha256, "backend": keras.config.backend()}
    before = {name: old.settings.get(name, ours[name]) for name in ours}
    before |= {"method": old.method, "source": old.source, "seeds": old.seeds, "stored images": len(old)}
    ours |= {"method": settings.name, "source": train.source, "seeds": {"distillation": config.seed}}
    ours |= {"stored images": config.ipc * train.num_classes}
    grows = [name for name in ("networks", "iterations") if name in EXTENDS.get(settings.name, ())]
    for name in grows:
        if isinstance(before[name], int) and before[name] <= ours[name]:
            before[name] = ours[name]
    labels = old.settings.get("labels") or {}
    before["soft_labels"], ours["soft_labels"] = labels.get("temperature"), softness(config, settings)
    changed = [name for name in ours if name != "folder" and before[name] != ours[name]]
    if changed:
        told = "; ".join(f"{name} was {_short(before[name])}, is now {_short(ours[name])}" for name in changed[:4])
        more = f"; and {len(changed) - 4} more" if len(changed) > 4 else ""
        raise ValueError(f"'{path}' was made from other data or settings: {told}{more}. {remedy}")


def softness(config: Config, settings) -> float | None:
    """The temperature that a set will say of its labels, or None."""
    own = getattr(settings, "temperature", None)
    return own if config.soft_labels is None else config.soft_labels


def _short(value: Any) -> str:
    return text if len(text := repr(value)) < 60 else f"{text[:57]}..."


def distill(config: Config, settings, train, state: Path):
    """Runs the method with a progress bar and a preview each minute; the set, and minutes over all calls."""
    from kerasticket.cli.progress import Progress
    from kerasticket.files.json_files import read_json, write_json

    clock = state.with_suffix(".json")
    started = shown = time.monotonic()
    if hasattr(settings, "record"):
        settings = dataclasses.replace(settings, folder=settings.folder or f"{state}_experts")
        with Progress(total=settings.experts) as bar:
            settings.record(train, progress=lambda count: bar.reach(count, f"expert {count}/{settings.experts}"))
    before = read_json(clock)["minutes"] if clock.exists() and state.with_suffix(".npz").exists() else 0.0
    bar = Progress(total=settings.steps)

    def told(done, images, loss):
        nonlocal shown
        bar.reach(done, f"step {done}/{settings.steps}  loss {loss:.4g}")
        if time.monotonic() - shown > SECONDS_BETWEEN_PREVIEWS:
            shown = time.monotonic()
            preview(images, config.ipc, state.with_suffix(".png"))
            write_json(clock, {"minutes": before + (shown - started) / 60})

    with bar:
        made = settings.distill(
            train, ipc=config.ipc, seed=config.seed, progress=told, checkpoint=state.with_suffix(".npz")
        )
    minutes = before + (time.monotonic() - started) / 60
    write_json(clock, {"minutes": minutes})
    return made, minutes


def preview(images, ipc: int, path: Path) -> None:
    """A picture of all images, a row per class."""
    import numpy as np

    from kerasticket.experiments import figures
    from kerasticket.files.atomic import atomic

    if not len(images):  # selection has none on the way
        return
    with atomic(path) as temporary:
        figure = figures.image_grid(np.clip(images, 0, 1), columns=ipc if ipc > 1 else 10)
        figure.savefig(temporary, dpi=150)


def softened(config: Config, distilled, train, test):
    """The set with the labels of a network that was trained on the real images."""
    import kerasticket as kt

    teacher = kt.distillation.trained_teacher(
        train,
        epochs=config.teacher_epochs,
        augmentation=dataclasses.replace(kt.data.RECIPES[config.augmentation], cutmix=0.0),
        seed=config.seed,
        folder=Path(config.state) / f"teacher_{named(config.dataset)}_{config.seed}",
    )
    accuracy = kt.training.evaluate(teacher, test)["accuracy"]
    print(f"teacher      {100 * accuracy:.2f} %", flush=True)
    about = {"epochs": config.teacher_epochs, "accuracy": round(accuracy, 4)}
    temperature = 1.0 if config.soft_labels is None else config.soft_labels
    return kt.distillation.soft_labels(distilled, teacher, temperature, **about)


def test_recipe(config: Config):
    """The training of the networks that measure a set."""
    import kerasticket as kt

    return kt.training.Recipe(
        epochs=config.test_epochs,
        learning_rate=config.test_learning_rate,
        augmentation=kt.data.RECIPES[config.augmentation],
        passes_per_epoch=config.test_epochs,
    )


def measure(config: Config, settings, train, test, distilled, zca) -> dict[str, dict]:
    """Accuracy of fresh networks trained on the set, on the images it began with, and on random real images."""
    from kerasticket.cli.progress import Progress
    from kerasticket.distillation.controls import controls
    from kerasticket.distillation.evaluation import accuracy_of, builder

    start = settings.start(train, config.ipc, config.seed)
    sets = {"distilled": distilled, start.method: start}
    sets["random_real"] = controls(distilled, train, zca)["random_real"]
    recipe, measured, behind = test_recipe(config), {}, 0
    shown = {name: each.decoded_count * config.test_epochs * config.nets for name, each in sets.items()}
    with Progress(total=sum(shown.values())) as bar:

        def told(name: str, before: int, decoded: int, passes: int) -> None:
            bar.reach(before + passes * decoded, f"{name}  pass {passes}/{config.test_epochs * config.nets}")

        for name, each in sets.items():
            accuracy = accuracy_of(
                each,
                test,
                build=builder("convnet3", test, config.test_width),
                recipe=recipe,
                seeds=range(config.nets),
                folder=Path(config.state) / f"{path_of(config).stem}_measured" / name,
                progress=functools.partial(told, name, behind, each.decoded_count),
            )
            behind += shown[name]
            bar.line(f"{name:12} {accuracy}")
            measured[name] = {"mean": accuracy.mean, "std": accuracy.std, "accuracies": accuracy.accuracies}
            measured[name] |= {"net": f"convnet3 w{config.test_width}", "epochs": config.test_epochs}
            measured[name] |= {"precision": config.test_precision, "minutes": round(accuracy.minutes, 1)}
    return measured


def run(arguments: list[str]) -> None:
    config, settings = parse(arguments)
    main(config, settings, command=" ".join([program(), *arguments]))
