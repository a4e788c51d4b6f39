"""The HDF5 file of a distilled set: two arrays, and every other field as a readable JSON attribute."""

import json
import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from kerasticket.files import hdf5, json_text

OLD_SPACES = {"normalised": "normalized"}  # as files of before December 2026 spell them
FORMAT = "kerasticket distilled set"
VERSION = 1


def write(path: Path, arrays: dict[str, np.ndarray], described: dict[str, Any]) -> None:
    """Writes the file under a temporary name in the same folder, then renames it.

    Raises:
        ValueError: if the folder is absent or cannot be written to.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with hdf5.created(temporary) as file:
            file.attrs["format"], file.attrs["format_version"] = FORMAT, VERSION
            for name, array in arrays.items():
                file.create_dataset(name, data=array, compression="gzip", shuffle=True)
            for name, value in described.items():
                file.attrs[name] = json.dumps(value)
        os.replace(temporary, path)
    except OSError as error:
        raise ValueError(
            f"Cannot write {path}: {error}. Give a path in an existing folder that is writable."
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def read(path: Path, arrays: set[str], described: set[str]) -> dict[str, Any]:
    """The named arrays and fields of a file that `write` made; tuples come back as lists, as JSON has it.

    Raises:
        ValueError: if the file is absent, truncated, changed, foreign, of another version or lacks a field.
    """
    if not path.is_file():
        raise ValueError(f"Expected the file of a distilled set. Received: {path}, which does not exist")
    try:
        with hdf5.opened(path) as file:
            wrong = _wrong_format(file)
            values = {} if wrong else _values(file, arrays, described)
    except hdf5.BROKEN as error:
        raise ValueError(
            f"{path} is truncated, damaged or no HDF5 file of a distilled set: {error}. Make it again."
        ) from error
    if wrong:
        raise ValueError(f"{path} {wrong}")
    return values


def _values(file: h5py.File, arrays: set[str], described: set[str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name in sorted(described):
        found = hdf5.text(file, name)
        if found is None:
            raise ValueError(f"it lacks '{name}'")
        values[name] = json_text.loads(found)
    if isinstance(values.get("space"), str):
        values["space"] = OLD_SPACES.get(values["space"], values["space"])
    return values | hdf5.arrays(file, sorted(arrays))


def _wrong_format(file: h5py.File) -> str | None:
    if hdf5.text(file, "format") != FORMAT:
        return (
            f"must say format={FORMAT!r}. Received: HDF5 attributes {sorted(file.attrs)[:20]}; "
            "sets of other projects have to be imported first."
        )
    if hdf5.number(file, "format_version") != VERSION:
        return (
            f"must have format version {VERSION}. Received: {hdf5.number(file, 'format_version')}; "
            "use the kerasticket that wrote it, or make the set again."
        )
    return None
