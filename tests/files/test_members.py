"""Members of ZIP archives: read whole, and archives that lie about them are refused."""

import io
import warnings
import zipfile

import mutants
import numpy as np
import pytest

from kerasticket.files.members import BROKEN, Members, fill

pytestmark = pytest.mark.same_on_every_backend
LARGE = np.random.default_rng(0).bytes(2**20 + 3)  # more than a piece


def opened(content: bytes, **options) -> Members:
    return Members(io.BytesIO(content), len(content), **options)


@pytest.mark.parametrize("how", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_members_come_back_whole_and_in_pieces(how):
    with opened(mutants.zipped({"a": LARGE, "empty": b""}, how=how)) as archive:
        assert list(archive.entries) == ["a", "empty"]
        assert archive.read("a") == LARGE
        assert [len(piece) for piece in archive.pieces("a")] == [2**20, 3]
        assert archive.read("empty") == b""
        with pytest.raises(ValueError, match="it has no member 'b'"):
            archive.read("b")


def other_how(how: int) -> bytes:
    return mutants.zipped({"a": LARGE}, how=how)


def twice() -> bytes:
    made = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(made, "w") as archive:
        warnings.simplefilter("ignore")
        archive.writestr("a", b"1")
        archive.writestr("a", b"2")
    return made.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (twice(), "two members are called 'a'"),
        (other_how(zipfile.ZIP_BZIP2), "member 'a' is compressed in a way that none of ours is"),
        (mutants.zipped({"a": bytes(2**22)}), "its contents claim 4,194,304 bytes"),
    ],
)
def test_a_directory_that_cannot_be_is_refused(content, message):
    with pytest.raises(ValueError, match=message):
        opened(content, extra=2**20)


def test_a_changed_byte_is_told_by_its_checksum():
    content = bytearray(mutants.zipped({"a": b"content"}, how=zipfile.ZIP_STORED))
    content[content.find(b"content")] ^= 1
    with opened(bytes(content)) as archive, pytest.raises(zipfile.BadZipFile, match="CRC"):
        archive.read("a")


def test_what_is_no_archive_is_among_the_errors_to_expect():
    for content in (b"", b"PK", mutants.zipped({"a": b"1"})[:-5]):
        with pytest.raises(BROKEN):
            opened(content)


def test_an_array_is_filled_by_exactly_its_bytes():
    array = np.zeros(3, np.uint8)
    fill(io.BytesIO(b"\1\2\3"), array.data)
    assert array.tolist() == [1, 2, 3]
    with pytest.raises(ValueError, match="ends before its array does"):
        fill(io.BytesIO(b"\1\2"), array.data)
    with pytest.raises(ValueError, match="goes on after its array"):
        fill(io.BytesIO(b"\1\2\3\4"), array.data)
