"""Distilled pruning against IMP and random masks: accuracy and data used at every sparsity (paper, Fig. 2).

    python scripts/distilled_pruning.py                          # digits, minutes on two cores
    python scripts/distilled_pruning.py --preset cifar10-cpu     # CIFAR-10 at a size for two cores, under an hour
    python scripts/distilled_pruning.py --preset cifar10-paper   # the paper's size: days on one GPU

Every finished round and training is kept in --out: the same command again goes on where it was killed.
"""

import time
from pathlib import Path

from kerasticket.backend.quiet import import_keras
from kerasticket.cli.parsing import parse
from kerasticket.cli.progress import Progress
from kerasticket.experiments.config import CONFIGS, Config


def main(config: Config) -> None:
    import_keras()
    from kerasticket.cli.accuracy_table import show
    from kerasticket.experiments.experiment import Experiment
    from kerasticket.experiments.report import write_report

    started = time.perf_counter()
    progress = Progress()
    experiment = Experiment.open(config, progress)
    print("\n".join(experiment.about()) + "\n")
    progress.total = sum(experiment.work(seed) for seed in config.init_seeds)
    with progress:
        for seed in config.init_seeds:
            experiment.find_tickets(seed)
            experiment.train_tickets(seed)
    title = f"{config.dataset}, {config.model}"
    write_report(experiment.run, title)
    show(experiment.run.results(), title)
    experiment.close()
    print(f"\n{time.perf_counter() - started:.0f} s; everything lies in {Path(config.out).resolve()}")


def run(arguments: list[str]) -> None:
    main(parse(arguments, CONFIGS, doc=__doc__))
