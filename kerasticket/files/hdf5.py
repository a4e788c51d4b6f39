"""Results as HDF5 files: arrays as datasets, everything else as one readable JSON attribute.

Before the HDF5 itself our files have 512 bytes of text, which other programs skip: the SHA-256 of all that follows.
Files without it are read as they are.
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from kerasticket.files import json_text, limits
from kerasticket.files.atomic import atomic

SEAL, BLOCK = b"kerasticket sha256 ", 512
_FILTERS = {1, 2, 3, 6, 32000}  # gzip, shuffle, checksum, scale and offset, lzf: those that are in h5py itself
_LEAST = 2**14  # bytes that an array may claim whatever is stored of it
# Besides what HDF5 raises; RecursionError is a RuntimeError.
BROKEN = (OSError, RuntimeError, KeyError, TypeError, ValueError, AttributeError, MemoryError, OverflowError)


def write(path: str | Path, format: str, about: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    """Writes the file under a temporary name, then renames it.

    Args:
        path: of the file.
        format: what kind of result it is, such as "kerasticket surface"; `read` asks for the same.
        about: JSON-able description.
        arrays: by name.

    Raises:
        ValueError: the folder cannot be written to.
    """
    with atomic(path) as temporary, created(temporary) as file:
        file.attrs["format"], file.attrs["about"] = format, json.dumps(about)
        for name, array in arrays.items():
            file.create_dataset(name, data=array)


def read(path: str | Path, format: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Description and arrays of a file that `write` made.

    Raises:
        ValueError: the file is absent, damaged, changed, of another format, or reaches into other files.
    """
    try:
        with opened(path) as file:
            found = text(file, "format")
            if found == format:
                about = json_text.loads(text(file, "about") or "")
                if not isinstance(about, dict):
                    raise ValueError(f"its description is a {type(about).__name__}")
                return about, arrays(file, file)
    except BROKEN as error:
        raise ValueError(
            f"Expected a {format} (HDF5). Received: '{path}', absent or damaged: {error}. Make it again."
        ) from error
    raise ValueError(f"Expected a {format} (HDF5). Received: '{path}', of format {found!r}.")


@contextmanager
def created(path: Path) -> Iterator[h5py.File]:
    """A new HDF5 file, which is sealed when the block ends without an error."""
    with h5py.File(path, "w", userblock_size=BLOCK) as file:
        yield file
    seal = SEAL + _digest(path).encode() + b"\n"
    with open(path, "r+b") as plain:
        plain.write(seal + b"of the bytes that follow these 512. HDF5 begins there.\n")


@contextmanager
def opened(path: str | Path) -> Iterator[h5py.File]:
    """The HDF5 file, if it is one, and as it was written; raises ValueError and what h5py raises otherwise."""
    limits.size_of(path)
    with open(path, "rb") as plain:
        head = plain.read(BLOCK)
    said = head[len(SEAL) :].partition(b"\n")[0]
    if head.startswith(SEAL) and said != _digest(path).encode():
        raise ValueError("it was cut, or changed after it was written, as its SHA-256 tells")
    with h5py.File(path, "r") as file:
        yield file


def text(file: h5py.File, name: str) -> str | None:
    """An attribute that is one text; None if there is none of the name."""
    found = _attribute(file, name)
    if not isinstance(found, str | None):
        raise ValueError(f"attribute '{name}' is no text")
    return found


def number(file: h5py.File, name: str) -> int | None:
    """An attribute that is one whole number; None if there is none of the name."""
    found = _attribute(file, name)
    if found is not None and not isinstance(found, int | np.integer):
        raise ValueError(f"attribute '{name}' is no number")
    return found if found is None else int(found)


def _attribute(file: h5py.File, name: str) -> Any:
    if name not in file.attrs:
        return None
    if file.attrs.get_id(name).shape != ():
        raise ValueError(f"attribute '{name}' is not one value")
    return file.attrs[name]


def arrays(file: h5py.File, names: Any) -> dict[str, np.ndarray]:
    """These datasets, which must lie in this file and be as large as what is stored of them."""
    found = {name: _dataset(file, name) for name in names}
    size = limits.size_of(file.filename)
    limits.check(sum(max(dataset.nbytes, _chunk(dataset)) for dataset in found.values()), size)
    return {name: dataset[()] for name, dataset in found.items()}


def check_all(file: h5py.File, size: int) -> None:
    """Raises ValueError where anything in a file of this size leads out of it, or claims more than it has."""
    claimed, groups, seen = 0, [file["/"]], set()
    while groups:
        group = groups.pop()
        if group.id in seen:
            raise ValueError(f"group '{group.name}' is there twice")
        seen.add(group.id)
        for name in group:
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise ValueError(f"'{name}' is a link")
            if isinstance(group[name], h5py.Group):
                groups.append(group[name])
            else:
                claimed += _dataset(group, name, "biufcSUOV").nbytes
    limits.check(claimed, size)


def _dataset(file: h5py.Group, name: str, kinds: str = "biufc") -> h5py.Dataset:
    if name not in file:
        raise ValueError(f"it has no array '{name}'")
    if not isinstance(file.get(name, getlink=True), h5py.HardLink) or not isinstance(file[name], h5py.Dataset):
        raise ValueError(f"'{name}' is a link, or no array")
    dataset = file[name]
    if dataset.shape is None:
        raise ValueError(f"'{name}' holds nothing")
    if dataset.external or dataset.is_virtual:
        raise ValueError(f"'{name}' lies in another file")
    if dataset.dtype.kind not in kinds:
        raise ValueError(f"'{name}' has {dataset.dtype}, no numbers")
    made = dataset.id.get_create_plist()
    if not {made.get_filter(i)[0] for i in range(made.get_nfilters())} <= _FILTERS:
        raise ValueError(f"'{name}' is compressed in a way that none of ours is")
    if max(dataset.nbytes, _chunk(dataset)) > max(_LEAST, _most(dataset)):
        raise ValueError(f"'{name}' claims {dataset.nbytes:,} bytes, far more than the file holds")
    if dataset.nbytes and not dataset.id.get_storage_size():
        raise ValueError(f"'{name}' claims {dataset.nbytes:,} bytes, of which none are there")
    return dataset


def _most(dataset: h5py.Dataset) -> int:
    """Bytes that can come of what is stored."""
    stored = dataset.id.get_storage_size()
    return stored * limits.DEFLATED if dataset.id.get_create_plist().get_nfilters() else stored


def _chunk(dataset: h5py.Dataset) -> int:
    """Bytes that are unpacked at once."""
    return int(np.prod(dataset.chunks, dtype=object)) * dataset.dtype.itemsize if dataset.chunks else 0


def _digest(path: str | Path) -> str:
    """SHA-256 of all but the first bytes."""
    made = hashlib.sha256()
    with open(path, "rb") as file:
        file.seek(BLOCK)
        while piece := file.read(2**20):
            made.update(piece)
    return made.hexdigest()
