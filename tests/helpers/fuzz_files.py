"""Reads mutants of files of every kind in a process of its own.

    PYTHONPATH=. python tests/helpers/fuzz_files.py FOLDER SEED MUTANTS_OF_EACH_KIND

Prints one line of JSON for each kind: how many mutants were refused and read, the longest time, the growth of memory,
and what must not be. A mutant of a file with a digest is refused, or gives what was written; one without is refused,
or gives something of the right kind; and a refusal is a ValueError that names the file.
"""

import contextlib
import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import keras
import mutants
import nets
import numpy as np

import kerasticket as kt
from kerasticket.analysis import landscape
from kerasticket.analysis.results import Diagonal, Surface
from kerasticket.data import DistilledSet
from kerasticket.data.formats import importers, torch_files
from kerasticket.distillation.networks import network_state
from kerasticket.distillation.resuming import STATE
from kerasticket.files.checkpoint import Checkpoint
from kerasticket.files.json_files import read_json, write_json
from kerasticket.files.rows import read_rows, write_rows
from kerasticket.models import saved

SECONDS, MEMORY = 8.0, 2**30


class Kind(NamedTuple):
    """A kind of file: its name, how to write and read one, and what to do to it."""

    name: str
    write: Callable[[Path], Any]
    read: Callable[[Path], Any]
    mutants: list
    sealed: tuple | list = ()  # of these, what is read must be what was written


def surface() -> Surface:
    x = np.arange(9.0)
    return Surface("random", "none", np.ones((9, 2)), x, x, np.zeros((1, 2)), *np.ones((3, 1)), (1.0, 2.0), 0.1)


def diagonal() -> Diagonal:
    values, seen = {"k": np.ones((2, 3)), "b": np.arange(3.0)}, {"k": np.ones((2, 3), bool), "b": np.ones(3, bool)}
    return Diagonal(values, seen, {"k": "taylor", "b": "taylor"}, 9, 0, examples=4)


def distilled() -> DistilledSet:
    images = np.random.default_rng(0).random((4, 8, 8, 1), dtype=np.float32)
    return DistilledSet(images, np.array([0, 0, 1, 1]), ("a", "b"), "mine", "by hand", mean=(0.5,), std=(0.2,))


SETTINGS = {"net_loss": [1.0], "kind": "random"}
MASK = {"a/kernel": np.eye(40, dtype=bool), "b/kernel": np.ones((3, 5), bool)}
PARAMS = {"a/kernel": np.eye(40, dtype="f4"), "b/kernel": np.ones((3, 5), "f4"), "b/bias": np.zeros(5, "f4")}
ROW = {"kind": "imp", "round": 1, "init_seed": 0, "data_order": 1, "sparsity": 0.2, "loss": 0.5, "accuracy": 0.9}
ROW |= {"train_loss": 0.4, "stored": 100, "decoded": 100, "seconds": 3.25}
NUMBERS = {name: int if isinstance(value, int) else float for name, value in ROW.items() if name != "kind"}


def model() -> keras.Model:
    made = kt.masked(nets.mlp())
    kt.set_mask(made, nets.half_mask(made))
    return made


def result(path: Path) -> Any:
    (found,) = kt.Run(path.parents[4]).results()
    return {name: found[name] for name in ROW}


def write_result(path: Path) -> None:
    write_json(path, ROW)


def torch_file(path: Path) -> None:
    """What `torch.save` writes of a dict of one tensor and a number."""
    tensor = (
        b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000"
        b"X\x03\x00\x00\x00cpuK\x18tQK\x00K\x02K\x03K\x04\x87K\x0cK\x04K\x01\x87\x89ccollections\nOrderedDict\n)RtR"
    )
    data = b"\x80\x02}(X\x06\x00\x00\x00images" + tensor + b"X\x03\x00\x00\x00accG?\xe0\x00\x00\x00\x00\x00\x00u."
    members = {"a/data.pkl": data, "a/byteorder": b"little", "a/data/0": np.arange(24, dtype="<f4").tobytes()}
    path.write_bytes(mutants.zipped(members, how=mutants.zipfile.ZIP_STORED))


def begun(path: Path) -> np.ndarray:
    return landscape._begun(landscape.kept_in(path, SETTINGS))


def landscape_begun(path: Path) -> None:
    landscape.kept_in(path, SETTINGS).save({"values": np.ones((5, 2))})


def network() -> keras.Model:
    made = nets.compile_for_test(nets.mlp())
    made.optimizer.build(made.trainable_variables)
    return made


def kinds(zoo: dict[str, keras.Model]) -> list[Kind]:
    """Every reader; models are built once."""
    any_, zips, h5 = mutants.ANY, mutants.ZIP, mutants.HDF5
    ticket, trained = kt.Ticket.dense(zoo["masked"]), zoo["masked"]
    bare = type(ticket)(**vars(ticket) | {"architecture": None})
    result_path = "run/seed_0/imp/round_01/order_1/result.json"
    told = [*any_, *zips]

    def training(path: Path) -> Checkpoint:
        return Checkpoint(path, {"seed": 1}, what="training", state=STATE)

    return [
        Kind("ticket.keras", ticket.save, kt.Ticket.load, [*any_, *zips], told),
        Kind("bare.keras", bare.save, kt.Ticket.load, [*any_, *zips], told),
        Kind("trained.keras", trained.save, saved.load, [*any_, *zips], any_),
        Kind("surface.h5", surface().save, Surface.load, [*any_, *h5], any_),
        Kind("diagonal.h5", diagonal().save, Diagonal.load, [*any_, *h5], any_),
        Kind("landscape.npz", landscape_begun, begun, [*any_, *zips], told),
        Kind("set.h5", distilled().save, DistilledSet.load, [*any_, *h5], any_),
        Kind("masks.npz", lambda path: kt.save_masks(path, MASK), kt.load_masks, [*any_, *zips], told),
        Kind("sparse.npz", lambda path: kt.save_sparse(path, (PARAMS, MASK)), kt.load_sparse, [*any_, *zips], told),
        Kind(
            "training.npz",
            lambda path: training(path).save(
                network_state(zoo["plain"]), {"epoch": 2, "minutes": 0.5, "accuracy": None}
            ),
            lambda path: training(path).load(),
            [*any_, *zips],
            told,
        ),
        Kind("images.pt", torch_file, torch_files.load, [*any_, *mutants.PICKLE]),
        Kind("images.npz", _plain, lambda path: importers._arrays(path, 0), [*any_, *zips]),
        Kind(result_path, write_result, result, [*any_, *mutants.JSON], [*any_, mutants.other_number, *mutants.JSON]),
        Kind("config.json", lambda path: write_json(path, ROW), read_json, [*any_, *mutants.JSON]),
        Kind("curves.csv", _rows, lambda path: read_rows(path, tuple(ROW), NUMBERS), any_, any_),
    ]


def _plain(path: Path) -> None:
    np.savez(path, images=np.ones((2, 4, 4, 1), "f4"), labels=np.arange(2))


def _rows(path: Path) -> None:
    write_rows([ROW | {"round": index} for index in range(9)], path)


def plain(value: Any) -> bytes:
    """All that was read, for comparison."""
    if isinstance(value, keras.Model):
        value = kt.get_params(value)
    if hasattr(value, "__dataclass_fields__"):
        value = {name: getattr(value, name) for name in value.__dataclass_fields__}
    if isinstance(value, np.ndarray):
        return repr((value.dtype, value.shape)).encode() + value.tobytes()
    if isinstance(value, dict):
        return b"".join(repr(key).encode() + plain(each) for key, each in sorted(value.items(), key=repr))
    if isinstance(value, (list, tuple)):
        return b"".join(map(plain, value))
    return repr(value).encode()


def fuzz(kind: Kind, folder: Path, rng: np.random.Generator, count: int) -> dict[str, Any]:
    """What became of the mutants of one kind."""
    path = folder / kind.name
    path.parent.mkdir(parents=True, exist_ok=True)
    kind.write(path)
    content, expected = path.read_bytes(), plain(kind.read(path))
    about: dict[str, Any] = {"kind": path.name, "refused": 0, "read": 0, "longest": 0.0, "wrong": []}
    for mutate in kind.mutants if count > len(kind.mutants) else ():
        with contextlib.suppress(Exception):
            mutate(content, rng)  # what making mutants takes is not what reading them takes
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    order = rng.permutation(len(kind.mutants))
    for number in range(count):
        mutate = kind.mutants[order[number % len(order)]]
        mutant = mutate(content, rng)
        path.write_bytes(mutant)
        name, started = getattr(mutate, "__name__", str(mutate)), time.monotonic()
        try:
            found = plain(kind.read(path))
            about["read"] += 1
            if any(mutate is each for each in kind.sealed) and found != expected and _has_digest(mutant, mutate):
                about["wrong"].append(f"{number} {name}: another value was read")
        except ValueError as error:
            about["refused"] += 1
            if path.name not in str(error):
                about["wrong"].append(f"{number} {name}: does not name the file: {error}"[:300])
        except BaseException as error:
            about["wrong"].append(f"{number} {name}: {type(error).__name__}: {error}"[:300])
        seconds = time.monotonic() - started
        about["longest"] = max(about["longest"], round(seconds, 2))
        if seconds > SECONDS:
            about["wrong"].append(f"{number} {name}: {seconds:.1f} s")
    path.write_bytes(content)
    about["grown"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    if about["grown"] > MEMORY:
        about["wrong"].append(f"memory grew by {about['grown'] / 2**30:.2f} GiB")
    return about


def _has_digest(mutant: bytes, mutate: Callable) -> bool:
    """JSON that was written anew without its digest is a file of before there were any."""
    return mutate not in mutants.JSON or b'"sha256:' in mutant


if __name__ == "__main__":
    _, folder, seed, count = sys.argv
    zoo = {"masked": model(), "plain": network()}
    for position, kind in enumerate(kinds(zoo)):
        rng = np.random.default_rng([int(seed), position])
        print(json.dumps(fuzz(kind, Path(folder) / str(position), rng, int(count))), flush=True)
