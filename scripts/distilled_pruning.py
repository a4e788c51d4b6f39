"""Distilled pruning against IMP and random masks: accuracy and data used at every sparsity (paper, Fig. 2).

    python scripts/distilled_pruning.py                          # digits, minutes on two cores
    python scripts/distilled_pruning.py --preset cifar10-cpu     # CIFAR-10 at a size for two cores, under an hour
    python scripts/distilled_pruning.py --preset cifar10-paper   # the paper's size: days on one GPU

Every finished round and training is kept in --out: the same command again goes on where it was killed.
"""

import sys
import time
from pathlib import Path

from door import door
from presets import CONFIGS, Config, parse
from quiet import import_keras


def main(config: Config) -> None:
    import_keras()
    from experiment import Experiment
    from report import write_report

    started = time.perf_counter()
    experiment = Experiment.open(config)
    experiment.announce()
    with experiment.progress:
        for seed in config.init_seeds:
            experiment.find_tickets(seed)
            experiment.train_tickets(seed)
    write_report(experiment.run, f"{config.dataset}, {config.model}")
    experiment.close()
    print(f"\n{time.perf_counter() - started:.0f} s; everything lies in {Path(config.out).resolve()}")


if __name__ == "__main__":
    with door():
        main(parse(sys.argv[1:], CONFIGS, doc=__doc__))
