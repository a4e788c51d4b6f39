"""A file is whole or absent, and a full disk or a folder that cannot be written to is said."""

import errno
import os
from pathlib import Path

import pytest

from kerasticket.files.atomic import LEFT_BEHIND, atomic, check_writable
from kerasticket.files.json_files import read_json, write_json

pytestmark = pytest.mark.same_on_every_backend


def test_an_interrupted_write_leaves_nothing(tmp_path):
    target = tmp_path / "a.json"

    def interrupted():
        with atomic(target) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def full(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_is_said_and_damages_nothing(tmp_path, monkeypatch):
    target = tmp_path / "a.json"
    write_json(target, {"old": 1})
    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_text", full)
        with pytest.raises(OSError, match=r"The disk is full: '.*a\.json' could not be written.*goes on"):
            write_json(target, {"new": 1})
        patched.setattr(Path, "touch", full)
        with pytest.raises(OSError, match="The disk is full"):
            check_writable(tmp_path)
    assert read_json(target) == {"old": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_what_hdf5_says_of_a_full_disk_is_understood(tmp_path):
    words = RuntimeError(f"Unable to flush: errno = 28, error message = '{os.strerror(errno.ENOSPC)}'")
    below = RuntimeError("Unable to close")
    below.__context__ = OSError(errno.ENOSPC, "")
    for error in (words, below):
        with pytest.raises(OSError, match="The disk is full"), atomic(tmp_path / "a.h5"):
            raise error
    with pytest.raises(RuntimeError, match="another fault"), atomic(tmp_path / "a.h5"):
        raise RuntimeError("another fault")


def test_until_the_end_the_old_file_stands_and_the_new_one_is_hidden_beside_it(tmp_path):
    target = tmp_path / "deep" / "a.txt"
    with atomic(target) as temporary:
        temporary.write_text("old")
        assert not target.exists()
    with atomic(target) as temporary:
        temporary.write_text("new")
        assert target.read_text() == "old"
        assert temporary.parent == target.parent
        assert LEFT_BEHIND.match(temporary.name)
    assert target.read_text() == "new"
    assert [path.name for path in target.parent.iterdir()] == ["a.txt"]


def test_a_file_in_the_place_of_a_folder_is_refused(tmp_path):
    (tmp_path / "a").touch()
    with pytest.raises(ValueError, match="Expected a folder that can be written to. Received: '.*a/b' .*Choose an"):
        check_writable(tmp_path / "a" / "b")
    check_writable(tmp_path / "c" / "d")
    assert not list((tmp_path / "c" / "d").iterdir())
