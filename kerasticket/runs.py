"""Runs on disk: the only file that spells a path, and the only one that decides whether a stage is done.

    runs/<name>/config.json  environment.json  results.csv  figure.png
      seed_0/imp/round_04/ticket.keras
      seed_0/imp/round_04/round.json            (synthetic searches: and history.csv)
      seed_0/imp/round_04/order_1/{trained.keras, history.csv, result.json}

Everything is written to a temporary name and renamed, so a file that exists is whole.
"""

import contextlib
import dataclasses
import json
import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

FORMAT = "kerasticket run"
LEFT_BEHIND = re.compile(r"\.\d+\.")  # how temporary files begin, which a kill leaves
PACKAGES = ("kerasticket", "keras", "tensorflow", "jax", "torch", "numpy", "h5py", "tensorflow-datasets")


@contextlib.contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Gives a temporary path beside `path`; renames it to `path` if the block ends without an error.

    >>> import tempfile; folder = Path(tempfile.mkdtemp())
    >>> with atomic(folder / "a.txt") as temporary: _ = temporary.write_text("whole")
    >>> (folder / "a.txt").read_text()
    'whole'
    """
    path = Path(path)
    check_writable(path.parent)
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def check_writable(folder: str | Path) -> None:
    """Makes the folder; raises ValueError if that or writing into it is not possible."""
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".{os.getpid()}.probe"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ValueError(
            f"Expected a folder that can be written to. Received: '{folder}' ({error.strerror}). Choose another one."
        ) from error


def write_json(path: str | Path, content: dict) -> None:
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n")


def read_json(path: str | Path) -> dict:
    try:
        return json.loads(Path(path).read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"'{path}' is damaged JSON: {error}. Delete it to redo its stage.") from error


def environment() -> dict[str, str]:
    """Versions and machine behind a result."""
    found = {"python": platform.python_version(), "machine": platform.machine(), "cores": str(os.cpu_count())}
    for package in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    keras = sys.modules.get("keras")
    backend = keras.config.backend() if keras else "not imported"
    return found | {"backend": backend, "command": " ".join(sys.argv)}


@dataclasses.dataclass(frozen=True)
class Run:
    """A folder of results that one configuration explains.

    Attributes:
        folder: root of the run.
    """

    folder: Path

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
                that is no run, or cannot be written to.
        """
        folder = Path(folder)
        config = {"format": FORMAT} | json.loads(json.dumps(config))  # tuples become lists, as they are read back
        known = folder / "config.json"
        check_writable(folder)
        _check_ours(folder, known)
        if force and known.exists():
            doomed = folder.with_name(f".{os.getpid()}.{folder.name}")
            folder.rename(doomed)  # at once: a run that was half deleted would be neither a run nor empty
            shutil.rmtree(doomed)
        if known.exists():
            _check_same(_with_later(read_json(known), config, later), config, free, folder)
        write_json(known, config)
        if not (folder / "environment.json").exists():
            write_json(folder / "environment.json", environment())
        return cls(folder)

    def round(self, seed: int, kind: str, index: int) -> Path:
        """Folder of one ticket: initialisation seed, kind of subnetwork, rounds of pruning."""
        return self.folder / f"seed_{seed}" / kind / f"round_{index:02d}"

    def ticket(self, seed: int, kind: str, index: int) -> Path:
        return self.round(seed, kind, index) / "ticket.keras"

    def tickets(self) -> list[tuple[int, str, int]]:
        """(initialisation seed, kind, round) of every ticket, in increasing order."""
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

    def results(self) -> list[dict]:
        """All finished trainings, in a fixed order."""
        return [read_json(path) for path in sorted(self.folder.glob("seed_*/*/round_*/order_*/result.json"))]


def _check_ours(folder: Path, config: Path) -> None:
    ours = config.exists() and read_json(config).get("format") == FORMAT
    if not ours and not all(LEFT_BEHIND.match(path.name) for path in folder.iterdir()):
        raise ValueError(f"Expected an empty folder or a run of kerasticket. Received: '{folder}', which is no run.")


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
