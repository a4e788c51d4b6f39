"""CSV files of results: read as they were written, refused where they were cut or changed."""

import hashlib

import pytest

from kerasticket.files import rows as module
from kerasticket.files.rows import find, read_rows, write_rows

pytestmark = pytest.mark.same_on_every_backend

ROWS = [{"kind": "imp", "round": index, "loss": 0.5 * index, "note": None} for index in range(3)]
COLUMNS = ("kind", "round", "loss", "note")
NUMBERS = {"round": int, "loss": float}


@pytest.fixture
def path(tmp_path):
    write_rows(ROWS, tmp_path / "rows.csv")
    return tmp_path / "rows.csv"


def test_rows_are_read_as_text(path):
    assert read_rows(path, COLUMNS, NUMBERS) == [
        {"kind": "imp", "round": str(index), "loss": str(0.5 * index), "note": ""} for index in range(3)
    ]


def test_a_new_file_has_no_rows(tmp_path):
    assert read_rows(tmp_path / "absent.csv", COLUMNS) == []


def test_the_digest_is_as_sha256sum_reads_it(path):
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert (path.parent / "rows.csv.sha256").read_text() == f"{digest}  rows.csv\n"
    assert {each.name for each in path.parent.iterdir()} == {"rows.csv", "rows.csv.sha256"}


def test_a_number_that_was_changed_is_told(path):
    path.write_bytes(path.read_bytes().replace(b"0.5", b"0.6"))
    with pytest.raises(ValueError, match=r"was cut, or changed.*rows.csv.sha256"):
        read_rows(path, COLUMNS)
    (path.parent / "rows.csv.sha256").unlink()  # the change is ours
    assert read_rows(path, COLUMNS)[1]["loss"] == "0.6"


def test_a_kill_between_the_two_files_leaves_a_digest_that_fits_either(path, monkeypatch):
    written = []
    monkeypatch.setattr(module, "_write_digest", lambda path, lines: written.append(lines))
    before = (path.parent / "rows.csv.sha256").read_text()
    write_rows(ROWS[:1], path)
    (old, new), (last,) = written
    assert (old, new) == (before, last)


def test_a_digest_of_before_and_after_is_taken(path):
    beside = path.parent / "rows.csv.sha256"
    beside.write_text(f"{'0' * 64}  rows.csv\n" + beside.read_text())
    assert len(read_rows(path, COLUMNS)) == 3


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ("kind,round\nimp,1\n", "of other columns"),
        ("kind,round,loss,note\nimp,1,0.5\n", "as many fields as columns in line 2"),
        ("kind,round,loss,note\nimp,1,0.5,,7\n", "as many fields as columns in line 2"),
        ("kind,round,loss,note\nimp,one,0.5,\n", "Expected int as round in line 2.*'one'"),
        ('kind,round,loss,note\nimp,1,"0.5', "is no CSV file, or damaged"),
    ],
)
def test_damage_is_refused_with_its_line(content, match, tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text(content)
    with pytest.raises(ValueError, match=match):
        read_rows(path, COLUMNS, NUMBERS)


def test_bytes_that_are_no_text_and_files_that_are_too_large(tmp_path, monkeypatch):
    path = tmp_path / "rows.csv"
    path.write_bytes(b"kind\n\xff\xfe\n")
    with pytest.raises(ValueError, match="is no CSV file, or damaged"):
        read_rows(path, None)
    monkeypatch.setattr(module, "MOST", 3)
    with pytest.raises(ValueError, match="it is too large"):
        read_rows(path, None)


def test_any_columns_are_read_where_none_are_asked_for(path):
    assert tuple(read_rows(path, None)[0]) == COLUMNS


def test_rows_are_found_by_what_the_file_says_of_them(path):
    rows = read_rows(path, COLUMNS)
    assert find(rows, ROWS[2], COLUMNS) == rows[2]
    assert find(rows, ROWS[2] | {"loss": 9.0}, ("kind", "round")) == rows[2]
    assert find(rows, ROWS[2] | {"loss": 9.0}, COLUMNS) is None
