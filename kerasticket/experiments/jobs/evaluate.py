"""How good distilled sets are: test accuracy of fresh networks trained on them, beside that of their controls."""

import contextlib
import dataclasses
import shutil
from pathlib import Path
from typing import Any

import kerasticket as kt
from kerasticket.data.augmentation.presets import Augmentation
from kerasticket.data.classes import check_same, in_the_order_of
from kerasticket.data.digest import digest
from kerasticket.data.images import ImageSet
from kerasticket.distillation import evaluation
from kerasticket.distillation.controls import controls, full_accuracy, label_robust_score
from kerasticket.experiments.events import Listener, ignore
from kerasticket.experiments.settings import EvaluationSettings
from kerasticket.experiments.telling import Stretch, stretch
from kerasticket.files.atomic import check_writable
from kerasticket.files.lock import RunLock
from kerasticket.files.rows import find, read_rows, write_rows

SETTINGS = ("dataset", "architecture", "width", "epochs", "batch_size", "learning_rate", "augmentation", "nets")
IDENTITY = ("set", "sha256", *SETTINGS)
RESULTS = ("mean", "std", "full", "label_robust_score", "minutes")
COLUMNS = ("set", "sha256", "images", "decoded", "space", *SETTINGS, *RESULTS)


@dataclasses.dataclass(frozen=True)
class Work:
    """One row to be: a set or a control, and the networks that are trained on it."""

    row: dict[str, Any]
    data: Any
    test: Any

    @property
    def images_shown(self) -> int:
        return self.row["decoded"] * self.row["epochs"] * self.row["nets"]


def evaluate(settings: EvaluationSettings, listener: Listener = ignore) -> list[dict[str, Any]]:
    """Measures the sets and their controls, and writes the CSV file, where there is one.

    Returns:
        All rows: those of earlier calls, as text, and the new ones.

    Raises:
        ValueError: settings that make no sense, a set that cannot be read, or another process writes the file.
    """
    check(settings)
    if settings.csv:
        check_writable(Path(settings.csv).parent)
    with RunLock.of_file(settings.csv) if settings.csv else contextlib.nullcontext():
        return measure_missing(settings, listener)


def measure_missing(settings: EvaluationSettings, listener: Listener) -> list[dict[str, Any]]:
    """Measures what the CSV file does not have yet; all rows of it."""
    rows = read_rows(Path(settings.csv), COLUMNS) if settings.csv else []
    groups = [group for path in settings.paths for group in planned(settings, path)]  # all is read before any training
    missing = [work for group in groups for work in group if not find(rows, work.row, IDENTITY)]
    behind = 0
    with stretch(listener, sum(work.images_shown for work in missing)) as bar:
        for group in groups:
            for work in group:
                if find(rows, work.row, IDENTITY):
                    bar.note(f"{title(work.row):60} is in {settings.csv}")
                    continue
                work.row.update(measure(settings, work, bar, behind))
                behind += work.images_shown
            add(rows, group, settings, bar)
    return rows


def check(settings: EvaluationSettings) -> None:
    """Raises ValueError for settings that make no sense, before any work."""
    if settings.augmentation not in augmentations():
        raise ValueError(f"Expected --augmentation of {list(augmentations())}. Received: '{settings.augmentation}'.")
    if settings.nets < 2:
        raise ValueError(f"Expected --nets of at least 2, for mean and std. Received: {settings.nets}.")
    told = (settings.space, settings.factor, settings.temperature)
    if settings.format == "kerasticket" and any(value is not None for value in told):
        raise ValueError("--space, --factor and --temperature are of other projects' files: kerasticket's need none.")
    unknown = [name for name in settings.architectures if name not in evaluation.ARCHITECTURES]
    if unknown or not settings.architectures:
        raise ValueError(
            f"Expected --architectures of {list(evaluation.ARCHITECTURES)}. Received: {settings.architectures}."
        )
    full = settings.full_accuracy
    if full is not None and (len(settings.architectures) > 1 or not 0 <= full <= 1):
        raise ValueError(
            f"Expected --full-accuracy in [0, 1], of a single architecture. Received: {full}, {settings.architectures}."
        )


def augmentations() -> dict[str, Augmentation | None]:
    return {"none": None} | {name: kt.data.RECIPES[name] for name in ("digits", "paper-cifar", "paper-imagenet")}


def planned(settings: EvaluationSettings, path: str) -> list[list[Work]]:
    """For each architecture, the set of a file and its controls."""
    where: dict[str, Any] = {"data_dir": settings.data_dir, "image_size": settings.image_size}
    loaded: list[Any] = [kt.data.load(settings.dataset, split, **where) for split in ("train", "test")]
    train, test = loaded
    check_same(train.class_names, test.class_names, "the training images", "the test images")
    test = in_the_order_of(test, train.class_names, "the training images")
    distilled = in_the_order_of(read(settings, path, train), train.class_names, f"the real data of {train.source!r}")
    zca = kt.data.ZCA.fit(train, distilled.zca["epsilon"]) if distilled.space == "zca" else None
    judged = zca.whiten(test) if zca else test
    distilled.check_matches(judged)
    name = Path(path).name
    sets = {name: distilled}
    if settings.controls:
        sets |= {f"{what} beside {name}": each for what, each in controls(distilled, train, zca).items()}
    groups = []
    for architecture in settings.architectures:
        width = settings.width if architecture.startswith("convnet") else None
        full = (
            full_accuracy(train.source, architecture, width)
            if settings.full_accuracy is None
            else settings.full_accuracy
        )
        known = {"architecture": architecture, "width": width, "full": full}
        groups.append([Work(begun_row(settings, what, each, known), each, judged) for what, each in sets.items()])
    return groups


def read(settings: EvaluationSettings, path: str, train: ImageSet) -> Any:
    if settings.format == "kerasticket":
        return kt.data.DistilledSet.load(path)
    return kt.data.importers.read(
        path,
        settings.format,
        real=train,
        space=settings.space,
        factor=settings.factor,
        index=settings.index,
        temperature=settings.temperature,
    )


def begun_row(settings: EvaluationSettings, name: str, data: Any, known: dict[str, Any]) -> dict[str, Any]:
    """A row without its results."""
    of_set = {"set": name, "sha256": digest(data)[:16], "images": len(data), "decoded": data.decoded_count}
    values = vars(settings) | of_set | {"space": data.space} | known
    return {column: values.get(column) for column in COLUMNS}


def unfinished(settings: EvaluationSettings, row: dict[str, Any]) -> Path:
    """The folder of a row that is being measured."""
    return Path(settings.csv or "").with_suffix(".unfinished") / row["architecture"] / row["set"]


def measure(settings: EvaluationSettings, work: Work, bar: Stretch, behind: int) -> dict[str, Any]:
    """Mean and sample std over fresh networks."""
    recipe = kt.training.Recipe(
        settings.epochs,
        settings.batch_size,
        settings.learning_rate,
        augmentation=augmentations()[settings.augmentation],
        passes_per_epoch=settings.epochs,
    )
    passes = settings.epochs * settings.nets
    accuracy = evaluation.accuracy_of(
        work.data,
        work.test,
        build=evaluation.builder(work.row["architecture"], work.test, settings.width),
        recipe=recipe,
        seeds=range(settings.nets),
        folder=unfinished(settings, work.row) if settings.csv else None,
        progress=lambda done: bar.reach(
            behind + done * work.row["decoded"], f"{title(work.row)}  pass {done}/{passes}"
        ),
    )
    bar.note(f"{title(work.row):60} {accuracy}   {accuracy.minutes:.1f} min")
    return {"mean": accuracy.mean, "std": accuracy.std, "minutes": round(accuracy.minutes, 2)}


def add(rows: list[dict[str, Any]], group: list[Work], settings: EvaluationSettings, bar: Stretch) -> None:
    """The rows of a set and its controls, with DD-Ranking's score of the set; what was kept of them goes."""
    rows += [work.row for work in group if not find(rows, work.row, IDENTITY)]
    measured = [find(rows, work.row, IDENTITY) or work.row for work in group]
    score = score_of(measured)
    if score is not None:
        measured[0]["label_robust_score"] = score
        bar.note(f"{title(measured[0]):60} label-robust score {100 * score:.2f} %")
    if settings.csv:
        write_rows(rows, Path(settings.csv))
        for work in group:
            shutil.rmtree(unfinished(settings, work.row), ignore_errors=True)
        remove_empty(Path(settings.csv).with_suffix(".unfinished"))


def score_of(measured: list[dict[str, Any]]) -> float | None:
    """Of the first row, by hard labels; None where random images or all images were not measured."""
    means = {row["set"].split(" beside ")[0]: float(row["mean"]) for row in measured}
    full = measured[0]["full"]
    if "random_real" not in means or full in (None, ""):
        return None
    hard = means.get("hard_labels", float(measured[0]["mean"]))
    return label_robust_score(full=float(full), hard=hard, distilled=hard, random=means["random_real"])


def remove_empty(folder: Path) -> None:
    for each in sorted((path for path in folder.glob("**") if path.is_dir()), reverse=True):
        if not any(each.iterdir()):
            each.rmdir()


def title(row: dict[str, Any]) -> str:
    return f"{row['set']}, {row['architecture']}"
