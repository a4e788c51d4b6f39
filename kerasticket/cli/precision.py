"""What another precision (or backend, or machine) changes: two runs of `distilled_pruning.py`, side by side.

    python scripts/distilled_pruning.py --data-orders 1 2 --train-rounds 4 9 --out runs/float32
    python scripts/distilled_pruning.py --data-orders 1 2 --train-rounds 4 9 --out runs/bfloat16 --precision mixed_bfloat16
    python scripts/compare_runs.py runs/float32 runs/bfloat16 --csv assets/results/precision.csv
    python scripts/distilled_pruning.py --data-orders 2 1 --train-rounds 4 9 --out runs/order2
    python scripts/compare_runs.py runs/float32 runs/order2 --csv assets/results/data_order.csv

Per kind and round, mean and sample std over the seeds that both have: overlap of the two runs' masks (IoU, beside
that of two seeds of the first run), test accuracy, and the midpoint barrier in train loss between two data orders.
The last two commands give what to judge a precision by: what another data order of the search changes.
"""  # noqa: E501  (commands that can be pasted)

import argparse
import itertools
import math
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kerasticket.backend.quiet import import_keras
from kerasticket.cli.door import program


def main(first: Path, second: Path, csv_path: Path | None) -> None:
    import_keras()
    import keras
    from rich.console import Console
    from rich.table import Table

    import kerasticket as kt
    from kerasticket.files.atomic import check_writable
    from kerasticket.files.json_files import read_json
    from kerasticket.files.lock import RunLock
    from kerasticket.files.rows import write_rows
    from kerasticket.models import saved

    if csv_path:
        check_writable(csv_path.parent)

    configs = [read_json(folder / "config.json") for folder in (first, second)]
    differing = {name for name in configs[0] if configs[0][name] != configs[1].get(name)} - {"out"}
    print(f"differ in: {', '.join(sorted(differing)) or 'nothing'}")
    runs = [kt.Run(first), kt.Run(second)]
    results = [run.results() for run in runs]
    seeds = sorted(set.intersection(*({row["init_seed"] for row in each} for each in results)))
    finished = [{(row["init_seed"], row["kind"], row["round"]) for row in each} for each in results]
    both = set.intersection(*finished)
    trained = sorted({key[1:] for key in both if all((seed, *key[1:]) in both for seed in seeds)})
    data = train_data(configs[0])
    judge = saved.load(runs[0].ticket(seeds[0], *trained[0]))
    judge.compile(loss=keras.losses.CategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    batches = kt.data.pipeline(data, batch_size=256, shuffle=False)

    def loss(params) -> float:
        kt.set_params(judge, params)
        return kt.training.evaluate(judge, batches)["loss"]

    rows = [row(kt, runs, results, seeds, kind, index, loss) for kind, index in trained]
    if csv_path:
        with RunLock.of_file(csv_path):
            write_rows(rows, csv_path)
    table = Table(title=f"{first.name} and {second.name}, {len(seeds)} seeds")
    for heading in rows[0]:
        table.add_column(heading, justify="right")
    for each in rows:
        table.add_row(*(f"{value:.3f}" if isinstance(value, float) else str(value) for value in each.values()))
    Console(width=150).print(table)


def row(kt, runs, results, seeds, kind: str, index: int, loss: Callable) -> dict[str, Any]:
    """One line of the table."""
    masks = [[kt.Ticket.load(run.ticket(seed, kind, index)).mask for seed in seeds] for run in runs]
    between_runs = [kt.analysis.mask_overlap(a, b).iou for a, b in zip(*masks, strict=True)]
    between_seeds = [kt.analysis.mask_overlap(a, b).iou for a, b in itertools.combinations(masks[0], 2)]
    line: dict[str, Any] = {"kind": kind, "round": index}
    line |= spread("IoU of the runs", between_runs) | {"IoU of seeds": statistics.mean(between_seeds or [math.nan])}
    for name, run, rows in zip(("first", "second"), runs, results, strict=True):
        accuracies = [
            statistics.mean(
                each["accuracy"] for each in rows if (each["init_seed"], each["kind"], each["round"]) == key
            )
            for key in ((seed, kind, index) for seed in seeds)
        ]
        line |= spread(f"accuracy, {name}", accuracies)
        line |= spread(f"barrier, {name}", [barrier(run.round(seed, kind, index), loss) for seed in seeds])
    return line


def spread(name: str, values: list[float]) -> dict[str, float]:
    from kerasticket.experiments.figures import mean_and_std

    mean, std = mean_and_std(values)  # statistics.stdev cannot take the NaN of a barrier without two data orders
    return {name: mean, f"{name}, std": std if len(values) > 1 else 0.0}


def train_data(config: dict[str, Any]):
    import kerasticket as kt

    options = {name: config[name] for name in ("images_per_class", "image_size", "data_dir")}
    return kt.data.load(config["dataset"], **options)


def barrier(folder: Path, loss: Callable) -> float:
    """Loss at the midpoint of the networks of two data orders, minus the mean of the ends; NaN without two."""
    import kerasticket as kt
    from kerasticket.models import saved

    orders = sorted(folder.glob("order_*/trained.keras"))[:2]
    if len(orders) < 2:
        return float("nan")
    ends = [kt.get_params(saved.load(path)) for path in orders]
    middle = {path: (ends[0][path] + ends[1][path]) / 2 for path in ends[0]}
    return loss(middle) - (loss(ends[0]) + loss(ends[1])) / 2


def run(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog=program(), description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("first", type=Path)
    parser.add_argument("second", type=Path)
    parser.add_argument("--csv", type=Path)
    options = parser.parse_args(arguments)
    main(options.first, options.second, options.csv)
