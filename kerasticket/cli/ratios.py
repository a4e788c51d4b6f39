"""Synthetic tickets over IMP tickets, in accuracy and in barrier, for many runs in one picture (paper, Fig. 6).

    python scripts/instability.py runs/cifar10-cpu
    python scripts/instability.py runs/digits
    python scripts/stability_ratios.py runs/cifar10-cpu runs/digits --out runs/ratios

Reads results.csv and instability/barriers.csv of each run; writes ratios.csv and, from it, the figure. A ratio of
barriers means something only where the barrier of IMP is clearly above zero: the others are listed, not drawn.
"""

import dataclasses
from pathlib import Path
from typing import Any

import tyro

from kerasticket.cli.door import program

LEAST_BARRIER = 0.01  # of IMP, in nats: below it the ratio is one of noises


@dataclasses.dataclass(frozen=True)
class Config:
    """What is compared."""

    runs: tyro.conf.Positional[tuple[str, ...]]
    """Folders of runs of distilled_pruning.py that instability.py has analyzed."""
    rounds: tuple[int, ...] = ()
    """Rounds of pruning; default: all that have both kinds."""
    statistics: str | None = None
    """Of batch normalization: "interpolate" or "reestimate", where instability.py was run with both."""
    out: str = "runs/ratios"
    """Folder of the results."""


def main(config: Config) -> None:
    from kerasticket.files.atomic import check_writable
    from kerasticket.files.lock import RunLock

    names = [Path(run).name for run in config.runs]
    if len(set(names)) < len(names):  # which the figure would join into one line
        names = [str(run) for run in config.runs]
    named = zip(config.runs, names, strict=True)
    rows = [row | {"run": name} for run, name in named for row in ratios(Path(run), config.rounds, config.statistics)]
    if not rows:
        raise ValueError(f"Expected a round with synthetic and IMP tickets. Received: none in {list(config.runs)}.")
    out = Path(config.out)
    check_writable(out)
    with RunLock.of_folder(out):
        write_report(rows, out)
    print(f"ratios.csv and the figure lie in {out.resolve()}")


def write_report(rows: list[dict[str, Any]], out: Path) -> None:
    """ratios.csv, its lines on the terminal, and the figure."""
    from kerasticket.experiments import figures
    from kerasticket.files.atomic import atomic
    from kerasticket.files.rows import write_rows

    write_rows(rows, out / "ratios.csv")
    for row in rows:
        left_out = "" if row["drawn"] else f"   not drawn: IMP's barrier is {row['imp_barrier']:.3f}"
        print(
            f"{row['run']:24} round {row['round']:2}  accuracy x{row['accuracy_ratio']:.3f}  "
            f"barrier x{row['barrier_ratio']:.2f}  compression x{row['compression']:.0f}{left_out}"
        )
    figure = figures.stability_ratios([row for row in rows if row["drawn"]])
    for ending in ("png", "pdf"):
        with atomic(out / f"figure.{ending}") as temporary:
            figure.savefig(temporary, dpi=150, format=ending)


def ratios(run: Path, rounds: tuple[int, ...], statistics: str | None = None) -> list[dict[str, Any]]:
    """One row per round that has synthetic and IMP tickets."""
    from kerasticket.files.json_files import read_json

    for name in ("config.json", "results.csv", "instability/barriers.csv"):
        if not (run / name).exists():
            raise ValueError(f"Expected a run that instability.py has analyzed. Received: '{run}' without {name}.")
    config = read_json(run / "config.json")
    found = _rows(run / "instability/barriers.csv", split="train")
    ways = sorted({row["statistics"] for row in found})
    if statistics not in ways and (statistics is not None or len(ways) != 1):
        raise ValueError(f"Expected --statistics among {ways}, which '{run}' has. Received: {statistics}.")
    chosen = [row for row in found if row["statistics"] == (statistics or ways[0])]
    barriers = {(row["kind"], int(row["round"])): row for row in chosen}
    accuracies: dict[tuple[str, int], list[float]] = {}
    used: dict[tuple[str, int], int] = {}
    for row in _rows(run / "results.csv"):
        key = row["kind"], int(row["round"])
        accuracies.setdefault(key, []).append(float(row["accuracy"]))
        used[key] = int(row["stored"])
    shared = sorted({index for kind, index in barriers if {("imp", index), ("synthetic", index)} <= barriers.keys()})
    rows = []
    for index in (index for index in shared if not rounds or index in rounds):
        synthetic, imp = ("synthetic", index), ("imp", index)
        heights = [float(barriers[key]["midpoint_barrier"]) for key in (synthetic, imp)]
        means = [sum(accuracies[key]) / len(accuracies[key]) for key in (synthetic, imp)]
        # Images used are stored images x epochs x rounds, on both sides.
        compression = (used[imp] / config["epochs"]) / (used[synthetic] / config["distilled_epochs"])
        rows.append(
            {
                "run": run.name,
                "round": index,
                "sparsity": float(barriers[imp]["sparsity"]),
                "accuracy_ratio": means[0] / means[1],
                "barrier_ratio": heights[0] / heights[1],
                "synthetic_barrier": heights[0],
                "imp_barrier": heights[1],
                "compression": compression,
                "drawn": heights[1] >= LEAST_BARRIER,
            }
        )
    return rows


def _rows(path: Path, **values: str) -> list[dict[str, str]]:
    from kerasticket.files.rows import read_rows

    return [row for row in read_rows(path, None) if all(row[key] == value for key, value in values.items())]


def run(arguments: list[str]) -> None:
    main(tyro.cli(Config, description=__doc__, prog=program(), args=arguments))
