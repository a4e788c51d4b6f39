"""How much memory a file may ask for: told before anything of it is read."""

import os
import stat
from pathlib import Path

CONTAINER = 2**28  # bytes that all members of an archive may have beyond four times the file
DECODED = 3 * 2**28  # the same for weights and masks, which zeros and packed bits make far larger than their file
DEFLATED = 1100  # times smaller than it was is the most that deflate makes anything


def size_of(path: str | Path) -> int:
    """Bytes of a file; raises ValueError unless it is an ordinary one (devices and pipes never end)."""
    try:
        found = os.stat(path)
    except (OSError, ValueError) as error:  # ValueError: a path with a zero byte
        raise ValueError(f"no such file: {getattr(error, 'strerror', None) or error}") from error
    if not stat.S_ISREG(found.st_mode):
        raise ValueError("it is a folder" if stat.S_ISDIR(found.st_mode) else "it is a device or a pipe")
    return found.st_size


def check(asked: int, size: int, extra: int = CONTAINER) -> None:
    """Raises ValueError where contents claim to be far larger than the file of this size that they lie in.

    >>> check(10**12, 500)
    Traceback (most recent call last):
    ValueError: its contents claim 1,000,000,000,000 bytes, of which 268,437,456 are believed of a file of 500
    """
    believed = 4 * size + extra
    if asked > believed:
        raise ValueError(
            f"its contents claim {asked:,} bytes, of which {believed:,} are believed of a file of {size:,}"
        )
