"""A regime atlas: distilled pruning at every point of a grid of settings, accuracy and barrier in one figure.

    python scripts/sweep.py --set learning_rate=.01,.03,.1 --set width=8,16                # digits
    kerasticket sweep --preset cifar10-cpu --set learning_rate=.01,.1 --executor processes --workers 2

Every point is a run of its own in --out; what points have in common is done once. Each ticket is trained in two data
orders, between which the barrier is measured; --data-orders names others, or one, without barriers. Flags are those of
`kerasticket prune`; the same command goes on where it was killed.
"""

import argparse
import time
from pathlib import Path
from typing import Any

from kerasticket.backend.quiet import import_keras
from kerasticket.cli.execution import Execution
from kerasticket.cli.parsing import parse
from kerasticket.cli.progress import Progress
from kerasticket.experiments import points
from kerasticket.experiments.config import CONFIGS, Config

PRESETS = {
    name: config.replace(out=f"runs/sweep-{name}", data_orders=(*config.data_orders, 2)[:2])
    for name, config in CONFIGS.items()
}


def main(config: Config, values: dict[str, Any], execution: Execution = Execution()) -> None:  # noqa: B008  (frozen)
    execution.prepare(config.out)
    import_keras()
    from kerasticket.experiments.sweep import Sweep, finish

    started = time.perf_counter()
    study = Sweep.open(config, values)
    print(f"{len(study.points)} points\n" + "\n".join([*study.opened[0].about(), ""]))
    with Progress(log=study.folder / "events.jsonl") as progress:
        table = finish(study, listener=progress, **execution.options())
    last = table[table["round"] == table["round"].max()]
    columns = ["accuracy", *(["midpoint_barrier"] if last.midpoint_barrier.notna().any() else [])]
    print(last.groupby([*values, "kind"])[columns].mean().round(4).to_string())
    seconds = time.perf_counter() - started
    print(f"\n{seconds:.0f} s; sweep.csv, sweep.png and all runs lie in {Path(config.out).resolve()}")


def read_arguments(arguments: list[str]) -> tuple[Config, dict[str, Any], Execution]:
    own = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    own.add_argument("--set", action="append", default=[])
    known, rest = own.parse_known_args(arguments)
    values: dict[str, Any] = {}
    for text in known.set:
        name, given = points.parse(text)
        if name in values:
            raise ValueError(f"Expected each field once in --set. Received: {name} twice.")
        values[name] = given
    config, execution = parse(rest, PRESETS, doc=__doc__)
    points.points(config, values)  # refused before Keras is there
    execution.refuse_dry_run()
    return config, values, execution


def run(arguments: list[str]) -> None:
    main(*read_arguments(arguments))
