"""How good distilled sets are, our own and others': test accuracy of fresh networks trained on them.

    python scripts/evaluate_distilled.py assets/distilled/digits_ipc10.h5
    python scripts/evaluate_distilled.py images_best.pt --format mtt --dataset cifar10 --width 128 --epochs 200 --learning-rate 0.02

Each set stands beside random real images of the same number, and in multi-formation beside real images in its cells.
Sets of other projects are checked against the real data; for those in ZCA space the test images are whitened too.
"""  # noqa: E501  (commands that can be pasted)

import dataclasses
import sys
import time
from pathlib import Path

import tyro
from quiet import import_keras


@dataclasses.dataclass(frozen=True)
class Config:
    """What is measured, and how."""

    paths: tyro.conf.Positional[tuple[str, ...]]
    """Files (or folders) of distilled sets."""
    format: str = "kerasticket"
    """Of the files: kerasticket (HDF5), idc, mtt, tesla, dc, dsa, dm, rded, arrays, folder."""
    space: str | None = None
    """Of other projects' files: unit, normalised, zca; default: the format's usual one."""
    dataset: str = "digits"
    """The real data that were distilled."""
    data_dir: str | None = None
    """TensorFlow Datasets folder; default: TFDS_DATA_DIR, then TFDS' own."""
    model: str = "convnet"
    """A name in kerasticket.models.MODELS."""
    width: int = 32
    """Filters, for models that have a width."""
    epochs: int = 300
    """Passes over the decoded set."""
    batch_size: int = 64
    learning_rate: float = 0.01
    augmentation: str = "digits"
    """digits (no mirror, no CutMix), paper-cifar, or none."""
    nets: int = 3
    """Fresh networks per set."""
    controls: bool = True
    """Whether random real images are measured too."""
    csv: str | None = None
    """File for the results; rows in it stay."""


def main(config: Config) -> None:
    import_keras()
    import kerasticket as kt

    known = {"none": None} | {name: kt.data.RECIPES[name] for name in ("digits", "paper-cifar")}
    if config.augmentation not in known:
        raise ValueError(f"Expected --augmentation of {list(known)}. Received: '{config.augmentation}'.")
    if config.nets < 2:
        raise ValueError(f"Expected --nets of at least 2, for mean and std. Received: {config.nets}.")
    recipe = kt.training.Recipe(
        config.epochs,
        config.batch_size,
        config.learning_rate,
        augmentation=known[config.augmentation],
        passes_per_epoch=config.epochs,
    )
    real = {split: kt.data.load(config.dataset, split, data_dir=config.data_dir) for split in ("train", "test")}
    sets = {path: read(config, path, real["train"]) for path in config.paths}
    rows = []
    for path, distilled in sets.items():
        rows.append(measured(config, recipe, Path(path).name, distilled, real))
        if config.controls:
            for name, control in controls(distilled, real["train"]).items():
                rows.append(measured(config, recipe, f"{name} beside {Path(path).name}", control, real))
    if config.csv:
        keep(Path(config.csv), rows)


def read(config: Config, path: str, train):
    import kerasticket as kt

    if config.format == "kerasticket":
        return kt.data.DistilledSet.load(path)
    return kt.data.importers.read(path, config.format, real=train, space=config.space)


def controls(distilled, train) -> dict:
    """Real images of the same number, and IDC's starting images of the same factor."""
    import kerasticket as kt

    sets = {"random_real": kt.data.random_real(train, distilled.images_per_class, 0)}
    if distilled.factor > 1:
        sets["mix"] = kt.data.mix(train, distilled.images_per_class, distilled.factor)
    return sets


def measured(config: Config, recipe, name: str, distilled, real: dict) -> dict:
    """One row: mean and sample std over fresh networks."""
    import inspect

    import kerasticket as kt

    builder, test = kt.models.MODELS[config.model], real["test"]
    if distilled.space == "zca":
        test = kt.data.ZCA.fit(real["train"], distilled.zca["epsilon"]).whiten(test)
    width = {"width": config.width} if "width" in inspect.signature(builder).parameters else {}
    started = time.perf_counter()
    accuracy = kt.distillation.evaluate(
        distilled,
        test,
        build=lambda seed: builder(test.input_shape, test.num_classes, seed=seed, **width),
        recipe=recipe,
        seeds=range(config.nets),
    )
    minutes = (time.perf_counter() - started) / 60
    print(f"{name:50} {accuracy}   {minutes:.1f} min", flush=True)
    settings = ("dataset", "model", "width", "epochs", "batch_size", "learning_rate", "augmentation", "nets")
    row = {"set": name, "images": len(distilled), "decoded": distilled.decoded_count, "space": distilled.space}
    row |= {setting: getattr(config, setting) for setting in settings}
    return row | {"mean": accuracy.mean, "std": accuracy.std, "minutes": round(minutes, 2)}


def keep(path: Path, rows: list[dict]) -> None:
    """Adds rows to a CSV file."""
    import csv

    from report import write_csv

    before = []
    if path.exists():
        with open(path, newline="") as file:
            before = list(csv.DictReader(file))
    write_csv([*before, *rows], path)
    print(f"Results: {path}")


if __name__ == "__main__":
    try:
        main(tyro.cli(Config, description=__doc__))
    except (ValueError, FloatingPointError) as error:
        sys.exit(f"error: {error}")
