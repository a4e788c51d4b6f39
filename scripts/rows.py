"""Rows of a CSV file of results, each of which is measured once."""

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from kerasticket.runs import check_writable


def read_rows(path: Path, columns: tuple[str, ...]) -> list[dict[str, Any]]:
    """Those of the file, as text; none of a new file.

    Raises:
        ValueError: the file has other columns, or its folder cannot be written to.
    """
    check_writable(path.parent)
    if not path.exists():
        return []
    with open(path, newline="") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != columns:
            raise ValueError(
                f"Expected --csv of an earlier evaluation, or a new file. Received: '{path}' of other columns."
            )
        return list(reader)


def find(rows: Iterable[dict[str, Any]], row: dict[str, Any], columns: tuple[str, ...]) -> dict[str, Any] | None:
    """The first of the rows that has these columns as `row` has them."""
    wanted = [_text(row[column]) for column in columns]
    return next((each for each in rows if [_text(each[column]) for column in columns] == wanted), None)


def _text(value: Any) -> str:
    """As CSV has it."""
    return "" if value is None else str(value)
