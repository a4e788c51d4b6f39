"""The lock of a folder of results: one process writes to it, and while others read, none deletes it.

    <folder>/.lock          held by the process that writes
    <folder>/.lock.readers  held by all that read; who deletes what is there (`--force`) must have it alone
    <folder>/.FILE.lock     of a single file that a command makes

The lock is the operating system's (`flock`), so that it ends with its process, however that ends, and no clock or
process table is asked. The file says who holds it. On network file systems it holds between machines where the file
system has it so (NFS with lockd does, Lustre with `-o localflock` does not): if the last holder was on another machine
and did not say that it ended, and if a file system has no locks at all, there is a warning.
"""

import contextlib
import errno
import json
import os
import platform
import time
import warnings
import weakref
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

LOCK, READERS = ".lock", ".lock.readers"
_TAKEN = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)
_held: "weakref.WeakValueDictionary[Path, RunLock]" = weakref.WeakValueDictionary()


class RunLock:
    """A lock, held until `release`, the end of its `with` block, or until nothing refers to it any more.

    Within a process, who asks for a lock that is held is given the same one. Forked children do not hold it.

    Args:
        file: that is locked; made if absent.
        shared: whether others may hold it as well, all of them shared.

    Raises:
        ValueError: another process holds it; its number and machine are named.
    """

    def __init__(self, file: Path, *, shared: bool = False):
        self.file, self.shared, self.descriptor = file, shared, -1
        while not self._open():  # its last holder removed it in between
            pass
        # Not in release: a lock that nobody refers to must go as well.
        self._finalizer = weakref.finalize(self, _release, self.descriptor, file, os.getpid())

    @classmethod
    def of_folder(cls, folder: str | Path) -> "RunLock":
        """The lock of who writes to a folder, which is there."""
        return cls._known(Path(os.path.realpath(folder)) / LOCK, shared=False)

    @classmethod
    def of_readers(cls, folder: str | Path, *, alone: bool = False) -> "RunLock | None":
        """The lock of who reads a folder or, `alone`, deletes what is in it; None where nothing may be written."""
        try:
            return cls._known(Path(os.path.realpath(folder)) / READERS, shared=not alone)
        except PermissionError:
            return None
        except OSError as error:
            if error.errno == errno.EROFS:
                return None
            raise

    @classmethod
    def of_file(cls, file: str | Path) -> "RunLock":
        """The lock of who makes a file, beside it."""
        path = Path(os.path.realpath(file))
        return cls._known(path.with_name(f".{path.name}.lock"), shared=False)

    @classmethod
    def _known(cls, file: Path, *, shared: bool) -> "RunLock":
        held = _held.get(file)
        if held is None or not held.stands() or (held.shared and not shared):
            held = _held[file] = cls(file, shared=shared)
        return held

    def _open(self) -> bool:
        """Opens and locks the file; False if it is no longer the one at that path."""
        descriptor = os.open(self.file, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o666)
        try:
            if not _lock(descriptor, self.shared):
                raise ValueError(self._refusal())
        except BaseException:
            os.close(descriptor)
            raise
        if not _is_at(descriptor, self.file):
            os.close(descriptor)
            return False
        self.descriptor = descriptor
        if not self.shared:
            self._sign()
        return True

    def _sign(self) -> None:
        """Says who holds the lock, and warns of a holder on another machine who did not say that it ended."""
        before, here = _read(self.file), platform.node()
        if before.get("host", here) != here:
            warnings.warn(
                f"The last command in '{self.file.parent}' ran on host '{before['host']}' (process "
                f"{before.get('process')}) and was killed, or still works there behind a file system that keeps locks "
                "within one machine. If it still works, end one of the two.",
                stacklevel=2,
            )
        os.ftruncate(self.descriptor, 0)
        os.pwrite(self.descriptor, json.dumps({"process": os.getpid(), "host": here}).encode(), 0)

    def _refusal(self) -> str:
        if self.file.name == READERS:
            return (
                f"Expected that nobody deletes '{self.file.parent}' while another command reads it. Received: another "
                "process is at the one or the other. Wait until it has ended, or choose another --out."
            )
        holder = _read(self.file, seconds=1.0)
        who = f"process {holder['process']} on host '{holder['host']}'" if holder else "another process"
        what = self.file.parent
        if self.file.name != LOCK:
            what /= self.file.name[1 : -len(LOCK)]
        return (
            f"Expected that no other command writes to '{what}'. Received: {who} does. Wait until it has ended, end "
            "it, or choose another --out; --force does not help. A lock ends with its process."
        )

    def stands(self) -> bool:
        """Whether the lock is held, and its file still where it was."""
        return self._finalizer.alive and _is_at(self.descriptor, self.file)

    def check(self) -> None:
        """Raises FileNotFoundError if the folder was deleted or moved since."""
        if not self.stands():
            raise FileNotFoundError(
                f"'{self.file.parent}' was deleted, moved or emptied while this command worked in it: its results are "
                "not whole. Run the same command again; it makes what is missing."
            )

    def release(self) -> None:
        self._finalizer()

    def __enter__(self) -> "RunLock":
        return self

    def __exit__(self, *error) -> None:
        if error[0] is None and self._finalizer.alive:
            self.check()
        self.release()


def check_held(path: Path) -> None:
    """Raises FileNotFoundError if `path` is in a folder that this process has locked to write, and that is gone."""
    if not _held:
        return
    inside = Path(os.path.realpath(path))
    for lock in list(_held.values()):
        if lock.file.name == LOCK and inside.is_relative_to(lock.file.parent) and lock._finalizer.alive:
            lock.check()


def _lock(descriptor: int, shared: bool) -> bool:
    """Whether the lock could be had, at once."""
    if fcntl is None:
        _warn_of_no_locks("this system")
        return True
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _TAKEN:
            return False
        _warn_of_no_locks(f"this file system ({error.strerror})")
    return True


def _warn_of_no_locks(where: str) -> None:
    warnings.warn(
        f"There are no locks on {where}: two commands that write to one folder at once are not noticed.", stacklevel=5
    )


def _is_at(descriptor: int, file: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(file))
    except OSError:
        return False


def _read(file: Path, seconds: float = 0.0) -> dict[str, Any]:
    """Who holds the lock, {} if it says nothing; its holder may be about to write it."""
    until = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError, ValueError):
            found = json.loads(file.read_text())
            if isinstance(found, dict) and {"process", "host"} <= found.keys():
                return found
        if time.monotonic() >= until:
            return {}
        time.sleep(0.05)


def _release(descriptor: int, file: Path, process: int) -> None:
    """Ends the lock and removes its file, unless others hold it as well."""
    if process != os.getpid():
        return  # a child's copy, which is closed already
    try:
        # Who waits for the file looks whether it is still there once it has the lock.
        if _is_at(descriptor, file) and _lock(descriptor, shared=False):
            file.unlink(missing_ok=True)
    except OSError:
        pass  # of a file system that has become read-only: the lock itself ends below
    finally:
        os.close(descriptor)


def _forget() -> None:
    """In a forked child: closes its copies, which would hold the locks beyond the end of their process."""
    for lock in list(_held.values()):
        lock._finalizer.detach()
        with contextlib.suppress(OSError):
            os.close(lock.descriptor)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
