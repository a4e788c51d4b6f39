"""Criteria side by side: accuracy at 80, 90 and 98% sparsity by IMP with rewinding, SNIP, GraSP, SynFlow and others.

    python scripts/criterion_table.py                          # digits, minutes on two cores
    python scripts/criterion_table.py --preset cifar10-cpu     # CIFAR-10 at a size for two cores, hours

IMP is rewound to epoch 1 and has --imp-seeds initializations, for it trains a network per round; all others prune at
initialization, without training, and have one per --init-seeds. Data are ten images of each class for SNIP and GraSP;
SynFlow takes 100 rounds. At each sparsity all keep exactly as many weights: --fraction and --train-rounds, the rounds
of IMP that are compared, say how many. Every ticket is then trained alike, to the last epoch.

--out has all tickets and trainings, results.csv, table.md and figure.png. Every finished training is kept there, and
the same command goes on where it was killed. Flags are those of distilled_pruning.py, --imp-seeds N and --criteria
NAME... beside them.
"""

import argparse
import dataclasses
import time
from pathlib import Path
from typing import Any

from kerasticket.backend.quiet import import_keras
from kerasticket.cli.parsing import parse
from kerasticket.cli.progress import Progress
from kerasticket.experiments.config import CONFIGS, Config

CRITERIA = ("snip", "grasp", "synflow", "magnitude", "random")
IMAGES_PER_CLASS = 10  # that criteria see
TENTH = 1 - 0.1**0.1  # of which 7, 10 and 17 rounds prune 80.05, 90.00 and 98.00%

_COMPARED: dict[str, Any] = {"rounds": 17, "train_rounds": (7, 10, 17), "fraction": TENTH, "rewind_epoch": 1}
_COMPARED |= {"init_seeds": (0, 1, 2), "kinds": ("imp",), "distilled": "none", "keep_trained": False}

PRESETS: dict[str, Config] = {
    name: dataclasses.replace(CONFIGS[name], out=f"runs/criteria-{name}", **_COMPARED)
    for name in ("digits", "cifar10-cpu")
}


def main(config: Config, imp_seeds: int, criteria: tuple[str, ...]) -> None:
    import_keras()
    from kerasticket.experiments.experiment import Experiment

    started = time.perf_counter()
    check(config, imp_seeds, criteria)
    progress = Progress()
    experiment = Experiment.open(config, progress)
    print("\n".join(experiment.about()) + "\n")
    parts = {seed: of_seed(experiment, place < imp_seeds, criteria) for place, seed in enumerate(config.init_seeds)}
    progress.total = sum(part.work(seed) for seed, part in parts.items())
    with progress:
        for seed, part in parts.items():
            find(part, seed, criteria)
            part.train_tickets(seed)
    report(experiment.run, f"{config.dataset}, {config.model}, trained for {config.epochs} epochs")
    for seed, part in parts.items():
        part.close((seed,))
    print(f"\n{time.perf_counter() - started:.0f} s; everything lies in {Path(config.out).resolve()}")


def check(config: Config, imp_seeds: int, criteria: tuple[str, ...]) -> None:
    """Raises ValueError for what only this script can get wrong."""
    from kerasticket.pruning.criteria import get

    for criterion in criteria:
        get(criterion)
    if config.kinds != ("imp",) or config.start:
        raise ValueError("Expected neither --kinds nor --start here: what is compared are IMP and the --criteria.")
    if not 1 <= imp_seeds <= len(config.init_seeds):
        raise ValueError(f"Expected --imp-seeds in 1..{len(config.init_seeds)}. Received: {imp_seeds}.")


def of_seed(experiment, imp: bool, criteria: tuple[str, ...]):
    """The experiment with the kinds of ticket that one seed has; networks and pipelines are shared."""
    kinds = (*(("imp",) if imp else ()), *criteria)
    return dataclasses.replace(experiment, config=dataclasses.replace(experiment.config, kinds=kinds))


def find(experiment, seed: int, criteria: tuple[str, ...]) -> None:
    """The tickets of IMP, if it is among the kinds, and of each criterion at the same numbers of weights."""
    searched = tuple(kind for kind in experiment.config.kinds if kind == "imp")
    dataclasses.replace(experiment, config=dataclasses.replace(experiment.config, kinds=searched)).find_tickets(seed)
    for criterion in criteria:
        for index in experiment.train_rounds():
            path = experiment.run.ticket(seed, criterion, index)
            if not path.exists():
                at_initialization(experiment, seed, criterion, index).save(path)


def at_initialization(experiment, seed: int, criterion: str, index: int):
    """The ticket of a criterion that keeps as many weights as IMP after `index` rounds."""
    import kerasticket as kt

    dense, model = experiment.start_ticket(seed), experiment.model("imp")
    dense.apply(model)
    sparsity = 1 - kept_after(index, dense.total, experiment.config.fraction) / dense.total
    images = experiment.train.subset(IMAGES_PER_CLASS, seed)
    # Only GraSP and SNIP look at the data.
    return kt.callbacks.PruneAtInitialization(criterion, sparsity, data=images, seed=seed).find(model)


def kept_after(rounds: int, total: int, fraction: float) -> int:
    """Weights that iterative pruning leaves of `total`."""
    from kerasticket.masks import number_to_prune

    for _ in range(rounds):
        total -= number_to_prune(total, fraction)
    return total


def report(run, title: str) -> None:
    """results.csv, table.md and figure.png, from the files of the run alone."""
    from kerasticket.experiments import figures
    from kerasticket.files.atomic import atomic
    from kerasticket.files.rows import write_rows

    order = ("dense", "imp")
    rows = sorted((row for row in run.results() if compared(row, run)), key=lambda row: row["kind"] not in order)
    write_rows(rows, run.folder / "results.csv")
    text = table(rows, title)
    with atomic(run.folder / "table.md") as temporary:
        temporary.write_text(text)
    with atomic(run.folder / "figure.png") as temporary:
        figures.criterion_curves(rows, title).savefig(temporary, dpi=150)
    print(f"\n{text}")


def compared(row: dict, run) -> bool:
    """The rounds on IMP's way are results too, of which the table has some."""
    from kerasticket.files.json_files import read_json

    rounds = read_json(run.folder / "config.json")["train_rounds"]
    return row["kind"] == "dense" or rounds is None or row["round"] in rounds


def table(rows: list[dict], title: str) -> str:
    """Markdown: test accuracy in %, mean ± sample standard deviation over seeds, one line per kind."""
    sparsities = sorted({row["sparsity"] for row in rows if row["kind"] != "dense"})
    lines = [f"{title}: test accuracy in %, mean ± std over seeds", ""]
    lines += ["| ticket | seeds | " + " | ".join(f"{sparsity:.2%}" for sparsity in sparsities) + " |"]
    lines += ["|" + "---|" * (2 + len(sparsities))]
    for kind in dict.fromkeys(row["kind"] for row in rows):
        of_kind = [row for row in rows if row["kind"] == kind]
        levels = sparsities if kind != "dense" else [0.0] * len(sparsities)
        cells = [cell([row["accuracy"] for row in of_kind if row["sparsity"] == level]) for level in levels]
        lines.append(" | ".join([f"| {kind}", str(len({row["init_seed"] for row in of_kind})), *cells]) + " |")
    return "\n".join(lines) + "\n"


def cell(accuracies: list[float]) -> str:
    from kerasticket.experiments.figures import mean_and_std

    if not accuracies:
        return "-"
    mean, std = mean_and_std(100 * accuracy for accuracy in accuracies)
    return f"{mean:.2f} ± {std:.2f}" if len(accuracies) > 1 else f"{mean:.2f}"


def read_arguments(arguments: list[str]) -> tuple[Config, int, tuple[str, ...]]:
    own = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    own.add_argument("--imp-seeds", type=int, default=2)
    own.add_argument("--criteria", nargs="+", default=CRITERIA)
    known, rest = own.parse_known_args(arguments)
    return parse(rest, PRESETS, doc=__doc__), known.imp_seeds, tuple(known.criteria)


def run(arguments: list[str]) -> None:
    main(*read_arguments(arguments))
