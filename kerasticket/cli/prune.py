"""Distilled pruning against IMP and random masks: accuracy and data used at every sparsity (paper, Fig. 2).

    python scripts/distilled_pruning.py                          # digits, minutes on two cores
    python scripts/distilled_pruning.py --preset cifar10-cpu     # CIFAR-10 at a size for two cores, under an hour
    python scripts/distilled_pruning.py --preset cifar10-paper   # the paper's size: days on one GPU

    python scripts/distilled_pruning.py --executor processes --workers 2 --threads-per-worker 1
    python scripts/distilled_pruning.py --dry-run                # jobs, time and disk

Every finished round and training is kept in --out: the same command again goes on where it was killed.
"""

import time
from pathlib import Path

from kerasticket.backend.quiet import import_keras
from kerasticket.cli.execution import Execution
from kerasticket.cli.parsing import parse
from kerasticket.cli.progress import Progress
from kerasticket.experiments.config import CONFIGS, Config


def main(config: Config, execution: Execution = Execution()) -> None:  # noqa: B008  (frozen)
    execution.prepare(config.out)
    import_keras()
    from kerasticket.cli import accuracy_table, plan_table
    from kerasticket.experiments.costs import estimate
    from kerasticket.experiments.distilled_pruning import finish
    from kerasticket.experiments.experiment import Experiment
    from kerasticket.experiments.study import PruningStudy, Settings

    started = time.perf_counter()
    if execution.dry_run:
        experiment = Experiment.load(config)
        experiment.check()
        plan_table.show(estimate(experiment, execution.count()), config.out)
        return
    study = PruningStudy.open(Settings(config))
    print("\n".join(study.experiment.about()) + "\n")
    with Progress(log=study.folder / "events.jsonl") as progress:
        run = finish(study, listener=progress, **execution.options())
    accuracy_table.show(run.results(), f"{config.dataset}, {config.model}")
    print(f"\n{time.perf_counter() - started:.0f} s; everything lies in {Path(config.out).resolve()}")


def run(arguments: list[str]) -> None:
    main(*parse(arguments, CONFIGS, doc=__doc__))
