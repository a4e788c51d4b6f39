"""How good the tickets are that each of several distilled sets finds, beside random real images and 'mix'.

    python scripts/compare_sets.py --sets assets/distilled/digits_ipc1.h5 assets/distilled/digits_ipc10.h5
    python scripts/compare_sets.py --sets assets/distilled/cifar10_ipc10.h5 mtt:images_best.pt --preset cifar10-cpu

A set is a file of ours, or FORMAT:PATH for one of another project (idc, mtt, dc, ...). Each is the inner loop of a run
of `distilled_pruning.py`, whose presets and flags hold here too; the controls have as many images per class as the
first set. Accuracy is on real test images after training the ticket on real images, in the space of the set: sets in
ZCA space stand beside a dense network trained on whitened images. --out has a folder for each set, and all results in
sets.csv (or --csv FILE). A run that was killed goes on where it was.
"""

import argparse
import dataclasses
from pathlib import Path

from kerasticket.backend.quiet import import_keras
from kerasticket.cli.execution import Execution
from kerasticket.cli.parsing import parse
from kerasticket.cli.progress import Progress
from kerasticket.experiments.config import CONFIGS, Config

COLUMNS = (
    "kind",
    "round",
    "init_seed",
    "data_order",
    "sparsity",
    "loss",
    "accuracy",
    "train_loss",
    "stored",
    "decoded",
)


def main(
    config: Config,
    names: list[str],
    csv_path: Path,
    execution: Execution = Execution(),  # noqa: B008  (frozen)
) -> None:
    execution.prepare(config.out)
    import_keras()
    from kerasticket.files.atomic import check_writable
    from kerasticket.files.lock import RunLock

    for folder in (Path(config.out), csv_path.parent):
        check_writable(folder)
    with RunLock.of_folder(config.out), RunLock.of_file(csv_path):
        compare(config, names, csv_path, execution)
    print(f"Results: {csv_path.resolve()}")


def compare(config: Config, names: list[str], csv_path: Path, execution: Execution) -> None:
    """Finds and trains the tickets of all sets, one after the other."""
    from kerasticket.experiments.distilled_pruning import finish
    from kerasticket.experiments.study import PruningStudy, Settings
    from kerasticket.files.rows import write_rows

    found = sets(config, names)
    studies = {name: PruningStudy.open(Settings(of_set(config, name, each))) for name, each in found.items()}
    rows: list[dict] = []
    for name, study in studies.items():
        print("\n".join(["", name, *study.experiment.about(), ""]))
        with Progress() as progress:
            finish(study, listener=progress, **execution.options())
        about = {"set": name, "space": found[name].space, "images": len(found[name])}
        rows += [about | {column: row[column] for column in COLUMNS} for row in study.experiment.run.results()]
        write_rows(rows, csv_path)
    show(rows)


def sets(config: Config, names: list[str]) -> dict:
    """The sets by name, each read before any work is done, and the controls of the first."""
    import kerasticket as kt
    from kerasticket.distillation.controls import controls

    train = kt.data.load(config.dataset, "train", data_dir=config.data_dir, image_size=config.image_size)
    if not isinstance(train, kt.data.ImageSet):
        raise ValueError(
            f"Random images of '{config.dataset}' need it in memory. Received: a data set that is streamed."
        )
    found = {}
    for name in names:
        form, colon, path = name.partition(":")
        title = Path(path if colon else name).stem
        if title in found:
            raise ValueError(f"Expected --sets with distinct file names. Received: '{title}' twice.")
        found[title] = kt.data.importers.read(path, form, real=train) if colon else kt.data.DistilledSet.load(name)
    beside = controls(next(iter(found.values())), train)
    if set(found) & set(beside):
        raise ValueError(f"Expected --sets with other names than the controls {list(beside)}. Received: {list(found)}.")
    return found | beside


def of_set(config: Config, name: str, distilled) -> Config:
    """The run of one set, whose file lies in the folder of all."""
    import kerasticket as kt
    from kerasticket.data.digest import digest

    path = Path(config.out) / f"{name}.h5"
    if path.exists() and not config.force and digest(kt.data.DistilledSet.load(path)) != digest(distilled):
        raise ValueError(
            f"'{path}' is another set of that name, from an earlier call: choose another --out, or start again with "
            "--force. The controls depend on the first of the --sets."
        )
    distilled.save(path)
    return dataclasses.replace(config, distilled=str(path), out=str(path.with_suffix("")), kinds=("synthetic",))


def show(rows: list[dict]) -> None:
    """One line per set: test accuracy at each round, in %."""
    from rich.console import Console
    from rich.table import Table

    from kerasticket.experiments import figures

    rounds = sorted({(row["round"], row["sparsity"]) for row in rows})
    table = Table(title="test accuracy (%) of tickets trained on real images")
    for heading in ("set", "space", "images", *(f"round {index} ({sparsity:.1%})" for index, sparsity in rounds)):
        table.add_column(heading, justify="right")
    for name in dict.fromkeys(row["set"] for row in rows):
        of_name = [row for row in rows if row["set"] == name]
        cells = []
        for index, _ in rounds:
            accuracies = [100 * row["accuracy"] for row in of_name if row["round"] == index]
            mean, std = figures.mean_and_std(accuracies)
            cells.append(f"{mean:.2f} ± {std:.2f}" if len(accuracies) > 1 else f"{mean:.2f}")
        table.add_row(name, of_name[0]["space"], str(of_name[0]["images"]), *cells)
    Console(highlight=False, width=130).print(table)


def read_arguments(arguments: list[str]) -> tuple[Config, list[str], Path, Execution]:
    """Configuration of the runs, sets, and the CSV file, which is sets.csv in --out if none is named."""
    own = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    own.add_argument("--sets", nargs="+")
    own.add_argument("--csv")
    decided = ("--distilled", "--kinds")
    for flag in decided:
        own.add_argument(flag, nargs="*")
    known, rest = own.parse_known_args(arguments)
    config, execution = parse(rest, CONFIGS, doc=__doc__)
    execution.refuse_dry_run()
    if not known.sets:
        raise ValueError("Expected --sets FILE... Received: none.")
    given = [flag for flag in decided if getattr(known, flag[2:]) is not None]
    if given:
        raise ValueError(f"Every run here is of kind synthetic, with one of the --sets. Received: {', '.join(given)}.")
    return config, known.sets, Path(known.csv or Path(config.out) / "sets.csv"), execution


def run(arguments: list[str]) -> None:
    main(*read_arguments(arguments))
