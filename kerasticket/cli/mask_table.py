"""The table of masks on the terminal, and what it says of the paper's claims."""

import math
from pathlib import Path

from rich.console import Console
from rich.table import Table

from kerasticket.experiments import figures
from kerasticket.experiments.mask_report import DIFFERENCES, claims, mean, read
from kerasticket.experiments.mask_tables import ALL


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
