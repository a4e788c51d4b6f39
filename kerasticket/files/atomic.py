"""Files that are whole or absent: written to a temporary name and renamed."""

import contextlib
import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path

from kerasticket.files.lock import check_held

LEFT_BEHIND = re.compile(r"\.\d+\.")  # how temporary files begin, which a kill leaves
FULL = (errno.ENOSPC, errno.EDQUOT)


@contextlib.contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Gives a temporary path beside `path`; renames it to `path` if the block ends without an error.

    Raises:
        ValueError: the folder cannot be written to.
        FileNotFoundError: it is in a run that is locked here, and whose folder was deleted.
        OSError: the disk is full; what was at `path` is as it was.

    >>> import tempfile; folder = Path(tempfile.mkdtemp())
    >>> with atomic(folder / "a.txt") as temporary: _ = temporary.write_text("whole")
    >>> (folder / "a.txt").read_text()
    'whole'
    """
    path = Path(path)
    check_held(path)  # before a folder that was deleted is made anew
    check_writable(path.parent)
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        yield temporary
        os.replace(temporary, path)
    except Exception as error:
        if _says_full(error):
            raise _full(path) from error
        check_held(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def _says_full(error: BaseException | None) -> bool:
    """Whether a full disk is behind it; HDF5 reports one in words, and with other errors on top."""
    if error is None:
        return False
    full = getattr(error, "errno", None) in FULL or os.strerror(errno.ENOSPC).lower() in str(error).lower()
    return full or _says_full(error.__cause__ or error.__context__)


def _full(path: Path) -> OSError:
    return OSError(
        f"The disk is full: '{path}' could not be written. What was written before is whole. Free some space, then run "
        "the same command again; it goes on where it was."
    )


def check_writable(folder: str | Path) -> None:
    """Makes the folder; raises ValueError if that or writing into it is not possible."""
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".{os.getpid()}.probe"
        probe.touch()
        probe.unlink()
    except OSError as error:
        if error.errno in FULL:
            raise _full(folder) from error
        raise ValueError(
            f"Expected a folder that can be written to. Received: '{folder}' ({error.strerror}). Choose another one."
        ) from error
