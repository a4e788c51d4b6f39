"""Are tickets stable? Loss and accuracy between trainings that differ in data order alone (paper, Figs. 3 and 4).

    python scripts/distilled_pruning.py --out runs/digits --data-orders 1 2       # minutes; each ticket trained twice
    python scripts/instability.py runs/digits                                     # a minute
    python scripts/instability.py runs/cifar10-cpu --rounds 4 9 --statistics reestimate

Takes every two data orders of each ticket that a run has trained. Writes curves.csv, barriers.csv and the figure
into RUN/instability; curves that are there are not evaluated again, so a killed command goes on where it was.
"""

import dataclasses
import itertools
import time
from pathlib import Path
from typing import Any

import tyro

from kerasticket.backend.quiet import import_keras
from kerasticket.cli.door import program

IDENTITY = ("kind", "round", "init_seed", "first_order", "second_order", "split", "statistics")
NUMBERS: dict[str, type] = dict.fromkeys(("round", "init_seed", "first_order", "second_order"), int)
NUMBERS |= dict.fromkeys(("sparsity", "mask_overlap", "alpha", "loss", "accuracy"), float)
CURVES = (*IDENTITY, "sparsity", "mask_overlap", "alpha", "loss", "accuracy")


@dataclasses.dataclass(frozen=True)
class Config:
    """What is compared, and how."""

    run: tyro.conf.Positional[str]
    """Folder of a run of distilled_pruning.py with at least two --data-orders."""
    kinds: tuple[str, ...] = ()
    """imp, synthetic, random; default: all that the run has trained. The dense network always is."""
    rounds: tuple[int, ...] = ()
    """Rounds of pruning; default: all that the run has trained."""
    init_seeds: tuple[int, ...] = ()
    """Seeds of the initial weights; default: all of the run."""
    alphas: int = 11
    """Points on the line between two networks, the ends among them; 11 in the paper, 30 in Frankle et al. 2020."""
    statistics: str = "interpolate"
    """Of batch normalization: "interpolate" as the paper's code, or "reestimate" at each point."""
    out: str | None = None
    """Folder of the results; default: RUN/instability."""


def main(config: Config) -> None:
    import_keras()
    from kerasticket.cli.progress import Progress
    from kerasticket.experiments.stability_report import write_report
    from kerasticket.experiments.trained_run import TrainedRun
    from kerasticket.files.rows import read_rows, write_rows

    started = time.perf_counter()
    run = TrainedRun.open(config.run)
    out = Path(config.out or Path(config.run) / "instability")
    pairs = planned(config, run)
    run.claim(out)
    rows = read_rows(out / "curves.csv", CURVES, NUMBERS)
    missing = [pair for pair in pairs if not has(rows, pair, config)]
    if missing:
        lines = Lines(config, run, missing[0][0])
        with Progress(total=len(missing) * 2 * lines.points) as bar:
            for subnetwork, orders in missing:
                for row in lines.between(subnetwork, orders, bar):
                    rows.append(row)
                write_rows(rows, out / "curves.csv")
    write_report(rows, out, f"{run.config.dataset}, {run.config.model}", config.statistics)
    run.close()
    print(f"\n{time.perf_counter() - started:.0f} s; curves.csv, barriers.csv and the figure lie in {out.resolve()}")


def planned(config: Config, run: Any) -> list[tuple[Any, tuple[int, int]]]:
    """The pairs to be walked between; bad settings are refused here, before any work."""
    from kerasticket.analysis.connectivity import check_statistics, grid

    check_statistics(config.statistics)
    grid(config.alphas)
    chosen = run.chosen(config.kinds, config.rounds, config.init_seeds)
    pairs = [(of, pair) for of in chosen for pair in itertools.combinations(sorted(run.trainings[of]), 2)]
    if not pairs:
        orders = " ".join(str(order) for order in (*run.config.data_orders, max(run.config.data_orders) + 1))
        raise ValueError(
            f"Expected tickets trained in at least two data orders in '{config.run}'. Received: one each. "
            f"Run the command of that run again with --data-orders {orders}; what is finished stays."
        )
    return pairs


def has(rows: list[dict[str, Any]], pair: tuple[Any, tuple[int, int]], config: Config) -> bool:
    """Whether the curves of a pair are among the rows, on both splits and at the alphas that are asked for."""
    from kerasticket.analysis.connectivity import grid
    from kerasticket.files.rows import find

    (of, (first, second)) = pair
    identity = {"kind": of.kind, "round": of.round, "init_seed": of.init_seed, "statistics": config.statistics}
    identity |= {"first_order": first, "second_order": second}
    wanted = [
        identity | {"split": split, "alpha": alpha} for split in ("train", "test") for alpha in grid(config.alphas)
    ]
    return all(find(rows, row, (*IDENTITY, "alpha")) for row in wanted)


class Lines:
    """Evaluates lines between networks of a run: one model and one compiled function for all of them."""

    def __init__(self, config: Config, run: Any, any_of: Any):
        from kerasticket.analysis import Objective
        from kerasticket.analysis.connectivity import grid

        self.config, self.run, self.model = config, run, run.model(any_of)
        self.objectives = {split: Objective(self.model, run.images(split)) for split in ("train", "test")}
        self.points = len(grid(config.alphas))

    def between(self, of: Any, orders: tuple[int, int], bar: Any) -> list[dict[str, Any]]:
        """Rows of the two curves between two trainings of a ticket."""
        import kerasticket as kt

        a, b = (self.run.params(of, order) for order in orders)
        rows = []
        for split, objective in self.objectives.items():
            curve = kt.analysis.linear_path(
                self.model, a, b, objective, alphas=self.config.alphas, statistics=self.config.statistics
            )
            bar.advance(self.points, f"{of}  orders {orders[0]} and {orders[1]}  {split}")
            about = of._asdict() | {"first_order": orders[0], "second_order": orders[1], "split": split}
            # What was asked for, so that the same command finds it again; networks without statistics have no choice.
            about |= {"statistics": self.config.statistics, "mask_overlap": curve.mask_overlap}
            points = zip(curve.alphas.tolist(), curve.loss.tolist(), curve.accuracy.tolist(), strict=True)
            for values in points:
                row = about | dict(zip(("alpha", "loss", "accuracy"), values, strict=True))
                rows.append({column: row[column] for column in CURVES})
        bar.line(f"{of}  orders {orders[0]} and {orders[1]}  midpoint barrier {_midpoint(rows):.3f} (train loss)")
        return rows


def _midpoint(rows: list[dict[str, Any]]) -> float:
    losses = {row["alpha"]: row["loss"] for row in rows if row["split"] == "train"}
    return losses[0.5] - (losses[0.0] + losses[1.0]) / 2


def run(arguments: list[str]) -> None:
    main(tyro.cli(Config, description=__doc__, prog=program(), args=arguments))
