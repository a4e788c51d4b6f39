"""Rows of a CSV file of results, each of which is measured once.

Beside it lies `<name>.csv.sha256`, as `sha256sum -c` reads it, by which a number that was changed is told. Files
without one are read as they are.
"""

import csv
import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from kerasticket.files import limits
from kerasticket.files.atomic import atomic, check_writable

MOST = 2**26  # bytes


def read_rows(
    path: Path, columns: tuple[str, ...] | None, numbers: Mapping[str, type] | None = None
) -> list[dict[str, Any]]:
    """Those of the file, as text; none of a new file.

    Args:
        columns: that it must have; None: any.
        numbers: columns that must hold numbers of a type.

    Raises:
        ValueError: the file has other columns, was cut or changed, or its folder cannot be written to.
    """
    check_writable(path.parent)
    if not path.exists():
        return []
    _check_digest(path)
    try:
        if limits.size_of(path) > MOST:
            raise ValueError("it is too large")
        with open(path, newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file, strict=True)
            found, rows = tuple(reader.fieldnames or ()), list(reader)
    except (OSError, ValueError, csv.Error) as error:
        raise ValueError(f"'{path}' is no CSV file, or damaged: {error}. Delete it to measure it again.") from error
    if columns is not None and found != columns:
        raise ValueError(
            f"Expected --csv of an earlier evaluation, or a new file. Received: '{path}' of other columns."
        )
    for line, row in enumerate(rows, 2):
        _check_row(row, f"line {line} of '{path}'", numbers or {})
    return rows


def write_rows(rows: list[dict[str, Any]], path: Path) -> None:
    """Writes the rows, and the digest of the file beside it."""
    with atomic(path) as temporary:
        with open(temporary, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        new = _line(temporary, path.name)
        # Both first: a kill between the two files leaves a digest that fits either.
        _write_digest(path, [_line(path, path.name), new] if path.exists() else [new])
    _write_digest(path, [new])


def find(rows: Iterable[dict[str, Any]], row: dict[str, Any], columns: tuple[str, ...]) -> dict[str, Any] | None:
    """The first of the rows that has these columns as `row` has them."""
    wanted = [_text(row[column]) for column in columns]
    return next((each for each in rows if [_text(each[column]) for column in columns] == wanted), None)


def _text(value: Any) -> str:
    """As CSV has it."""
    return "" if value is None else str(value)


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _line(path: Path, name: str) -> str:
    return f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {name}\n"


def _write_digest(path: Path, lines: list[str]) -> None:
    with atomic(_beside(path)) as temporary:
        temporary.write_text("".join(lines))


def _check_digest(path: Path) -> None:
    beside = _beside(path)
    if beside.exists() and _line(path, path.name).encode() not in beside.read_bytes().splitlines(keepends=True):
        raise ValueError(
            f"'{path}' was cut, or changed after it was written, as '{beside.name}' tells. Delete both to measure "
            f"again, or '{beside.name}' alone if the change is yours."
        )


def _check_row(row: dict[str | None, Any], where: str, numbers: Mapping[str, type]) -> None:
    if None in row or None in row.values():
        raise ValueError(f"Expected as many fields as columns in {where}. Received: fewer or more; it is damaged.")
    for name, kind in numbers.items():
        try:
            kind(row.get(name, ""))
        except ValueError as error:
            raise ValueError(
                f"Expected {kind.__name__} as {name} in {where}. Received: {row.get(name, '')[:40]!r}; it is damaged."
            ) from error
