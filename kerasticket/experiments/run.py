"""Runs on disk: the only file that spells a path, and the only one that decides whether a stage is done.

    runs/<name>/config.json  environment.json  results.csv  figure.png
      seed_0/imp/round_04/ticket.keras
      seed_0/imp/round_04/round.json            (synthetic searches: and history.csv)
      seed_0/imp/round_04/order_1/{trained.keras, history.csv, result.json}

Everything is written to a temporary name and renamed, so a file that exists is whole.
"""

import dataclasses
import json
import shutil
import typing
from pathlib import Path

from kerasticket.experiments.records import Trained
from kerasticket.files import typed
from kerasticket.files.atomic import LEFT_BEHIND, check_writable
from kerasticket.files.environment import environment
from kerasticket.files.json_files import Fields, read_json, write_json
from kerasticket.files.lock import LOCK, READERS, RunLock

FORMAT = "kerasticket run"
DOOMED = ".0.doomed"


@dataclasses.dataclass(frozen=True)
class Run:
    """A folder of results that one configuration explains.

    Attributes:
        folder: root of the run.
        lock: what keeps other processes from writing there, of a run that `open` gave; held as long as the run
            lives, or until `close`.
    """

    folder: Path
    lock: RunLock | None = dataclasses.field(default=None, compare=False, repr=False)

    @classmethod
    def open(
        cls,
        folder: str | Path,
        config: dict,
        *,
        free: tuple[str, ...] = (),
        later: tuple[str, ...] = (),
        force: bool = False,
    ) -> "Run":
        """Creates the run, or continues it if its configuration is the same.

        Args:
            folder: where; made if absent.
            config: JSON-able description of everything that decides the results.
            free: keys that may change between calls without touching finished results, e.g. ("rounds",).
            later: keys that runs of earlier versions lack; such a run goes on and has them from then on.
            force: delete what is there and start again.

        Raises:
            ValueError: the folder belongs to another configuration (the fields are named), holds something
                that is no run, cannot be written to, or is another process' to write to; with `force`, also if
                another one reads it. See `kerasticket.files.lock`.
        """
        folder = Path(folder)
        config = {"format": FORMAT} | json.loads(json.dumps(config))  # tuples become lists, as they are read back
        known = folder / "config.json"
        check_writable(folder)
        _check_ours(folder, known)
        lock = RunLock.of_folder(folder)
        _check_ours(folder, known)  # again: another process may have been here before the lock was ours
        shutil.rmtree(folder / DOOMED, ignore_errors=True)  # what a killed --force left behind
        if force and known.exists():
            _empty(folder, known)
        if known.exists():
            _check_same(_with_later(read_json(known), config, later), config, free, folder)
        write_json(known, config)
        if not (folder / "environment.json").exists():
            write_json(folder / "environment.json", environment())
        return cls(folder, lock)

    def close(self) -> None:
        """Lets other processes write to the folder.

        Raises:
            FileNotFoundError: the folder was deleted since `open`, and so were results.
        """
        if self.lock:
            self.lock.__exit__(None, None, None)

    def round(self, seed: int, kind: str, index: int) -> Path:
        """Folder of one ticket: initialization seed, kind of subnetwork, rounds of pruning."""
        return self.folder / f"seed_{seed}" / kind / f"round_{index:02d}"

    def ticket(self, seed: int, kind: str, index: int) -> Path:
        return self.round(seed, kind, index) / "ticket.keras"

    def tickets(self) -> list[tuple[int, str, int]]:
        """(initialization seed, kind, round) of every ticket, in increasing order."""
        folders = [path.parent for path in self.folder.glob("seed_*/*/round_*/ticket.keras")]
        split = [(folder.parts[-3], folder.parts[-2], folder.name) for folder in folders]
        return sorted((int(seed[5:]), kind, int(name[6:])) for seed, kind, name in split)

    def record(self, seed: int, kind: str, index: int) -> Path:
        return self.round(seed, kind, index) / "round.json"

    def order(self, seed: int, kind: str, index: int, data_order: int) -> Path:
        """Folder of one training of one ticket."""
        return self.round(seed, kind, index) / f"order_{data_order}"

    def result(self, seed: int, kind: str, index: int, data_order: int) -> Path:
        return self.order(seed, kind, index, data_order) / "result.json"

    def barrier(self, seed: int, kind: str, index: int, first: int, second: int) -> Path:
        """Of two trainings of one ticket."""
        return self.round(seed, kind, index) / f"barrier_{first}_{second}.json"

    def barriers(self) -> list[dict]:
        """All barriers that were measured, in a fixed order."""
        return [read_json(path) for path in sorted(self.folder.glob("seed_*/*/round_*/barrier_*.json"))]

    def results(self) -> list[dict]:
        """All finished trainings, in a fixed order."""
        return [_result(path) for path in sorted(self.folder.glob("seed_*/*/round_*/order_*/result.json"))]


def _result(path: Path) -> Fields:
    row = read_json(path)
    typed.check(row, typing.get_type_hints(Trained), f"'{path}'")
    return row


def _check_ours(folder: Path, config: Path) -> None:
    ours = config.exists() and read_json(config).get("format") == FORMAT
    left = [path.name for path in folder.iterdir() if path.name not in (LOCK, READERS)]
    if not ours and not all(map(LEFT_BEHIND.match, left)):
        raise ValueError(f"Expected an empty folder or a run of kerasticket. Received: '{folder}', which is no run.")


def _empty(folder: Path, config: Path) -> None:
    """Deletes what is in a run, but for the locks; the configuration goes last: a kill leaves a run with less in it."""
    alone = RunLock.of_readers(folder, alone=True)
    doomed = folder / DOOMED
    doomed.mkdir()
    contents = [path for path in folder.iterdir() if path.name not in (LOCK, READERS, doomed.name)]
    for path in sorted(contents, key=lambda path: path == config):
        path.rename(doomed / path.name)  # at once: half of a round would be no round
    shutil.rmtree(doomed)
    if alone:
        alone.release()


def _with_later(old: dict, new: dict, later: tuple[str, ...]) -> dict:
    return {key: new[key] for key in later if key in new} | old


def _check_same(old: dict, new: dict, free: tuple[str, ...], folder: Path) -> None:
    changed = [key for key in sorted({*old, *new}) if key not in free and old.get(key) != new.get(key)]
    if changed:
        fields = "; ".join(f"{key} was {old.get(key)!r}, is now {new.get(key)!r}" for key in changed)
        raise ValueError(
            f"The run in '{folder}' was made with another configuration: {fields}. "
            "Choose another --out, go back to the old values, or pass --force to delete it and start again."
        )
