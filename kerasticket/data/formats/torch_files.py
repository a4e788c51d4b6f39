"""Reads tensors out of files of `torch.save`, without torch, and without running anything that a file says.

A pickle is a program. Here it may name tensors, their storages and plain containers, and may set the state of
nothing; any other name is refused before anything of it is imported.
"""

import io
import math
import operator
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from kerasticket.files.members import Members

_BFLOAT16 = "bfloat16"  # not one of NumPy's: read as float32
_STORAGES = {
    "BoolStorage": "?",
    "ByteStorage": "u1",
    "CharStorage": "i1",
    "ShortStorage": "<i2",
    "IntStorage": "<i4",
    "LongStorage": "<i8",
    "HalfStorage": "<f2",
    "BFloat16Storage": _BFLOAT16,
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
}
_EXPANDED = 2**27  # bytes that contents may take beyond twice the file: by strides of 0, or named again and again
_PICKLE = 2**22  # bytes; each may be a container of its own, and torch keeps numbers apart
_SIDES = 64  # as many as NumPy knows
_KEYS = (str, bytes, int, float, bool, type(None))
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
        found = "is a folder" if path.is_dir() else "does not exist"
        raise ValueError(f"Expected a file of torch.save. Received: {path}, which {found}")
    try:
        with open(path, "rb") as file:
            zipped = file.read(2) == b"PK"
        loaded = _read_zip(path) if zipped else _read_old(path)
        _Weight(_most(path)).of(loaded)
        return loaded
    except Forbidden as error:
        raise ValueError(f"{path} is refused, nothing of it was run: {error}") from error
    except Exception as error:  # a damaged pickle raises whatever its broken opcodes lead to
        raise ValueError(f"{path} is empty, cut short or no file of torch.save: {error!r}") from error


class Forbidden(Exception):
    """A pickle named something that is no part of a tensor."""


def _most(path: Path) -> int:
    return 2 * path.stat().st_size + _EXPANDED  # bfloat16 doubles


class _Source:
    """A file that a pickle is read from, which gives no more than is there, and makes no room for more."""

    def __init__(self, file) -> None:
        self.file = file
        here = file.tell()
        self.left = min(_PICKLE, file.seek(0, 2) - here)
        file.seek(here)

    def read(self, count: int) -> bytes:
        if not 0 <= count <= self.left:
            raise EOFError(f"a pickle names {count:,} bytes, and may have {self.left:,}")
        self.left -= count
        return self.file.read(count)

    def readline(self) -> bytes:
        line = self.file.readline(self.left)
        self.left -= len(line)
        return line


class _Weight:
    """Counts the bytes of nested containers, each as often as it is named: the pickle may name them again and again."""

    def __init__(self, most: int) -> None:
        self.most, self.known = most, {}  # type: int, dict[int, int]

    def of(self, value: Any) -> int:
        if isinstance(value, np.ndarray):
            return value.nbytes
        if not isinstance(value, (list, tuple, dict)):
            return len(value) if isinstance(value, (str, bytes, bytearray)) else 8
        if id(value) not in self.known:
            self.known[id(value)] = self.most + 1  # for those that hold themselves
            parts = value.values() if isinstance(value, dict) else value
            self.known[id(value)] = 8 + sum(map(self.of, parts))
        if self.known[id(value)] > self.most:
            raise ValueError("its containers hold each other, or the same again and again")
        return self.known[id(value)]


class _Unpickler(pickle._Unpickler):
    """Knows the names in `_NAMES` and the storages; `storage` turns (dtype, key, count) into an array.

    It is Python's own, as in C's nobody can say what setting a state may do, and its memo can be made to fill memory.
    All that it makes may have `most` bytes. Keys must be plain, as the hash of tuples that share their parts takes
    time that doubles with each of them.
    """

    def __init__(self, file, storage: Callable[[str, str, int], np.ndarray], most: int) -> None:
        super().__init__(_Source(file))
        self.storage, self.left = storage, most
        self.names = _NAMES | {("_codecs", "encode"): self.bytes}
        self.names |= {("torch._utils", name): self.tensor for name in ("_rebuild_tensor", "_rebuild_tensor_v2")}

    def find_class(self, module: str, name: str) -> Any:
        if module in ("torch", "torch.storage") and name in _STORAGES:
            return _STORAGES[name]
        if module in ("torch", "torch.storage") and name.endswith("Storage"):
            raise ValueError(f"it holds a torch.{name}; save its tensors as float32")
        if (module, name) not in self.names:
            raise Forbidden(f"it wants to use {module}.{name}, and may only hold tensors in lists and dicts.")
        return self.names[module, name]

    def persistent_load(self, saved_id: Any) -> np.ndarray:
        is_one = isinstance(saved_id, tuple) and len(saved_id) >= 5 and saved_id[0] == "storage"
        if not is_one or saved_id[1] not in _STORAGES.values() or not isinstance(saved_id[2], str):
            raise Forbidden("it refers to something that is no storage of a tensor.")
        if any(part is not None for part in saved_id[5:]):
            raise Forbidden("it refers to a part of a storage, which torch has not written for years.")
        values = self.storage(saved_id[1], saved_id[2], operator.index(saved_id[4]))
        if saved_id[1] == _BFLOAT16:
            self.spend(values.nbytes)  # made anew each time
        return values

    def tensor(self, storage: np.ndarray, offset: int, size: tuple, stride: tuple, *more: Any) -> np.ndarray:
        """What `torch._utils._rebuild_tensor_v2` makes; of `more`, the third may say that values are negated."""
        about = more[2] if len(more) > 2 else None
        if about and (not isinstance(about, dict) or set(about) != {"neg"}):
            raise ValueError("a tensor with properties that are not known here; save a .clone() of it")
        made = _view(storage, offset, size, stride, self.spend)
        return -made if about and about["neg"] else made

    def bytes(self, text: str, encoding: str) -> bytes:
        """How old pickles hold bytes."""
        if encoding != "latin1" or not isinstance(text, str):
            raise Forbidden(f"it encodes text as {encoding!r}, which pickles of bytes do not.")
        self.spend(len(text))
        return text.encode("latin1")

    def spend(self, count: int) -> None:
        self.left -= count
        if self.left < 0:
            raise ValueError("its tensors are far larger than the file")

    def load_build(self) -> None:
        """What sets a state: NumPy's number types and state dicts bring one that they do not need."""
        stack: list[Any] = self.stack  # type: ignore[attr-defined]
        state, target = stack.pop(), stack[-1]
        native = isinstance(target, np.dtype) and isinstance(state, tuple) and state[1] in ("<", "|", "=")
        if not (native or isinstance(target, OrderedDict)):
            raise Forbidden("it sets the state of something that is no tensor.")

    def load_bytearray8(self) -> None:
        """Python's own makes room for as many bytes as are named before it looks for them."""
        (count,) = struct.unpack("<Q", self.read(8))  # type: ignore[attr-defined]
        self.append(bytearray(self.read(count)))  # type: ignore[attr-defined]

    def load_setitem(self) -> None:
        stack: list[Any] = self.stack  # type: ignore[attr-defined]
        value, key = stack.pop(), stack.pop()
        _fill(stack[-1], [key, value])

    def load_setitems(self) -> None:
        items = self.pop_mark()  # type: ignore[attr-defined]
        _fill(self.stack[-1], items)  # type: ignore[attr-defined]

    def load_dict(self) -> None:
        made: dict = {}
        _fill(made, self.pop_mark())  # type: ignore[attr-defined]
        self.append(made)  # type: ignore[attr-defined]

    def refuse_set(self) -> None:
        raise Forbidden("it holds a set, and may only hold tensors in lists and dicts.")

    dispatch: ClassVar[dict[int, Any]] = {
        **pickle._Unpickler.dispatch,
        pickle.BUILD[0]: load_build,
        pickle.BYTEARRAY8[0]: load_bytearray8,
        pickle.SETITEM[0]: load_setitem,
        pickle.SETITEMS[0]: load_setitems,
        pickle.DICT[0]: load_dict,
        pickle.EMPTY_SET[0]: refuse_set,
        pickle.FROZENSET[0]: refuse_set,
    }


def _fill(target: Any, items: list) -> None:
    """Keys and values in turns, into a dict."""
    if not isinstance(target, dict) or not all(isinstance(key, _KEYS) for key in items[::2]):
        raise Forbidden("it has keys that are neither text nor numbers.")
    target.update(zip(items[::2], items[1::2], strict=True))


def _view(storage: np.ndarray, offset: int, size: tuple, stride: tuple, spend: Callable[[int], None]) -> np.ndarray:
    """The view of a storage that a tensor is, copied."""
    is_one = isinstance(storage, np.ndarray) and storage.ndim == 1 and storage.dtype != object
    if not is_one or not isinstance(size, tuple) or not isinstance(stride, tuple) or len(size) != len(stride):
        raise Forbidden("it rebuilds a tensor from something that is no storage.")
    offset = operator.index(offset)  # Python's integers, as NumPy's wrap
    size, stride = (tuple(map(operator.index, part)) for part in (size, stride))
    if min((offset, *size, *stride)) < 0 or max((offset, *size, *stride)) >= 2**63 or len(size) > _SIDES:
        raise ValueError("a negative or impossible size")
    if 0 in size:
        return np.zeros(size, storage.dtype)
    spend(math.prod(size) * storage.itemsize)
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    if last >= len(storage):
        raise ValueError(f"a tensor of shape {size} reaches beyond its {len(storage)} values")
    strides = [step * storage.itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(storage[offset:], size, strides).copy()


def _values(data: bytes, dtype: str, count: int) -> np.ndarray:
    """The first numbers in little-endian bytes."""
    if dtype != _BFLOAT16:
        return np.frombuffer(data, dtype, count)
    return (np.frombuffer(data, "<u2", count).astype("<u4") << 16).view("<f4")  # the upper half of a float32


def _ordered(pairs: Any = ()) -> OrderedDict:
    made: OrderedDict = OrderedDict()
    for pair in pairs:
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise Forbidden("it makes a dict of something else than pairs.")
        _fill(made, list(pair))
    return made


def _parameter(data: np.ndarray, *_) -> np.ndarray:
    return data


def _dtype(name: str, *_) -> np.dtype:
    dtype = np.dtype(name) if isinstance(name, str) else np.dtype("O")
    if dtype.kind not in "biufc":
        raise Forbidden("it holds arrays of something else than numbers.")
    return dtype


def _scalar(dtype: np.dtype, data: bytes) -> Any:
    return np.frombuffer(data, dtype, count=1)[0]


_NAMES: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): _ordered,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    # Accuracies beside the tensors are often NumPy numbers.
    ("numpy", "dtype"): _dtype,
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy._core.multiarray", "scalar"): _scalar,
}


def _read_zip(path: Path) -> Any:
    with Members(path, path.stat().st_size) as members:
        archive = members.zip
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise ValueError("it is compressed, which torch.save does not do")
        pickled = [name for name in archive.namelist() if name.count("/") == 1 and name.endswith("/data.pkl")]
        if len(pickled) != 1:
            raise ValueError("it has no data.pkl")
        folder = pickled[0].removesuffix("data.pkl")
        if f"{folder}byteorder" in archive.namelist() and members.read(f"{folder}byteorder") != b"little":
            raise ValueError("it was written on a big-endian machine")

        storages: dict[str, bytes] = {}

        def storage(dtype: str, key: str, count: int) -> np.ndarray:
            if key not in storages:
                storages[key] = members.read(f"{folder}data/{key}")
            return _values(storages[key], dtype, count)

        return _Unpickler(io.BytesIO(members.read(pickled[0])), storage, _most(path)).load()


def _read_old(path: Path) -> Any:
    """Before torch 1.6: pickles one after the other, the contents of the storages behind them."""
    storages: dict[str, np.ndarray] = {}

    def storage(dtype: str, key: str, count: int) -> np.ndarray:
        if dtype == _BFLOAT16:
            raise ValueError("bfloat16 in the form of before torch 1.6")
        if key not in storages:
            held = sum(each.nbytes for each in storages.values())
            if count < 0 or held + count * np.dtype(dtype).itemsize > path.stat().st_size:
                raise ValueError(f"storage {key} is larger than the file")
            storages[key] = np.zeros(count, dtype)
        return storages[key]

    def unpickled(file) -> Any:  # one pickle, which ends where the next begins
        return _Unpickler(file, storage, _most(path)).load()

    with open(path, "rb") as file:
        head = [unpickled(file) for _ in range(3)]
        if head[:2] != [_OLD_MAGIC, _OLD_PROTOCOL] or not head[2].get("little_endian"):
            raise ValueError("it does not begin as files of torch.save do")
        start = file.tell()
        unpickled(file)  # says which storages there are
        for key in unpickled(file):
            values = storages[str(key)]
            (count,) = struct.unpack("<q", file.read(8))
            if count != len(values):
                raise ValueError(f"storage {key} has {count} values, not {len(values)}")
            values[:] = np.frombuffer(file.read(values.nbytes), values.dtype, len(values))
        file.seek(start)
        return unpickled(file)
