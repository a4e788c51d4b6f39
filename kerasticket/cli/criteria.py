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
import time
from pathlib import Path

from kerasticket.backend.quiet import import_keras
from kerasticket.cli.execution import Execution
from kerasticket.cli.parsing import parse
from kerasticket.cli.progress import Progress
from kerasticket.experiments.config import CRITERIA_CONFIGS, Config

CRITERIA = ("snip", "grasp", "synflow", "magnitude", "random")


def main(
    config: Config,
    imp_seeds: int,
    criteria: tuple[str, ...],
    execution: Execution = Execution(),  # noqa: B008  (frozen)
) -> None:
    execution.prepare(config.out)
    import_keras()
    from kerasticket.experiments.criteria import CriteriaStudy, finish

    started = time.perf_counter()
    study = CriteriaStudy.open(config, imp_seeds, criteria)
    print("\n".join(study.experiment.about()) + "\n")
    with Progress(log=study.folder / "events.jsonl") as progress:
        run = finish(study, listener=progress, **execution.options())
    report(run, f"{config.dataset}, {config.model}, trained for {config.epochs} epochs")
    print(f"\n{time.perf_counter() - started:.0f} s; everything lies in {Path(config.out).resolve()}")


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


def read_arguments(arguments: list[str]) -> tuple[Config, int, tuple[str, ...], Execution]:
    own = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    own.add_argument("--imp-seeds", type=int, default=2)
    own.add_argument("--criteria", nargs="+", default=CRITERIA)
    known, rest = own.parse_known_args(arguments)
    config, execution = parse(rest, CRITERIA_CONFIGS, doc=__doc__)
    execution.refuse_dry_run()
    return config, known.imp_seeds, tuple(known.criteria), execution


def run(arguments: list[str]) -> None:
    main(*read_arguments(arguments))
