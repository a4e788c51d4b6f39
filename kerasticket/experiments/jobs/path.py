"""Loss and accuracy on lines between trainings of a run's tickets that differ in data order alone."""

import itertools
from pathlib import Path
from typing import Any

import kerasticket as kt
from kerasticket.analysis import Objective
from kerasticket.analysis.connectivity import check_statistics, grid
from kerasticket.experiments.events import Listener, ignore
from kerasticket.experiments.outcome import Outcome
from kerasticket.experiments.settings import PathSettings
from kerasticket.experiments.stability_report import write_report
from kerasticket.experiments.telling import Stretch, stretch
from kerasticket.experiments.trained_run import Subnetwork, TrainedRun
from kerasticket.files.rows import find, read_rows, write_rows

IDENTITY = ("kind", "round", "init_seed", "first_order", "second_order", "split", "statistics")
NUMBERS: dict[str, type] = dict.fromkeys(("round", "init_seed", "first_order", "second_order"), int)
NUMBERS |= dict.fromkeys(("sparsity", "mask_overlap", "alpha", "loss", "accuracy"), float)
CURVES = (*IDENTITY, "sparsity", "mask_overlap", "alpha", "loss", "accuracy")
SPLITS = ("train", "test")

Pair = tuple[Subnetwork, tuple[int, int]]


def stability(settings: PathSettings, listener: Listener = ignore) -> Outcome:
    """Walks the lines that curves.csv does not have yet; writes it, barriers.csv and the figure.

    Returns:
        The barriers, as barriers.csv has them, of the way with statistics that is asked for.

    Raises:
        ValueError: settings that make no sense, or networks that the run has not trained.
        FileNotFoundError: results were deleted on the way.
    """
    run = TrainedRun.open(settings.run)
    out = Path(settings.out or Path(settings.run) / "instability")
    pairs = planned(settings, run)
    run.claim(out)
    rows = read_rows(out / "curves.csv", CURVES, NUMBERS)
    missing = [pair for pair in pairs if not has(rows, pair, settings)]
    if missing:
        lines = Lines(settings, run, missing[0][0])
        with stretch(listener, len(missing) * len(SPLITS) * lines.points) as work:
            for pair in missing:
                rows += lines.between(*pair, work)
                write_rows(rows, out / "curves.csv")
    title = f"{run.config.dataset}, {run.config.model}"
    barriers = write_report(rows, out, title, settings.statistics)
    run.close()
    return Outcome(out, title, barriers)


def planned(settings: PathSettings, run: TrainedRun) -> list[Pair]:
    """The pairs to be walked between; bad settings are refused here, before any work."""
    check_statistics(settings.statistics)
    grid(settings.alphas)
    chosen = run.chosen(settings.kinds, settings.rounds, settings.init_seeds)
    pairs: list[Pair] = [(of, pair) for of in chosen for pair in itertools.combinations(sorted(run.trainings[of]), 2)]
    if not pairs:
        orders = " ".join(str(order) for order in (*run.config.data_orders, max(run.config.data_orders) + 1))
        raise ValueError(
            f"Expected tickets trained in at least two data orders in '{settings.run}'. Received: one each. "
            f"Run the command of that run again with --data-orders {orders}; what is finished stays."
        )
    return pairs


def has(rows: list[dict[str, Any]], pair: Pair, settings: PathSettings) -> bool:
    """Whether the curves of a pair are among the rows, on both splits and at the alphas that are asked for."""
    of, (first, second) = pair
    identity = {"kind": of.kind, "round": of.round, "init_seed": of.init_seed, "statistics": settings.statistics}
    identity |= {"first_order": first, "second_order": second}
    wanted = [identity | {"split": split, "alpha": alpha} for split in SPLITS for alpha in grid(settings.alphas)]
    return all(find(rows, row, (*IDENTITY, "alpha")) for row in wanted)


class Lines:
    """Evaluates lines between networks of a run: one model and one compiled function for all of them."""

    def __init__(self, settings: PathSettings, run: TrainedRun, any_of: Subnetwork):
        self.settings, self.run, self.model = settings, run, run.model(any_of)
        self.objectives = {split: Objective(self.model, run.images(split)) for split in SPLITS}
        self.points = len(grid(settings.alphas))

    def between(self, of: Subnetwork, orders: tuple[int, int], work: Stretch) -> list[dict[str, Any]]:
        """Rows of the two curves between two trainings of a ticket."""
        a, b = (self.run.params(of, order) for order in orders)
        rows = []
        for split, objective in self.objectives.items():
            curve = kt.analysis.linear_path(
                self.model, a, b, objective, alphas=self.settings.alphas, statistics=self.settings.statistics
            )
            work.advance(self.points, f"{of}  orders {orders[0]} and {orders[1]}  {split}")
            about = of._asdict() | {"first_order": orders[0], "second_order": orders[1], "split": split}
            # What was asked for, so that the same command finds it again; networks without statistics have no choice.
            about |= {"statistics": self.settings.statistics, "mask_overlap": curve.mask_overlap}
            points = zip(curve.alphas.tolist(), curve.loss.tolist(), curve.accuracy.tolist(), strict=True)
            for values in points:
                row = about | dict(zip(("alpha", "loss", "accuracy"), values, strict=True))
                rows.append({column: row[column] for column in CURVES})
        work.note(f"{of}  orders {orders[0]} and {orders[1]}  midpoint barrier {_midpoint(rows):.3f} (train loss)")
        return rows


def _midpoint(rows: list[dict[str, Any]]) -> float:
    losses = {row["alpha"]: row["loss"] for row in rows if row["split"] == "train"}
    return losses[0.5] - (losses[0.0] + losses[1.0]) / 2
