"""What the masks of IMP, of distilled data and of chance have in common: overlap, layers, initial magnitudes.

    python scripts/mask_statistics.py runs/digits                                     # a run of distilled_pruning.py
    python scripts/mask_statistics.py runs/cifar10-cpu --rounds 4 9 --out masks
    python scripts/mask_statistics.py a.keras b.keras --start dense.keras --out masks  # tickets of one model

Measures what McDermott & Parhi (arXiv 2503.17905, sections 4 and 7) say of these masks: that they are nearly
independent, have extremely similar sparsity per layer, and prune weights of the same magnitudes at initialization.
Writes tables (CSV) and, from them alone, figures (PNG and PDF); trains nothing, seconds per ticket.
"""

import contextlib
import dataclasses
from pathlib import Path

import tyro

from kerasticket.backend.quiet import import_keras
from kerasticket.cli.door import program

KINDS = ("imp", "synthetic", "random")
ORIGINS = ("dense", "start")


@dataclasses.dataclass(frozen=True)
class Config:
    """What is compared."""

    paths: tyro.conf.Positional[tuple[Path, ...]]
    """A run folder of distilled_pruning.py, or two or more ticket files."""
    out: Path | None = None
    """Folder for tables and figures; default: mask_statistics in the run. Ticket files need one."""
    rounds: tuple[int, ...] | None = None
    """Rounds of a run; default: all that have two kinds of ticket."""
    start: Path | None = None
    """The ticket, usually dense, that ticket files were pruned from; a run has its own. Magnitudes need it."""
    trained: bool = True
    """Whether the distances between a run's trained networks are measured."""
    bins: int = 30
    """Of the histograms."""


@dataclasses.dataclass(frozen=True)
class Group:
    """Tickets that are compared with each other.

    Attributes:
        seed, round: of the tickets in a run; empty for ticket files.
        start: ticket that all were pruned from, if known.
        tickets: files by name.
        trained: files of trained networks by name and data order.
    """

    seed: int | str
    round: int | str
    start: Path | None
    tickets: dict[str, Path]
    trained: dict[tuple[str, int], Path] = dataclasses.field(default_factory=dict)


def main(config: Config) -> None:
    import_keras()
    from kerasticket.files.lock import RunLock

    groups = groups_of(config)
    out = folder_of(config)
    reads = RunLock.of_readers(config.paths[0]) if config.paths[0].is_dir() else None
    with RunLock.of_folder(out), reads or contextlib.nullcontext():
        measure_all(config, groups, out)
    print(f"\nTables and figures: {out.resolve()}")


def measure_all(config: Config, groups: list[Group], out: Path) -> None:
    """Writes all tables, and draws them."""
    from kerasticket.cli.progress import Progress
    from kerasticket.experiments.mask_report import draw, show
    from kerasticket.experiments.mask_tables import TABLES
    from kerasticket.files.rows import write_rows

    rows: dict[str, list[dict]] = {name: [] for name in TABLES}
    with Progress(total=len(groups) * len(TABLES)) as bar:
        for group in groups:
            for name, measure in TABLES.items():
                bar.advance(0, f"seed {group.seed}  round {group.round}  {name}" if group.round != "" else name)
                rows[name] += measure(group, config)
                bar.advance(1, name)
    for name, table in rows.items():
        (out / f"{name}.csv").unlink(missing_ok=True)  # of an earlier call that measured more
        if table:
            write_rows(table, out / f"{name}.csv")
    draw(out)
    show(out)
    if not rows["magnitudes"]:
        print("Initial magnitudes are not measured: pass --start, the ticket that pruning started from.")


def groups_of(config: Config) -> list[Group]:
    """What the paths hold; raises ValueError before any work if that is nothing to compare."""
    if config.bins < 1:
        raise ValueError(f"Expected --bins of at least 1. Received: {config.bins}.")
    absent = [str(path) for path in (*config.paths, *filter(None, [config.start])) if not path.exists()]
    if absent:
        raise ValueError(f"Expected files or folders that exist. Received: {', '.join(absent)}.")
    folders = [path for path in config.paths if path.is_dir()]
    if (folders and len(config.paths) > 1) or (not folders and len(config.paths) < 2):
        listed = ", ".join(map(str, config.paths)) or "nothing"
        raise ValueError(f"Expected one run folder, or two or more ticket files. Received: {listed}.")
    if not folders:
        if config.rounds is not None:
            raise ValueError(f"--rounds are those of a run. Received: {config.rounds} with ticket files.")
        return [Group("", "", config.start, names_of(config.paths))]
    if config.start:
        raise ValueError(f"--start goes with ticket files; a run has its own. Received: '{config.start}' with a run.")
    return groups_of_run(config)


def groups_of_run(config: Config) -> list[Group]:
    """One group per seed and round; of each, the kinds in a fixed order."""
    import kerasticket as kt

    run = kt.Run(config.paths[0])
    found = run.tickets()
    origins = {seed: (kind, index) for seed, kind, index in found if kind in ORIGINS}
    kinds: dict[tuple[int, int], list[str]] = {}
    for seed, kind, index in found:
        if seed in origins and index > origins[seed][1] and kind not in ORIGINS:
            kinds.setdefault((index, seed), []).append(kind)
    several = {key: sorted(names, key=order_of) for key, names in kinds.items() if len(names) > 1}
    rounds = sorted({index for index, _ in several})
    if not rounds:
        raise ValueError(f"Expected a run with tickets of two kinds at one round. Received: '{run.folder}' without.")
    outside = set(config.rounds or ()) - set(rounds)
    if outside:
        raise ValueError(f"Expected --rounds of {rounds}, where there are two kinds. Received: {sorted(outside)}.")
    trained = trained_networks(run) if config.trained else {}
    groups = []
    for (index, seed), names in sorted(several.items()):
        if config.rounds is None or index in config.rounds:
            tickets = {kind: run.ticket(seed, kind, index) for kind in names}
            start = run.ticket(seed, *origins[seed])
            groups.append(Group(seed, index, start, tickets, trained.get((seed, index), {})))
    return groups


def trained_networks(run) -> dict[tuple[int, int], dict[tuple[str, int], Path]]:
    """Kept networks by (kind, data order), for each (seed, round)."""
    found: dict[tuple[int, int], dict[tuple[str, int], Path]] = {}
    for row in sorted(run.results(), key=lambda row: (order_of(row["kind"]), row["data_order"])):
        path = run.order(row["init_seed"], row["kind"], row["round"], row["data_order"]) / "trained.keras"
        if path.exists():
            found.setdefault((row["init_seed"], row["round"]), {})[row["kind"], row["data_order"]] = path
    return found


def order_of(kind: str) -> tuple[int, str]:
    return (KINDS.index(kind) if kind in KINDS else len(KINDS), kind)


def names_of(paths: tuple[Path, ...]) -> dict[str, Path]:
    """Ticket files by the shortest end of their paths that tells them apart, without "ticket.keras"."""
    if len(set(paths)) < len(paths):
        raise ValueError(f"Expected ticket files that differ. Received: {', '.join(map(str, paths))}.")
    parts = [path.resolve().parts for path in paths]
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(each[-length:]).removesuffix(".keras") for each in parts]
        if len(set(names)) == len(names):
            return dict(zip((name.removesuffix("/ticket") for name in names), paths, strict=True))
    raise AssertionError("distinct paths have distinct ends")


def folder_of(config: Config) -> Path:
    """Where results go."""
    from kerasticket.files.atomic import check_writable

    if config.out is None and not config.paths[0].is_dir():
        raise ValueError("Expected --out FOLDER with ticket files. Received: none.")
    out = config.out or config.paths[0] / "mask_statistics"
    check_writable(out)
    return out


def run(arguments: list[str]) -> None:
    main(tyro.cli(Config, description=__doc__, prog=program(), args=arguments))
