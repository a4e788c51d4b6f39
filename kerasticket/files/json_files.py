"""JSON files of ours: whole, sealed by a digest, and read with errors that name the file."""

import json
from pathlib import Path
from typing import Any

from kerasticket.files import json_text, limits
from kerasticket.files.atomic import atomic


def write_json(path: str | Path, content: dict) -> None:
    """Writes the content and, behind it, its SHA-256, by which `read_json` tells whether it was changed."""
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(json_text.sealed(content), indent=1) + "\n")


class Fields(dict):
    """What a JSON file holds; a field that is asked for and is not there raises ValueError, which names the file."""

    def __init__(self, values: dict[str, Any], path: str | Path) -> None:
        super().__init__(values)
        self.path = path

    def __missing__(self, name: str) -> Any:
        raise ValueError(f"Expected the field '{name}' in '{self.path}'. Received: {sorted(self)[:12]}; it is damaged.")


def read_json(path: str | Path) -> Fields:
    """The fields that `write_json` wrote, without their digest; files that have none are read as they are.

    Raises:
        ValueError: the file is absent, damaged, or was changed.
    """
    try:
        if limits.size_of(path) > json_text.MOST:
            raise ValueError(f"a file of {limits.size_of(path):,} bytes")
        return Fields(json_text.unsealed(json_text.loads(Path(path).read_bytes())), path)
    except (OSError, ValueError) as error:
        raise ValueError(f"'{path}' is damaged JSON: {error}. Delete it to redo its stage.") from error
