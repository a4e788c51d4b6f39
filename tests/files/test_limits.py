"""What a file may ask for, told before it is read."""

import os

import pytest

from kerasticket.files import limits

pytestmark = pytest.mark.same_on_every_backend


def test_an_ordinary_file_has_its_size(tmp_path):
    (tmp_path / "a").write_bytes(bytes(1234))
    (tmp_path / "link").symlink_to(tmp_path / "a")
    assert limits.size_of(tmp_path / "a") == limits.size_of(str(tmp_path / "link")) == 1234


def test_what_never_ends_or_is_none_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path, message in (
        (tmp_path, "it is a folder"),
        (tmp_path / "pipe", "it is a device or a pipe"),
        ("/dev/zero", "it is a device or a pipe"),
        (tmp_path / "absent", "no such file: No such file or directory"),
        ("zero\0byte", "no such file: .*null byte"),
    ):
        with pytest.raises(ValueError, match=message):
            limits.size_of(path)


def test_four_times_the_file_and_what_is_beyond_are_believed():
    limits.check(4 * 100 + 7, 100, extra=7)
    with pytest.raises(ValueError, match="claim 408 bytes, of which 407 are believed of a file of 100"):
        limits.check(408, 100, extra=7)
