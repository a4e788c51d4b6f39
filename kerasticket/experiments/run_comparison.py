"""Two runs side by side: how their masks overlap, their accuracies and their barriers, per kind and round."""

import dataclasses
import itertools
import math
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

import kerasticket as kt
from kerasticket.experiments import figures
from kerasticket.files.atomic import check_writable
from kerasticket.files.json_files import read_json
from kerasticket.files.lock import RunLock
from kerasticket.files.rows import write_rows
from kerasticket.models import saved
from kerasticket.params import Params

Row = dict[str, Any]
Loss = Callable[[Params], float]


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Two runs side by side.

    Attributes:
        differing: the settings in which they differ.
        seeds: that both have.
        rows: one for each kind and round that both have trained.
    """

    differing: list[str]
    seeds: tuple[int, ...]
    rows: list[Row]


def compare_runs(first: Path, second: Path, csv_path: Path | None = None) -> Comparison:
    """Compares two runs, and writes the rows into a CSV file if there is to be one."""
    if csv_path:
        check_writable(csv_path.parent)
    one, other = (read_json(folder / "config.json") for folder in (first, second))
    runs = [kt.Run(first), kt.Run(second)]
    results = [run.results() for run in runs]
    seeds = sorted(set.intersection(*({row["init_seed"] for row in each} for each in results)))
    finished = [{(row["init_seed"], row["kind"], row["round"]) for row in each} for each in results]
    both = set.intersection(*finished)
    trained = sorted({key[1:] for key in both if all((seed, *key[1:]) in both for seed in seeds)})
    loss = loss_of(runs[0].ticket(seeds[0], *trained[0]), train_data(one))
    rows = [row(runs, results, seeds, kind, index, loss) for kind, index in trained]
    if csv_path:
        with RunLock.of_file(csv_path):
            write_rows(rows, csv_path)
    return Comparison(sorted({name for name in one if one[name] != other.get(name)} - {"out"}), tuple(seeds), rows)


def loss_of(ticket: Path, data: Any) -> Loss:
    """A function from the weights of that ticket's network to their loss on the data."""
    judge = saved.load(ticket)
    judge.compile(loss=keras.losses.CategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    batches = kt.data.pipeline(data, batch_size=256, shuffle=False)

    def loss(params: Params) -> float:
        kt.set_params(judge, params)
        return kt.training.evaluate(judge, batches)["loss"]

    return loss


def row(runs: list[kt.Run], results: list[list[Row]], seeds: list[int], kind: str, index: int, loss: Loss) -> Row:
    """One line of the table."""
    masks = [[kt.Ticket.load(run.ticket(seed, kind, index)).mask for seed in seeds] for run in runs]
    between_runs = [kt.analysis.mask_overlap(a, b).iou for a, b in zip(*masks, strict=True)]
    between_seeds = [kt.analysis.mask_overlap(a, b).iou for a, b in itertools.combinations(masks[0], 2)]
    line: Row = {"kind": kind, "round": index}
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
    mean, std = figures.mean_and_std(values)  # statistics.stdev cannot take NaN, a barrier without two data orders
    return {name: mean, f"{name}, std": std if len(values) > 1 else 0.0}


def train_data(config: dict[str, Any]) -> Any:
    options = {name: config[name] for name in ("images_per_class", "image_size", "data_dir")}
    return kt.data.load(config["dataset"], **options)


def barrier(folder: Path, loss: Loss) -> float:
    """Loss at the midpoint of the networks of two data orders, minus the mean of the ends; NaN without two."""
    orders = sorted(folder.glob("order_*/trained.keras"))[:2]
    if len(orders) < 2:
        return float("nan")
    ends = [kt.get_params(saved.load(path)) for path in orders]
    middle = {path: (ends[0][path] + ends[1][path]) / 2 for path in ends[0]}
    return loss(middle) - (loss(ends[0]) + loss(ends[1])) / 2
