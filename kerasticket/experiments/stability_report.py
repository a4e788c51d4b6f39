"""Barriers and the figure of an instability analysis, made from the rows of its curves alone."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from kerasticket.analysis.results import STABLE_BELOW, Curve
from kerasticket.experiments import figures
from kerasticket.files.atomic import atomic
from kerasticket.files.rows import write_rows

PROPERTIES = ("midpoint_barrier", "barrier", "chord_barrier", "error_barrier")


def write_report(rows: list[dict[str, Any]], out: Path, title: str, statistics: str) -> None:
    """Prints the table of barriers; writes barriers.csv, figure.png and figure.pdf.

    Args:
        statistics: the way to treat moving statistics that table and figure show; barriers.csv has all that there are.
    """
    rows = [_numbers(row) for row in rows]
    found = barriers(rows)
    write_rows(found, out / "barriers.csv")
    shown = [row for row in rows if row["split"] == "train" and row["statistics"] == statistics]
    figure = figures.linear_paths(shown, f"{title}: train loss")
    found = [row for row in found if row["statistics"] == statistics]
    for ending in ("png", "pdf"):
        with atomic(out / f"figure.{ending}") as temporary:
            figure.savefig(temporary, dpi=150, format=ending)
    Console(highlight=False, width=150).print(table(found, title))


def barriers(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row per kind, round, way with statistics and split: mean and sample deviation over its curves."""
    keys = ("kind", "round", "sparsity", "statistics", "split")
    groups: dict[tuple, list[tuple[int, Curve]]] = {}
    for seed, key, curve in _curves(rows, keys):
        groups.setdefault(key, []).append((seed, curve))
    found = []
    for key in sorted(groups, key=lambda key: (figures.KINDS.index(key[0]), *key[1:])):
        seeds, curves = zip(*groups[key], strict=True)
        row = dict(zip(keys, key, strict=True)) | {"inits": len(set(seeds)), "pairs": len(curves)}
        for name in PROPERTIES:
            mean, std = figures.mean_and_std(getattr(curve, name) for curve in curves)
            row |= {name: mean, f"{name}_std": std}
        ends = [(curve.accuracy[0] + curve.accuracy[-1]) / 2 for curve in curves]
        middles = [curve.accuracy[curve.alphas == 0.5][0] for curve in curves]
        row |= {"accuracy_ends": float(np.mean(ends)), "accuracy_middle": float(np.mean(middles))}
        row["loss_ends"] = float(np.mean([(curve.loss[0] + curve.loss[-1]) / 2 for curve in curves]))
        found.append(row | {"stable": row["error_barrier"] < STABLE_BELOW})
    return found


def table(found: list[dict[str, Any]], title: str) -> Table:
    """Midpoint, highest and error barriers on the training images, accuracy on both splits."""
    drawn = Table(title=f"{title}: barriers between data orders (train loss), mean ± std over inits and pairs")
    for heading in ("kind", "round", "inits x pairs", "midpoint", "highest", "train error (%)", "stable (< 2%)"):
        drawn.add_column(heading, justify="right")
    for heading in ("test accuracy, ends (%)", "middle (%)"):
        drawn.add_column(heading, justify="right")
    tests = {(row["kind"], row["round"], row["statistics"]): row for row in found if row["split"] == "test"}
    for row in (row for row in found if row["split"] == "train"):
        test = tests[row["kind"], row["round"], row["statistics"]]
        cells = [_cell(row, "midpoint_barrier", 1, 3), _cell(row, "barrier", 1, 3), _cell(row, "error_barrier", 100, 1)]
        verdict = "yes" if row["stable"] else "no"
        accuracies = [f"{100 * test[name]:.1f}" for name in ("accuracy_ends", "accuracy_middle")]
        counts = f"{row['inits']} x {row['pairs'] / row['inits']:g}"
        drawn.add_row(row["kind"], str(row["round"]), counts, *cells, verdict, *accuracies)
    return drawn


def _curves(rows: list[dict[str, Any]], keys: tuple[str, ...]) -> Iterable[tuple[int, tuple, Curve]]:
    """(init seed, values of `keys`, curve) of each line."""
    lines: dict[tuple, list[dict[str, Any]]] = {}
    for row in rows:
        identity = (row["init_seed"], row["first_order"], row["second_order"], *(row[key] for key in keys))
        lines.setdefault(identity, []).append(row)
    for (seed, _, _, *key), points in lines.items():
        points = list({row["alpha"]: row for row in sorted(points, key=lambda row: row["alpha"])}.values())
        alphas, loss, accuracy = (np.array([row[name] for row in points]) for name in ("alpha", "loss", "accuracy"))
        yield seed, tuple(key), Curve(alphas, loss, accuracy, points[0]["statistics"], points[0]["mask_overlap"])


def _cell(row: dict[str, Any], name: str, times: float, digits: int) -> str:
    mean, std = times * row[name], times * row[f"{name}_std"]
    return f"{mean:.{digits}f} ± {std:.{digits}f}" if np.isfinite(std) else f"{mean:.{digits}f}"


def _numbers(row: dict[str, Any]) -> dict[str, Any]:
    """A row of a CSV file with numbers for text."""
    words, whole = ("kind", "split", "statistics"), ("round", "init_seed", "first_order", "second_order")
    return {
        name: value if name in words else int(value) if name in whole else float(value) for name, value in row.items()
    }
