"""Results as HDF5 files: arrays as datasets, everything else as one readable JSON attribute."""

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from kerasticket.runs import atomic


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
    with atomic(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs["format"], file.attrs["about"] = format, json.dumps(about)
        for name, array in arrays.items():
            file.create_dataset(name, data=array)


def read(path: str | Path, format: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Description and arrays of a file that `write` made.

    Raises:
        ValueError: the file is absent, damaged, or of another format.
    """
    try:
        with h5py.File(path, "r") as file:
            found = file.attrs.get("format")
            if found == format:
                return json.loads(file.attrs["about"]), {name: file[name][()] for name in file}
    except (OSError, RuntimeError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"Expected a {format} (HDF5). Received: '{path}', absent or damaged: {error}.") from error
    raise ValueError(f"Expected a {format} (HDF5). Received: '{path}', of format {found!r}.")
