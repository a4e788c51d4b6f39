"""Figures of the tables of masks, and what these say of the paper's claims, from their CSV files alone."""

import collections
from pathlib import Path

import numpy as np

from kerasticket.experiments import figure_files, figures
from kerasticket.experiments.mask_tables import ALL
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
        figure_files.remove(folder, name)
        if rows:
            figure_files.save(function(of_few_rounds(rows)), folder, name)


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
