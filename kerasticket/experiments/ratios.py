"""Synthetic over IMP tickets, in accuracy and in barrier, from the tables of runs alone."""

from pathlib import Path
from typing import Any

from kerasticket.experiments import figure_files, figures
from kerasticket.experiments.outcome import Outcome
from kerasticket.experiments.settings import RatioSettings
from kerasticket.files.atomic import check_writable
from kerasticket.files.json_files import read_json
from kerasticket.files.lock import RunLock
from kerasticket.files.rows import read_rows, write_rows

LEAST_BARRIER = 0.01  # of IMP, in nats: below it the ratio is one of noises


def stability_ratios(settings: RatioSettings) -> Outcome:
    """Writes ratios.csv and, of barriers that are clearly above zero, the figure; all rows.

    Raises:
        ValueError: a run that was not analyzed, none with both kinds of ticket, or another process writes there.
    """
    names = [Path(run).name for run in settings.runs]
    if len(set(names)) < len(names):  # which the figure would join into one line
        names = [str(run) for run in settings.runs]
    rows = [
        row | {"run": name}
        for run, name in zip(settings.runs, names, strict=True)
        for row in ratios(Path(run), settings.rounds, settings.statistics)
    ]
    if not rows:
        raise ValueError(f"Expected a round with synthetic and IMP tickets. Received: none in {list(settings.runs)}.")
    out = Path(settings.out)
    check_writable(out)
    with RunLock.of_folder(out):
        write_report(rows, out)
    return Outcome(out, "synthetic over IMP tickets", rows)


def write_report(rows: list[dict[str, Any]], out: Path) -> None:
    """ratios.csv, and the figure if there is anything to draw."""
    write_rows(rows, out / "ratios.csv")
    drawn = [row for row in rows if row["drawn"]]
    figure_files.remove(out, "figure")
    if drawn:
        figure_files.save(figures.stability_ratios(drawn), out, "figure")


def ratios(run: Path, rounds: tuple[int, ...], statistics: str | None = None) -> list[dict[str, Any]]:
    """One row per round that has synthetic and IMP tickets."""
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
    return [row for row in read_rows(path, None) if all(row[key] == value for key, value in values.items())]
