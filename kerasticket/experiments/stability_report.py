"""Barriers and the figure of an instability analysis, made from the rows of its curves alone."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from kerasticket.analysis.results import STABLE_BELOW, Curve
from kerasticket.experiments import figure_files, figures
from kerasticket.files.rows import write_rows

PROPERTIES = ("midpoint_barrier", "barrier", "chord_barrier", "error_barrier")


def write_report(rows: list[dict[str, Any]], out: Path, title: str, statistics: str) -> list[dict[str, Any]]:
    """Writes barriers.csv, figure.png and figure.pdf.

    Args:
        statistics: the way to treat moving statistics that the figure shows; barriers.csv has all that there are.

    Returns:
        The rows of barriers.csv of that way.
    """
    rows = [_numbers(row) for row in rows]
    found = barriers(rows)
    write_rows(found, out / "barriers.csv")
    shown = [row for row in rows if row["split"] == "train" and row["statistics"] == statistics]
    figure = figures.linear_paths(shown, f"{title}: train loss")
    figure_files.save(figure, out, "figure")
    return [row for row in found if row["statistics"] == statistics]


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


def _numbers(row: dict[str, Any]) -> dict[str, Any]:
    """A row of a CSV file with numbers for text."""
    words, whole = ("kind", "split", "statistics"), ("round", "init_seed", "first_order", "second_order")
    return {
        name: value if name in words else int(value) if name in whole else float(value) for name, value in row.items()
    }
