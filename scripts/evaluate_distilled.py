"""How good distilled sets are, our own and others': test accuracy of fresh networks trained on them.

    python scripts/evaluate_distilled.py assets/distilled/digits_ipc10.h5
    python scripts/evaluate_distilled.py images_best.pt --format mtt --dataset cifar10 --width 128 --epochs 200 --learning-rate 0.02

Each set stands beside random real images of the same number, and in multi-formation beside real images in its cells.
Sets of other projects are checked against the real data; for those in ZCA space the test images are whitened too.
"""  # noqa: E501  (commands that can be pasted)

import csv
import dataclasses
import sys
import time
from pathlib import Path

import tyro
from quiet import import_keras

SETTINGS = ("dataset", "model", "width", "epochs", "batch_size", "learning_rate", "augmentation", "nets")
COLUMNS = ("set", "images", "decoded", "space", *SETTINGS, "mean", "std", "minutes")


@dataclasses.dataclass(frozen=True)
class Config:
    """What is measured, and how."""

    paths: tyro.conf.Positional[tuple[str, ...]]
    """Files (or folders) of distilled sets."""
    format: str = "kerasticket"
    """Of the files: kerasticket (HDF5), idc, mtt, tesla, dc, dsa, dm, rded, arrays, folder."""
    space: str | None = None
    """Of other projects' files: unit, normalised, zca; default: the format's usual one."""
    factor: int | None = None
    """Of other projects' files: multi-formation cells per side; default: the format's usual one."""
    index: int = -1
    """Of other projects' files: which of the sets of a dc, dsa or dm file."""
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
    from report import write_csv

    import kerasticket as kt

    known = {"none": None} | {name: kt.data.RECIPES[name] for name in ("digits", "paper-cifar")}
    if config.augmentation not in known:
        raise ValueError(f"Expected --augmentation of {list(known)}. Received: '{config.augmentation}'.")
    if config.nets < 2:
        raise ValueError(f"Expected --nets of at least 2, for mean and std. Received: {config.nets}.")
    if config.model not in kt.models.MODELS:
        raise ValueError(f"Expected --model of {sorted(kt.models.MODELS)}. Received: '{config.model}'.")
    recipe = kt.training.Recipe(
        config.epochs,
        config.batch_size,
        config.learning_rate,
        augmentation=known[config.augmentation],
        passes_per_epoch=config.epochs,
    )
    rows = earlier_rows(config)
    train, test = (kt.data.load(config.dataset, split, data_dir=config.data_dir) for split in ("train", "test"))
    work = []  # all sets are read and made before the first training
    for path in config.paths:
        distilled = read(config, path, train)
        zca = kt.data.ZCA.fit(train, distilled.zca["epsilon"]) if distilled.space == "zca" else None
        judged = zca.whiten(test) if zca else test
        distilled.check_matches(judged)
        sets = {Path(path).name: distilled}
        if config.controls:
            sets |= {f"{name} beside {Path(path).name}": each for name, each in controls(distilled, train, zca).items()}
        work += [(name, each, judged) for name, each in sets.items()]
    for name, each, judged in work:
        rows.append(measured(config, recipe, name, each, judged))
        if config.csv:
            write_csv(rows, Path(config.csv))
    if config.csv:
        print(f"Results: {config.csv}")


def read(config: Config, path: str, train):
    import kerasticket as kt

    if config.format == "kerasticket":
        return kt.data.DistilledSet.load(path)
    options = {"space": config.space, "factor": config.factor, "index": config.index}
    return kt.data.importers.read(path, config.format, real=train, **options)


def controls(distilled, train, zca) -> dict:
    """Real images of the same number and space, and IDC's starting images of the same factor."""
    import kerasticket as kt

    each = distilled.images_per_class
    sets = {"random_real": zca.whiten(train.subset(each, 0)) if zca else kt.data.random_real(train, each, 0)}
    if distilled.factor > 1 and not zca:
        sets["mix"] = kt.data.mix(train, each, distilled.factor)
    return sets


def measured(config: Config, recipe, name: str, distilled, test) -> dict:
    """One row: mean and sample std over fresh networks."""
    import inspect

    import kerasticket as kt

    builder = kt.models.MODELS[config.model]
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
    row = {"set": name, "images": len(distilled), "decoded": distilled.decoded_count, "space": distilled.space}
    row |= {setting: getattr(config, setting) for setting in SETTINGS}
    return row | {"mean": accuracy.mean, "std": accuracy.std, "minutes": round(minutes, 2)}


def earlier_rows(config: Config) -> list[dict]:
    """Those of the CSV file, which stay; raises ValueError if it is of something else."""
    from kerasticket.runs import check_writable

    if not config.csv:
        return []
    path = Path(config.csv)
    check_writable(path.parent)
    if not path.exists():
        return []
    with open(path, newline="") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise ValueError(
                f"Expected --csv of an earlier evaluation, or a new file. Received: '{path}' of other columns."
            )
        return list(reader)


if __name__ == "__main__":
    try:
        main(tyro.cli(Config, description=__doc__))
    except (ValueError, FloatingPointError) as error:
        sys.exit(f"error: {error}")
