"""What the masks of a run, or of ticket files, have in common: tables, and the figures that are drawn from them."""

import contextlib
from pathlib import Path

import kerasticket as kt
from kerasticket.experiments import mask_report
from kerasticket.experiments.events import Listener, ignore
from kerasticket.experiments.mask_tables import TABLES, Group
from kerasticket.experiments.settings import MaskSettings
from kerasticket.experiments.telling import stretch
from kerasticket.files.atomic import check_writable
from kerasticket.files.lock import RunLock
from kerasticket.files.rows import write_rows

KINDS = ("imp", "synthetic", "random")
ORIGINS = ("dense", "start")


def mask_statistics(settings: MaskSettings, listener: Listener = ignore) -> Path:
    """Writes all tables and figures; the folder where they lie.

    Raises:
        ValueError: there is nothing to compare, or another process writes to the folder.
    """
    groups = groups_of(settings)
    out = folder_of(settings)
    reads = RunLock.of_readers(settings.paths[0]) if settings.paths[0].is_dir() else None
    with RunLock.of_folder(out), reads or contextlib.nullcontext():
        measure_all(settings, groups, out, listener)
    return out


def measure_all(settings: MaskSettings, groups: list[Group], out: Path, listener: Listener) -> None:
    """Writes all tables, and draws them."""
    rows: dict[str, list[dict]] = {name: [] for name in TABLES}
    with stretch(listener, len(groups) * len(TABLES)) as work:
        for group in groups:
            for name, measure in TABLES.items():
                work.advance(0, f"seed {group.seed}  round {group.round}  {name}" if group.round != "" else name)
                rows[name] += measure(group, settings)
                work.advance(1, name)
    for name, table in rows.items():
        (out / f"{name}.csv").unlink(missing_ok=True)  # of an earlier call that measured more
        if table:
            write_rows(table, out / f"{name}.csv")
    mask_report.draw(out)


def groups_of(settings: MaskSettings) -> list[Group]:
    """What the paths hold; raises ValueError before any work if that is nothing to compare."""
    if settings.bins < 1:
        raise ValueError(f"Expected --bins of at least 1. Received: {settings.bins}.")
    absent = [str(path) for path in (*settings.paths, *filter(None, [settings.start])) if not path.exists()]
    if absent:
        raise ValueError(f"Expected files or folders that exist. Received: {', '.join(absent)}.")
    folders = [path for path in settings.paths if path.is_dir()]
    if (folders and len(settings.paths) > 1) or (not folders and len(settings.paths) < 2):
        listed = ", ".join(map(str, settings.paths)) or "nothing"
        raise ValueError(f"Expected one run folder, or two or more ticket files. Received: {listed}.")
    if not folders:
        if settings.rounds is not None:
            raise ValueError(f"--rounds are those of a run. Received: {settings.rounds} with ticket files.")
        return [Group("", "", settings.start, names_of(settings.paths))]
    if settings.start:
        raise ValueError(f"--start goes with ticket files; a run has its own. Received: '{settings.start}' with a run.")
    return groups_of_run(settings)


def groups_of_run(settings: MaskSettings) -> list[Group]:
    """One group per seed and round; of each, the kinds in a fixed order."""
    run = kt.Run(settings.paths[0])
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
    outside = set(settings.rounds or ()) - set(rounds)
    if outside:
        raise ValueError(f"Expected --rounds of {rounds}, where there are two kinds. Received: {sorted(outside)}.")
    trained = trained_networks(run) if settings.trained else {}
    groups = []
    for (index, seed), names in sorted(several.items()):
        if settings.rounds is None or index in settings.rounds:
            tickets = {kind: run.ticket(seed, kind, index) for kind in names}
            start = run.ticket(seed, *origins[seed])
            groups.append(Group(seed, index, start, tickets, trained.get((seed, index), {})))
    return groups


def trained_networks(run: kt.Run) -> dict[tuple[int, int], dict[tuple[str, int], Path]]:
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


def folder_of(settings: MaskSettings) -> Path:
    """Where results go."""
    if settings.out is None and not settings.paths[0].is_dir():
        raise ValueError("Expected --out FOLDER with ticket files. Received: none.")
    out = settings.out or settings.paths[0] / "mask_statistics"
    check_writable(out)
    return out
