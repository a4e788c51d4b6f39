"""The HDF5 file of a distilled set: two arrays, and every other field as a readable JSON attribute."""

import json
import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np

FORMAT = "kerasticket distilled set"
VERSION = 1
_COMPRESSED = 1100  # times smaller than it was is the most that gzip makes anything


def write(path: Path, arrays: dict[str, np.ndarray], described: dict[str, Any]) -> None:
    """Writes the file under a temporary name in the same folder, then renames it.

    Raises:
        ValueError: if the folder is absent or cannot be written to.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with h5py.File(temporary, "w") as file:
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
        ValueError: if the file is absent, truncated, foreign, of another version or lacks a field.
    """
    if not path.is_file():
        raise ValueError(f"Expected the file of a distilled set. Received: {path}, which does not exist")
    try:
        with h5py.File(path, "r") as file:
            _check_format(path, file)
            values: dict[str, Any] = {name: json.loads(file.attrs[name]) for name in described}
            values |= {name: _array(file, name) for name in arrays}
    except (OSError, RuntimeError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(
            f"{path} is truncated, damaged or no HDF5 file of a distilled set: {error}. Make it again."
        ) from error
    return values


def _array(file: h5py.File, name: str) -> np.ndarray:
    """A dataset that lies in this file, and is not far larger than what is stored of it."""
    dataset = file[name]
    if not isinstance(file.get(name, getlink=True), h5py.HardLink) or not isinstance(dataset, h5py.Dataset):
        raise TypeError(f"'{name}' is a link, or no array")
    if dataset.external or dataset.is_virtual:
        raise TypeError(f"'{name}' lies in another file")
    if dataset.nbytes > _COMPRESSED * (dataset.id.get_storage_size() + 2**10):
        raise TypeError(f"'{name}' claims {dataset.nbytes:,} bytes, far more than the file holds")
    return dataset[()]


def _check_format(path: Path, file: h5py.File) -> None:
    if file.attrs.get("format") != FORMAT:
        raise ValueError(
            f"{path} must say format={FORMAT!r}. Received: HDF5 attributes {sorted(file.attrs)}; "
            "sets of other projects have to be imported first."
        )
    if file.attrs.get("format_version") != VERSION:
        raise ValueError(
            f"{path} must have format version {VERSION}. Received: {file.attrs.get('format_version')}; "
            "use the kerasticket that wrote it, or make the set again."
        )
