"""How good distilled sets are, our own and others': test accuracy of fresh networks trained on them.

    python scripts/evaluate_distilled.py assets/distilled/digits_ipc10.h5 --csv digits.csv --architectures convnet3 resnet10
    python scripts/evaluate_distilled.py images_best.pt --format mtt --dataset cifar10 --width 128 --epochs 200 --learning-rate 0.02

Each set stands beside random real images of the same number, in multi-formation beside real images in its cells, and
with soft labels beside itself with hard ones. Sets of other projects are checked against the real data; for those in
ZCA space the test images are whitened too. With --csv, rows that are there are not measured again, and a run that was
killed goes on where it was, at most minutes back, to the same numbers.
"""  # noqa: E501  (commands that can be pasted)

import contextlib
import dataclasses
import shutil
from pathlib import Path
from typing import Any

import tyro

from kerasticket.backend.quiet import import_keras
from kerasticket.cli.door import program

SETTINGS = ("dataset", "architecture", "width", "epochs", "batch_size", "learning_rate", "augmentation", "nets")
IDENTITY = ("set", "sha256", *SETTINGS)
RESULTS = ("mean", "std", "full", "label_robust_score", "minutes")
COLUMNS = ("set", "sha256", "images", "decoded", "space", *SETTINGS, *RESULTS)


@dataclasses.dataclass(frozen=True)
class Config:
    """What is measured, and how."""

    paths: tyro.conf.Positional[tuple[str, ...]]
    """Files (or folders) of distilled sets."""
    format: str = "kerasticket"
    """Of the files: kerasticket (HDF5), idc, mtt, tesla, dc, dsa, dm, rded, arrays, folder."""
    space: str | None = None
    """Of other projects' files: unit, normalized, zca; default: the format's usual one."""
    factor: int | None = None
    """Of other projects' files: multi-formation cells per side; default: the format's usual one."""
    index: int = -1
    """Of other projects' files: which of the sets of a dc, dsa or dm file."""
    temperature: float | None = None
    """Of other projects' soft labels that are stored as logits; default: they are probabilities."""
    dataset: str = "digits"
    """The real data that were distilled."""
    data_dir: str | None = None
    """TensorFlow Datasets folder; default: TFDS_DATA_DIR, then TFDS' own."""
    image_size: int | None = None
    """Side of the real images; default: the data set's."""
    architectures: tuple[str, ...] = ("convnet3",)
    """Names in kerasticket.distillation.evaluation.ARCHITECTURES, such as convnet3 alexnet resnet10 resnet18."""
    width: int = 32
    """Filters of ConvNets."""
    epochs: int = 300
    """Passes over the decoded set."""
    batch_size: int = 64
    learning_rate: float = 0.01
    augmentation: str = "digits"
    """digits (no mirror, no CutMix), paper-cifar, paper-imagenet, or none."""
    nets: int = 3
    """Fresh networks per row."""
    controls: bool = True
    """Whether random real images are measured too."""
    full_accuracy: float | None = None
    """In [0, 1], of networks trained on all real images, for DD-Ranking's score; default: where we know it."""
    csv: str | None = None
    """File for the results; rows in it stay. Unfinished ones are kept in a folder of its name beside it."""


@dataclasses.dataclass(frozen=True)
class Work:
    """One row to be: a set or a control, and the networks that are trained on it."""

    row: dict
    data: Any
    test: Any

    @property
    def images_shown(self) -> int:
        return self.row["decoded"] * self.row["epochs"] * self.row["nets"]


def main(config: Config) -> None:
    import_keras()
    from kerasticket.files.atomic import check_writable
    from kerasticket.files.lock import RunLock

    check(config)
    if config.csv:
        check_writable(Path(config.csv).parent)
    with RunLock.of_file(config.csv) if config.csv else contextlib.nullcontext():
        evaluate(config)
    if config.csv:
        print(f"Results: {config.csv}")


def evaluate(config: Config) -> None:
    """Measures what the CSV file does not have yet."""
    from kerasticket.cli.progress import Progress
    from kerasticket.files.rows import find, read_rows

    rows = read_rows(Path(config.csv), COLUMNS) if config.csv else []
    groups = [group for path in config.paths for group in planned(config, path)]  # all is read before any training
    missing = [work for group in groups for work in group if not find(rows, work.row, IDENTITY)]
    behind = 0
    with Progress(total=sum(work.images_shown for work in missing)) as bar:
        for group in groups:
            for work in group:
                if find(rows, work.row, IDENTITY):
                    bar.line(f"{title(work.row):60} is in {config.csv}")
                    continue
                work.row.update(measure(config, work, bar, behind))
                behind += work.images_shown
            add(rows, group, config, bar)


def check(config: Config) -> None:
    """Raises ValueError for settings that make no sense, before any work."""
    from kerasticket.distillation.evaluation import ARCHITECTURES

    if config.augmentation not in augmentations():
        raise ValueError(f"Expected --augmentation of {list(augmentations())}. Received: '{config.augmentation}'.")
    if config.nets < 2:
        raise ValueError(f"Expected --nets of at least 2, for mean and std. Received: {config.nets}.")
    told = (config.space, config.factor, config.temperature)
    if config.format == "kerasticket" and any(value is not None for value in told):
        raise ValueError("--space, --factor and --temperature are of other projects' files: kerasticket's need none.")
    unknown = [name for name in config.architectures if name not in ARCHITECTURES]
    if unknown or not config.architectures:
        raise ValueError(f"Expected --architectures of {list(ARCHITECTURES)}. Received: {config.architectures}.")
    full = config.full_accuracy
    if full is not None and (len(config.architectures) > 1 or not 0 <= full <= 1):
        raise ValueError(
            f"Expected --full-accuracy in [0, 1], of a single architecture. Received: {full}, {config.architectures}."
        )


def augmentations() -> dict:
    import kerasticket as kt

    return {"none": None} | {name: kt.data.RECIPES[name] for name in ("digits", "paper-cifar", "paper-imagenet")}


def planned(config: Config, path: str) -> list[list[Work]]:
    """For each architecture, the set of a file and its controls."""
    import kerasticket as kt
    from kerasticket.data.classes import check_same, in_the_order_of
    from kerasticket.distillation.controls import controls, full_accuracy

    where: dict[str, Any] = {"data_dir": config.data_dir, "image_size": config.image_size}
    loaded: list[Any] = [kt.data.load(config.dataset, split, **where) for split in ("train", "test")]
    train, test = loaded
    check_same(train.class_names, test.class_names, "the training images", "the test images")
    test = in_the_order_of(test, train.class_names, "the training images")
    distilled = in_the_order_of(read(config, path, train), train.class_names, f"the real data of {train.source!r}")
    zca = kt.data.ZCA.fit(train, distilled.zca["epsilon"]) if distilled.space == "zca" else None
    judged = zca.whiten(test) if zca else test
    distilled.check_matches(judged)
    name = Path(path).name
    sets = {name: distilled}
    if config.controls:
        sets |= {f"{what} beside {name}": each for what, each in controls(distilled, train, zca).items()}
    groups = []
    for architecture in config.architectures:
        width = config.width if architecture.startswith("convnet") else None
        full = (
            full_accuracy(train.source, architecture, width) if config.full_accuracy is None else config.full_accuracy
        )
        known = {"architecture": architecture, "width": width, "full": full}
        groups.append([Work(begun_row(config, what, each, known), each, judged) for what, each in sets.items()])
    return groups


def read(config: Config, path: str, train) -> Any:
    import kerasticket as kt

    if config.format == "kerasticket":
        return kt.data.DistilledSet.load(path)
    return kt.data.importers.read(
        path,
        config.format,
        real=train,
        space=config.space,
        factor=config.factor,
        index=config.index,
        temperature=config.temperature,
    )


def begun_row(config: Config, name: str, data, known: dict) -> dict:
    """A row without its results."""
    from kerasticket.data.digest import digest

    of_set = {"set": name, "sha256": digest(data)[:16], "images": len(data), "decoded": data.decoded_count}
    values = vars(config) | of_set | {"space": data.space} | known
    return {column: values.get(column) for column in COLUMNS}


def unfinished(config: Config, row: dict) -> Path:
    """The folder of a row that is being measured."""
    return Path(config.csv or "").with_suffix(".unfinished") / row["architecture"] / row["set"]


def measure(config: Config, work: Work, bar, behind: int) -> dict:
    """Mean and sample std over fresh networks."""
    import kerasticket as kt
    from kerasticket.distillation.evaluation import accuracy_of, builder

    recipe = kt.training.Recipe(
        config.epochs,
        config.batch_size,
        config.learning_rate,
        augmentation=augmentations()[config.augmentation],
        passes_per_epoch=config.epochs,
    )
    passes = config.epochs * config.nets
    accuracy = accuracy_of(
        work.data,
        work.test,
        build=builder(work.row["architecture"], work.test, config.width),
        recipe=recipe,
        seeds=range(config.nets),
        folder=unfinished(config, work.row) if config.csv else None,
        progress=lambda done: bar.reach(
            behind + done * work.row["decoded"], f"{title(work.row)}  pass {done}/{passes}"
        ),
    )
    bar.line(f"{title(work.row):60} {accuracy}   {accuracy.minutes:.1f} min")
    return {"mean": accuracy.mean, "std": accuracy.std, "minutes": round(accuracy.minutes, 2)}


def add(rows: list[dict], group: list[Work], config: Config, bar) -> None:
    """The rows of a set and its controls, with DD-Ranking's score of the set; what was kept of them goes."""
    from kerasticket.files.rows import find, write_rows

    rows += [work.row for work in group if not find(rows, work.row, IDENTITY)]
    measured = [find(rows, work.row, IDENTITY) or work.row for work in group]
    score = label_robust_score(measured)
    if score is not None:
        measured[0]["label_robust_score"] = score
        bar.line(f"{title(measured[0]):60} label-robust score {100 * score:.2f} %")
    if config.csv:
        write_rows(rows, Path(config.csv))
        for work in group:
            shutil.rmtree(unfinished(config, work.row), ignore_errors=True)
        remove_empty(Path(config.csv).with_suffix(".unfinished"))


def label_robust_score(measured: list[dict]) -> float | None:
    """Of the first row, by hard labels; None where random images or all images were not measured."""
    from kerasticket.distillation.controls import label_robust_score as score

    means = {row["set"].split(" beside ")[0]: float(row["mean"]) for row in measured}
    full = measured[0]["full"]
    if "random_real" not in means or full in (None, ""):
        return None
    hard = means.get("hard_labels", float(measured[0]["mean"]))
    return score(full=float(full), hard=hard, distilled=hard, random=means["random_real"])


def remove_empty(folder: Path) -> None:
    for each in sorted((path for path in folder.glob("**") if path.is_dir()), reverse=True):
        if not any(each.iterdir()):
            each.rmdir()


def title(row: dict) -> str:
    return f"{row['set']}, {row['architecture']}"


def run(arguments: list[str]) -> None:
    main(tyro.cli(Config, description=__doc__, prog=program(), args=arguments))
