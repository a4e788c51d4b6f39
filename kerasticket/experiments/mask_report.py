"""Figures and printed tables of `mask_statistics.py`, from its CSV files alone."""

import collections
import math
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from kerasticket.experiments import figures
from kerasticket.experiments.mask_tables import ALL
from kerasticket.files.atomic import atomic
from kerasticket.files.rows import read_rows

MOST_PANELS = 3
NEARLY_INDEPENDENT = 0.1  # |phi|; Cohen (1988) calls .1 small, .3 medium, .5 large
NEARLY_EQUAL = 0.02  # mean difference of the layer sparsities, two points
SAME_DISTRIBUTION = 0.1  # Kolmogorov-Smirnov distance, as a share of the largest that is possible
DIFFERENCES = ("sparsity_difference", "largest_sparsity_difference")


def draw(folder: Path) -> None:
    """Writes the figures of a folder of tables as PNG and PDF; at most three rounds, the last one among them."""
    of = {name: read(folder / f"{name}.csv") for name in ("masks", "pairs", "magnitudes")}
    pooled = [row for row in of["magnitudes"] if row["layer"] == ALL]
    drawn = {
        "layer_sparsity": (figures.layer_sparsity, of["masks"]),
        "mask_independence": (figures.mask_independence, of["pairs"]),
        "pruned_magnitudes": (figures.pruned_magnitudes, pooled),
    }
    for name, (function, rows) in drawn.items():
        figure = function(of_few_rounds(rows)) if rows else None
        for ending in ("png", "pdf"):
            path = folder / f"{name}.{ending}"
            path.unlink(missing_ok=True)  # of an earlier call that measured more
            if figure:
                with atomic(path) as temporary:
                    figure.savefig(temporary, dpi=150)


def of_few_rounds(rows: list[dict]) -> list[dict]:
    """The rows of rounds that are spread evenly up to the last one, of those that have the most tickets."""
    counts = collections.Counter(row["round"] for row in rows)
    rounds = [index for index, count in counts.items() if count == max(counts.values())]
    positions = np.linspace(len(rounds) - 1, 0, min(MOST_PANELS, len(rounds))).round().astype(int)
    return [row for row in rows if row["round"] in {rounds[position] for position in positions}]


def read(path: Path) -> list[dict]:
    """Rows of a table with numbers as numbers; none if it was not written."""
    return [{key: number(text) for key, text in row.items()} for row in read_rows(path, None)]


def number(text: str) -> float | str:
    try:
        return int(text) if text.isdecimal() else float(text)
    except ValueError:
        return text


def show(folder: Path) -> None:
    """Prints one line per round and pair, then what that says of the paper's claims."""
    pairs = [row for row in read(folder / "pairs.csv") if row["layer"] == ALL]
    console = Console(highlight=False, width=150)
    console.print(table(pairs, read(folder / "distances.csv")))
    for line in claims(pairs, read(folder / "masks.csv")):
        console.print(line, soft_wrap=True)


def table(pairs: list[dict], distances: list[dict]) -> Table:
    """Means over seeds; in brackets what to judge them by: chance, the largest in a layer, the largest possible."""
    drawn = Table(title="kept weights of two masks, against chance within each layer")
    for heading in ("round", "sparsity", "masks", "IoU (chance)", "phi", "z", "layer sparsities apart (most)"):
        drawn.add_column(heading, justify="right")
    for heading in ("KS of pruned |w| (possible)", "cosine, trained"):
        drawn.add_column(heading, justify="right")
    for index, a, b in dict.fromkeys((row["round"], row["a"], row["b"]) for row in pairs):
        group, nets = (
            [row for row in rows if (row["round"], row["a"], row["b"]) == (index, a, b)] for rows in (pairs, distances)
        )
        drawn.add_row(
            str(index),
            " / ".join(
                dict.fromkeys(f"{1 - mean(group, key) / mean(group, 'size'):.2%}" for key in ("kept_a", "kept_b"))
            ),
            f"{a}, {b}",
            f"{mean(group, 'iou'):.3f} ({mean(group, 'expected_iou'):.3f})",
            spread(group, "phi"),
            f"{mean(group, 'z'):.1f}",
            "{:.2%} ({:.2%})".format(*(mean(group, key) for key in DIFFERENCES)),
            f"{mean(group, 'ks'):.3f} ({mean(group, 'ks_possible'):.3f})" if group[0]["ks"] != "" else "-",
            f"{mean(nets, 'kernels_cosine'):.3f}" if nets else "-",
        )
    return drawn


def spread(rows: list[dict], key: str) -> str:
    average, std = figures.mean_and_std(row[key] for row in rows)
    return f"{average:.3f}" if math.isnan(std) else f"{average:.3f} ± {std:.3f}"


def claims(pairs: list[dict], masks: list[dict]) -> list[str]:
    """What the first two kinds of mask, or files, are by the paper's three claims, at the last round they share."""
    a, b = pairs[0]["a"], pairs[0]["b"]
    if "random" in (a, b):
        return []
    found = [row for row in pairs if (row["a"], row["b"]) == (a, b)]
    last = [row for row in found if row["round"] == found[-1]["round"]]
    random = [row for row in pairs if (row["a"], row["b"], row["round"]) == (a, "random", last[0]["round"])]
    first = [row for row in masks if (row["kind"], row["round"]) == (a, last[0]["round"])]
    phi, apart, largest = (mean(last, key) for key in ("phi", *DIFFERENCES))
    times = mean(last, "both") / mean(last, "expected")
    lines = [
        f"\nWhat the paper says of IMP and synthetic masks, and what {a} and {b} are here"
        + (f" at round {last[0]['round']}:" if last[0]["round"] != "" else ":"),
        f'"nearly independent": phi {phi:.3f} (z {mean(last, "z"):.1f}), {times:.2f} times the overlap of chance. '
        + verdict(abs(phi), NEARLY_INDEPENDENT, "|phi|"),
        f'"extremely similar sparsity per layer": {apart:.2%} apart, at most {largest:.2%} ({a} from uniform '
        f"{allocation_apart(first, 'uniform'):.2%}, from ERK {allocation_apart(first, 'erk'):.2%}). "
        + verdict(apart, NEARLY_EQUAL, "mean difference"),
    ]
    if last[0]["ks"] == "":
        return lines
    ks, possible = mean(last, "ks"), mean(last, "ks_possible")
    scale = f" ({a} and random {mean(random, 'ks'):.3f})" if random else ""
    return [
        *lines,
        f'pruned magnitudes at initialization "share the same distribution": KS {ks:.3f} of a possible {possible:.3f}'
        f"{scale}. " + verdict(ks / possible, SAME_DISTRIBUTION, "KS / possible"),
    ]


def verdict(value: float, limit: float, name: str) -> str:
    return (
        f"{'Agrees' if value < limit else 'Does not agree'}: {name} {'below' if value < limit else 'not below'} {limit}"
    )


def allocation_apart(rows: list[dict], name: str) -> float:
    """Mean difference between the density of a layer and that of an allocation, each layer weighted by its size."""
    differences = [abs(row["density"] - row[f"{name}_density"]) for row in rows]
    return float(np.average(differences, weights=[row["size"] for row in rows]))


def mean(rows: list[dict], key: str) -> float:
    return figures.mean_and_std(row[key] for row in rows)[0]
