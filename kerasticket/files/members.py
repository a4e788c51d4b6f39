"""Members of a ZIP archive, read whole and within bounds: no lies about sizes, no second members of one name."""

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from kerasticket.files.limits import CONTAINER, DEFLATED, check

_ENCRYPTED = 0x1
_PIECE = 2**20  # Python would unpack all that a piece holds, whatever size the archive declares


class Members:
    """An open archive whose directory is plausible.

    Args:
        file: the archive.
        size: bytes of the file that it is, or lies in.
        extra: bytes that are believed beyond four times as much.

    Raises:
        ValueError, zipfile.BadZipFile: it is none, or its directory claims what cannot be.
    """

    def __init__(self, file: str | Path | IO[bytes], size: int, extra: int = CONTAINER) -> None:
        self.size, self.extra = size, extra
        self.zip = zipfile.ZipFile(file)
        try:
            self.entries = _checked(self.zip.infolist(), size, extra)
        except BaseException:
            self.zip.close()
            raise

    def __enter__(self) -> "Members":
        return self

    def __exit__(self, *_) -> None:
        self.zip.close()

    @contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        """The member as a stream; raises ValueError where there is none."""
        if name not in self.entries:
            raise ValueError(f"it has no member '{name}'")
        with self.zip.open(self.entries[name]) as stream:
            yield stream

    def read(self, name: str) -> bytes:
        """All of a member, its checksum compared."""
        return b"".join(self.pieces(name))

    def pieces(self, name: str) -> Iterator[bytes]:
        """All of a member piece by piece, its checksum compared at the end."""
        left = self.entries[name].file_size if name in self.entries else 0
        with self.open(name) as stream:
            while piece := stream.read(_PIECE):
                left -= len(piece)
                yield piece
        if left:
            raise ValueError(f"member '{name}' is {left} bytes shorter than the archive says")


def fill(stream: IO[bytes], target: memoryview) -> None:
    """Fills the bytes of an array from a stream, whose end they are."""
    done = 0
    while done < len(target):
        piece = stream.read(min(_PIECE, len(target) - done))
        if not piece:
            raise ValueError("a member ends before its array does")
        target[done : done + len(piece)] = piece
        done += len(piece)
    if stream.read(1):
        raise ValueError("a member goes on after its array")


def _checked(entries: list[zipfile.ZipInfo], size: int, extra: int) -> dict[str, zipfile.ZipInfo]:
    found: dict[str, zipfile.ZipInfo] = {}
    for entry in entries:
        if entry.filename in found:
            raise ValueError(f"two members are called '{entry.filename}'")
        if entry.flag_bits & _ENCRYPTED:
            raise ValueError(f"member '{entry.filename}' is encrypted")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(f"member '{entry.filename}' is compressed in a way that none of ours is")
        stored = entry.compress_type == zipfile.ZIP_STORED
        if entry.file_size > (1 if stored else DEFLATED) * entry.compress_size + 64 or entry.compress_size > size:
            raise ValueError(f"member '{entry.filename}' claims {entry.file_size:,} bytes, which it cannot hold")
        found[entry.filename] = entry
    if sum(entry.compress_size for entry in entries) > size:
        raise ValueError("its members overlap")
    check(sum(entry.file_size for entry in entries), size, extra)
    return found


BROKEN = (OSError, ValueError, KeyError, EOFError, RuntimeError, MemoryError, zipfile.BadZipFile, zlib.error)
