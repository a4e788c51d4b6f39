"""Opens `.keras` files of others: nothing in them is believed before Keras builds and fills what they say."""

import hashlib
import io
import math
import random
from pathlib import Path
from typing import Any

import h5py
import keras

from kerasticket.files import hdf5, json_text, limits
from kerasticket.files.members import Members

CONFIG, WEIGHTS = "config.json", "model.weights.h5"
MOST_VALUES = 2**27  # beyond those that the file has room for: 512 MiB of float32


def load(path: str | Path) -> keras.Model:
    """The model of a `.keras` file, not compiled; runs nothing that the file says.

    Raises:
        ValueError: no such file, a damaged one, one that reaches into other files, or that claims far more weights
            than it holds.

    >>> load("absent.keras")
    Traceback (most recent call last):
    ValueError: Expected a .keras file. Received: 'absent.keras' (ValueError: no such file: No such file or ...
    """
    try:
        with opened(path) as members:
            check(members)
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras, h5py and zipfile have their own each
        raise ValueError(
            f"Expected a .keras file. Received: '{path}' ({type(error).__name__}: {error}). It is absent, damaged or "
            "another kind of file; make it again."
        ) from error


def opened(path: str | Path) -> Members:
    """The archive, closed by `with`, whose members lie in it and nowhere else; raises ValueError and BadZipFile."""
    members = Members(path, limits.size_of(path))
    outside = [name for name in members.entries if name.startswith("/") or {"..", ""} & set(_parts(name)[:-1])]
    if outside or any(":" in name.partition("/")[0] for name in members.entries):
        members.zip.close()
        raise ValueError(f"members that lead out of it: {outside[:2]}")
    return members


def check(members: Members, told: bool = False) -> dict[str, str]:
    """Reads all members once; the SHA-256 of each.

    Args:
        told: a manifest is known to tell whether they were changed, so that what it builds needs no look.

    Raises:
        ValueError: a checksum is wrong, or the model of the archive is none that Keras may be given.
    """
    digests = {}
    for name in members.entries:
        made = hashlib.sha256()
        for piece in members.pieces(name):
            made.update(piece)
        digests[name] = made.hexdigest()
    if WEIGHTS in members.entries:
        content = members.read(WEIGHTS)
        with h5py.File(io.BytesIO(content), "r") as file:
            hdf5.check_all(file, len(content))
    if CONFIG in members.entries and not told:
        _check_weights(json_text.loads(members.read(CONFIG)), members)
    return digests


def _parts(name: str) -> list[str]:
    return name.replace("\\", "/").split("/")


def _check_weights(config: dict, members: Members) -> None:
    """Raises ValueError where a config asks for far more weights than the file has."""
    most = members.size + MOST_VALUES
    if _widest(config) > most:
        raise ValueError(f"its config asks for {_widest(config):,} weights, in a file of {members.size:,} bytes")
    here = random.getstate()  # initializers without a seed draw one
    try:
        with keras.StatelessScope(initialize_variables=False):  # shapes, and no values
            model = keras.saving.deserialize_keras_object(_of_zeros(config), safe_mode=True)
            values = sum(math.prod(variable.shape) for variable in model.variables)
    except Exception:  # layers that look at their values; what is wrong Keras says when it loads the file
        return
    finally:
        random.setstate(here)
    if values > most:
        raise ValueError(f"its config asks for {values:,} weights, in a file of {members.size:,} bytes")


def _of_zeros(config: Any) -> Any:
    """The config with zeros for each initializer: those that draw with NumPy would draw all values for a shape."""
    if isinstance(config, dict):
        return {key: "zeros" if key.endswith("_initializer") else _of_zeros(each) for key, each in config.items()}
    return [_of_zeros(each) for each in config] if isinstance(config, list) else config


def _widest(config: Any) -> int:
    """The largest number of units or filters of any layer."""
    if isinstance(config, dict):
        own = [config[name] for name in ("units", "filters", "output_dim", "input_dim") if name in config]
        return max([*(each for each in own if isinstance(each, int)), *map(_widest, config.values())], default=0)
    return max(map(_widest, config), default=0) if isinstance(config, list) else 0
