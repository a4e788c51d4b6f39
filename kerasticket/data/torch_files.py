"""Reads tensors out of files of `torch.save`, without torch, and without running anything that a file says.

A pickle is a program. Here it may name tensors, their storages and plain containers; any other name is refused
before anything of it is imported.
"""

import io
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

_STORAGES = {
    "BoolStorage": "?",
    "ByteStorage": "u1",
    "CharStorage": "i1",
    "ShortStorage": "<i2",
    "IntStorage": "<i4",
    "LongStorage": "<i8",
    "HalfStorage": "<f2",
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
}
# The first three pickles of a file written before torch 1.6.
_OLD_MAGIC, _OLD_PROTOCOL = 0x1950A86A20F9469CFC6C, 1001


def load(path: str | Path) -> Any:
    """The object that `torch.save` wrote: tensors as NumPy arrays, in lists, tuples and dicts as they were.

    Raises:
        ValueError: the file is absent, cut short or of another format, or names anything but tensors.

    Example:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile(suffix=".pt") as file:
        ...     load(file.name)
        Traceback (most recent call last):
        ValueError: ... is empty, cut short or no file of torch.save: ...
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"Expected a file of torch.save. Received: {path}, which does not exist")
    try:
        read = _read_zip if zipfile.is_zipfile(path) else _read_old
        return read(path)
    except Forbidden as error:
        raise ValueError(f"{path} is refused, nothing of it was run: {error}") from error
    except Exception as error:  # a damaged pickle raises whatever its broken opcodes lead to
        raise ValueError(f"{path} is empty, cut short or no file of torch.save: {error!r}") from error


class Forbidden(Exception):
    """A pickle named something that is no part of a tensor."""


class _Unpickler(pickle.Unpickler):
    """Knows the names in `_NAMES` and the storages; `storage` turns (dtype, key, count) into an array."""

    def __init__(self, file, storage: Callable[[str, str, int], np.ndarray]) -> None:
        super().__init__(file)
        self.storage = storage

    def find_class(self, module: str, name: str) -> Any:
        if module in ("torch", "torch.storage") and name in _STORAGES:
            return _STORAGES[name]
        if (module, name) not in _NAMES:
            raise Forbidden(f"it wants to use {module}.{name}, and may only hold tensors in lists and dicts.")
        return _NAMES[module, name]

    def persistent_load(self, saved_id: Any) -> np.ndarray:
        kind, dtype, key, _, count, *view = saved_id
        if kind != "storage" or dtype not in _STORAGES.values() or any(part is not None for part in view):
            raise Forbidden(f"it refers to {saved_id!r}, which is no storage of a tensor.")
        return self.storage(dtype, str(key), int(count))


def _tensor(storage: np.ndarray, offset: int, size: tuple, stride: tuple, *_) -> np.ndarray:
    """The view of a storage that a tensor is, copied."""
    if not isinstance(storage, np.ndarray) or storage.ndim != 1 or len(size) != len(stride):
        raise Forbidden("it rebuilds a tensor from something that is no storage.")
    if min((offset, *size, *stride)) < 0:
        raise ValueError("a negative size")
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    if 0 not in size and last >= len(storage):
        raise ValueError(f"a tensor of shape {size} reaches beyond its {len(storage)} values")
    if 0 in size:
        return np.zeros(size, storage.dtype)
    strides = [step * storage.itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(storage[offset:], size, strides).copy()


def _parameter(data: np.ndarray, *_) -> np.ndarray:
    return data


def _dtype(name: str, *_) -> np.dtype:
    dtype = np.dtype(name)
    if dtype.hasobject:
        raise Forbidden("it holds an array of Python objects.")
    return dtype


def _scalar(dtype: np.dtype, data: bytes) -> Any:
    return np.frombuffer(data, dtype, count=1)[0]


def _bytes(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise Forbidden(f"it encodes text as {encoding!r}, which pickles of bytes do not.")
    return text.encode("latin1")


_NAMES: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    # Accuracies beside the tensors are often NumPy numbers.
    ("_codecs", "encode"): _bytes,
    ("numpy", "dtype"): _dtype,
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy._core.multiarray", "scalar"): _scalar,
}


def _read_zip(path: Path) -> Any:
    with zipfile.ZipFile(path) as archive:
        pickled = [name for name in archive.namelist() if name.count("/") == 1 and name.endswith("/data.pkl")]
        if len(pickled) != 1:
            raise ValueError("it has no data.pkl")
        folder = pickled[0].removesuffix("data.pkl")
        if f"{folder}byteorder" in archive.namelist() and archive.read(f"{folder}byteorder") != b"little":
            raise ValueError("it was written on a big-endian machine")

        def storage(dtype: str, key: str, count: int) -> np.ndarray:
            return np.frombuffer(archive.read(f"{folder}data/{key}"), dtype, count)

        return _Unpickler(io.BytesIO(archive.read(pickled[0])), storage).load()


def _read_old(path: Path) -> Any:
    """Before torch 1.6: pickles one after the other, the contents of the storages behind them."""
    storages: dict[str, np.ndarray] = {}

    def storage(dtype: str, key: str, count: int) -> np.ndarray:
        return storages.setdefault(key, np.zeros(count, dtype))

    with open(path, "rb") as file:
        head = [_Unpickler(file, storage).load() for _ in range(3)]
        if head[:2] != [_OLD_MAGIC, _OLD_PROTOCOL] or not head[2].get("little_endian"):
            raise ValueError("it does not begin as files of torch.save do")
        start = file.tell()
        _Unpickler(file, storage).load()  # says which storages there are
        for key in _Unpickler(file, storage).load():
            values = storages[str(key)]
            (count,) = struct.unpack("<q", file.read(8))
            if count != len(values):
                raise ValueError(f"storage {key} has {count} values, not {len(values)}")
            values[:] = np.frombuffer(file.read(values.nbytes), values.dtype)
        file.seek(start)
        return _Unpickler(file, storage).load()
