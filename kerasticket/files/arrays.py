"""Arrays of `.npz` files, and the manifest by which a changed, absent or additional one is told.

The member `manifest` is JSON as bytes: the SHA-256 of each other array by name. Files without one are read as they
are. Python objects in a file are never loaded.
"""

import hashlib
import json
import math
import tokenize
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from kerasticket.files import json_text
from kerasticket.files.limits import CONTAINER, size_of
from kerasticket.files.members import Members, fill

MANIFEST = "manifest"
_HEADERS: dict[tuple[int, int], Any] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def with_manifest(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays and their manifest.

    >>> sorted(with_manifest({"kernel": np.ones(2)}))
    ['kernel', 'manifest']
    """
    digests = {name: digest(np.asarray(array)) for name, array in arrays.items()}
    return {**arrays, MANIFEST: np.array(json.dumps(digests).encode())}


def digest(array: np.ndarray) -> str:
    """SHA-256 of an array's kind, shape and bytes in row-major order."""
    made = hashlib.sha256(f"{array.dtype.kind}{array.dtype.itemsize} {array.shape} ".encode())
    if array.nbytes:
        made.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return made.hexdigest()


class Arrays:
    """An open `.npz` file, whose arrays are read one by one and compared with its manifest, if it has one.

    Args:
        file: the archive.
        size: bytes of the file that it is, or lies in; None: `file` is a path.
        extra: as of `Members`.

    Raises:
        ValueError and what zipfile and zlib raise: it is no such archive, or the manifest names other arrays.
    """

    def __init__(self, file: str | Path | IO[bytes], size: int | None = None, extra: int = CONTAINER) -> None:
        self.members = Members(file, size_of(file) if size is None else size, extra)  # type: ignore[arg-type]
        try:
            members = self.members.entries
            foreign = [name for name in members if not name.endswith(".npy")]
            if foreign:
                raise ValueError(f"member '{foreign[0]}' is no array")
            self.names = tuple(name.removesuffix(".npy") for name in members)
            self.digests = self._manifest()
        except BaseException:
            self.members.zip.close()
            raise

    def __enter__(self) -> "Arrays":
        return self

    def __exit__(self, *_) -> None:
        self.members.zip.close()

    def __getitem__(self, name: str) -> np.ndarray:
        array = self._read(name)
        if self.digests is not None and digest(array) != self.digests[name]:
            raise ValueError(f"'{name}' is another array than the manifest says: it was changed")
        return array

    def all(self) -> dict[str, np.ndarray]:
        """Every array by name, without the manifest."""
        return {name: self[name] for name in self.names}

    def _read(self, name: str) -> np.ndarray:
        entry = f"{name}.npy"
        with self.members.open(entry) as stream:
            return _array(stream, self.members.entries[entry].file_size)

    def _manifest(self) -> dict[str, str] | None:
        if MANIFEST not in self.names:
            return None
        content = self._read(MANIFEST)
        if content.dtype.kind != "S" or content.shape != ():
            raise ValueError("its manifest is none")
        self.names = tuple(name for name in self.names if name != MANIFEST)
        digests = json_text.loads(content.item())
        if not isinstance(digests, dict):
            raise ValueError("its manifest is none")
        for what, names in (("lacks", digests.keys() - set(self.names)), ("adds", set(self.names) - digests.keys())):
            if names:
                raise ValueError(f"it {what} arrays against its manifest: {sorted(names)[:4]}")
        return digests


def _array(stream: IO[bytes], size: int) -> np.ndarray:
    """One array, which is all of the member and no larger than that."""
    version = np.lib.format.read_magic(stream)
    if version not in _HEADERS:
        raise ValueError(f"an array of NumPy's format {version}, which plain ones do not need")
    try:
        shape, by_columns, dtype = _HEADERS[version](stream)
    except (tokenize.TokenError, SyntaxError, TypeError, RecursionError) as error:
        # NumPy reads a header that is no literal as one of Python 2, token by token.
        raise ValueError(f"an array whose header NumPy cannot read ({error})") from error
    if dtype.hasobject or dtype.fields or dtype.subdtype:
        raise ValueError(f"an array of {dtype}, which is no plain one")
    count, body = math.prod(shape), size - stream.tell()
    if min(shape, default=0) < 0 or count * dtype.itemsize != body or (count > 1 and not dtype.itemsize):
        raise ValueError(f"an array that claims shape {shape} of {dtype}, and has {body:,} bytes")
    flat = np.empty(count, dtype)
    if flat.nbytes:
        fill(stream, flat.view(np.uint8).data)
    if dtype.kind == "b" and count and flat.view(np.uint8).max() > 1:
        raise ValueError("booleans that are neither 0 nor 1")
    return flat.reshape(shape[::-1]).T if by_columns else flat.reshape(shape)
