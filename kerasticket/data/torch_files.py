"""Reads tensors out of files of `torch.save`, without torch, and without running anything that a file says.

A pickle is a program. Here it may name tensors, their storages and plain containers, and may set the state of
nothing; any other name is refused before anything of it is imported.
"""

import io
import math
import operator
import pickle
import pickletools
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

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
_TUPLES = 30_000  # in one pickle; far deeper ones crash the interpreter when they are hashed
_EXPANDED = 2**24  # values that a tensor may have beyond those of its storage, by strides of 0
# The first two pickles of a file written before torch 1.6.
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


class _Unpickler(pickle._Unpickler):
    """Knows the names in `_NAMES` and the storages; `storage` turns (dtype, key, count) into an array.

    It is Python's own, as in C's nobody can say what setting a state may do, and its memo can be made to fill memory.
    """

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
        is_one = isinstance(saved_id, tuple) and len(saved_id) >= 5 and saved_id[0] == "storage"
        if not is_one or saved_id[1] not in _STORAGES.values() or not isinstance(saved_id[2], str):
            raise Forbidden("it refers to something that is no storage of a tensor.")
        if any(part is not None for part in saved_id[5:]):
            raise Forbidden("it refers to a part of a storage, which torch has not written for years.")
        return self.storage(saved_id[1], saved_id[2], operator.index(saved_id[4]))

    def load_build(self) -> None:
        """What sets a state: NumPy's number types and state dicts bring one that they do not need."""
        stack: list[Any] = self.stack  # type: ignore[attr-defined]
        state, target = stack.pop(), stack[-1]
        native = isinstance(target, np.dtype) and isinstance(state, tuple) and state[1] in ("<", "|", "=")
        if not (native or isinstance(target, OrderedDict)):
            raise Forbidden("it sets the state of something that is no tensor.")

    dispatch: ClassVar = {**pickle._Unpickler.dispatch, pickle.BUILD[0]: load_build}  # type: ignore[dict-item]


def _unpickled(file, storage: Callable[[str, str, int], np.ndarray]) -> Any:
    """One pickle, which ends where the next may begin."""
    start = file.tell()
    tuples = sum(opcode.name.startswith("TUPLE") for opcode, _, _ in pickletools.genops(file))
    if tuples > _TUPLES:
        raise Forbidden(f"it holds {tuples} tuples, more than any set of images.")
    file.seek(start)
    return _Unpickler(file, storage).load()


def _tensor(storage: np.ndarray, offset: int, size: tuple, stride: tuple, *_) -> np.ndarray:
    """The view of a storage that a tensor is, copied."""
    if not isinstance(storage, np.ndarray) or storage.ndim != 1 or len(size) != len(stride):
        raise Forbidden("it rebuilds a tensor from something that is no storage.")
    offset = operator.index(offset)  # Python's integers, as NumPy's wrap
    size, stride = (tuple(map(operator.index, part)) for part in (size, stride))
    if min((offset, *size, *stride)) < 0:
        raise ValueError("a negative size")
    if math.prod(size) > len(storage) + _EXPANDED:
        raise ValueError(f"a tensor of shape {size} over {len(storage)} values")
    if 0 in size:
        return np.zeros(size, storage.dtype)
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    if last >= len(storage):
        raise ValueError(f"a tensor of shape {size} reaches beyond its {len(storage)} values")
    strides = [step * storage.itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(storage[offset:], size, strides).copy()


def _parameter(data: np.ndarray, *_) -> np.ndarray:
    return data


def _dtype(name: str, *_) -> np.dtype:
    dtype = np.dtype(name) if isinstance(name, str) else np.dtype("O")
    if dtype.kind not in "biufc":
        raise Forbidden("it holds arrays of something else than numbers.")
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
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise ValueError("it is compressed, which torch.save does not do")
        pickled = [name for name in archive.namelist() if name.count("/") == 1 and name.endswith("/data.pkl")]
        if len(pickled) != 1:
            raise ValueError("it has no data.pkl")
        folder = pickled[0].removesuffix("data.pkl")
        if f"{folder}byteorder" in archive.namelist() and archive.read(f"{folder}byteorder") != b"little":
            raise ValueError("it was written on a big-endian machine")

        storages: dict[str, bytes] = {}

        def storage(dtype: str, key: str, count: int) -> np.ndarray:
            if key not in storages:
                storages[key] = archive.read(f"{folder}data/{key}")
            return np.frombuffer(storages[key], dtype, count)

        return _unpickled(io.BytesIO(archive.read(pickled[0])), storage)


def _read_old(path: Path) -> Any:
    """Before torch 1.6: pickles one after the other, the contents of the storages behind them."""
    storages: dict[str, np.ndarray] = {}

    def storage(dtype: str, key: str, count: int) -> np.ndarray:
        if count * np.dtype(dtype).itemsize > path.stat().st_size:
            raise ValueError(f"storage {key} is larger than the file")
        return storages.setdefault(key, np.zeros(count, dtype))

    with open(path, "rb") as file:
        head = [_unpickled(file, storage) for _ in range(3)]
        if head[:2] != [_OLD_MAGIC, _OLD_PROTOCOL] or not head[2].get("little_endian"):
            raise ValueError("it does not begin as files of torch.save do")
        start = file.tell()
        _unpickled(file, storage)  # says which storages there are
        for key in _unpickled(file, storage):
            values = storages[str(key)]
            (count,) = struct.unpack("<q", file.read(8))
            if count != len(values):
                raise ValueError(f"storage {key} has {count} values, not {len(values)}")
            values[:] = np.frombuffer(file.read(values.nbytes), values.dtype, len(values))
        file.seek(start)
        return _unpickled(file, storage)
