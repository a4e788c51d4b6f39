"""What a study leaves for a reader: a title, rows, and the folder where all of it lies."""

import dataclasses
from pathlib import Path
from typing import Any


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The end of a study.

    Attributes:
        folder: tables and figures.
        title: what was trained on what.
        rows: of its table.
    """

    folder: Path
    title: str
    rows: list[dict[str, Any]]
