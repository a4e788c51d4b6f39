"""The same ticket gives the same file, byte for byte: without the dates and addresses of memory that Keras writes."""

import json
import zipfile
from pathlib import Path
from typing import Any

EPOCH = (1980, 1, 1, 0, 0, 0)  # the first date that a zip archive can have
METADATA, CONFIG = "metadata.json", "config.json"
SHARED = "shared_object_id"


def entry(name: str) -> zipfile.ZipInfo:
    """A member without a date."""
    return zipfile.ZipInfo(name, EPOCH)


def rewrite(path: Path) -> None:
    """Writes a `.keras` file of Keras anew; what Keras reads of it stays the same."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members[METADATA] = _edited(members[METADATA], _without_date)
    members[CONFIG] = _edited(members[CONFIG], _numbered)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(entry(name), content)


def _edited(content: bytes, edit: Any) -> bytes:
    return json.dumps(edit(json.loads(content))).encode()


def _without_date(metadata: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in metadata.items() if key != "date_saved"}


def _numbered(config: Any, numbers: dict[int, int] | None = None) -> Any:
    """Objects that several layers share are marked by their address: number them as they come instead.

    >>> _numbered([{"shared_object_id": 139912475665296}, {"shared_object_id": 7}, {"shared_object_id": 7}])
    [{'shared_object_id': 0}, {'shared_object_id': 1}, {'shared_object_id': 1}]
    """
    numbers = {} if numbers is None else numbers
    if isinstance(config, list):
        return [_numbered(value, numbers) for value in config]
    if not isinstance(config, dict):
        return config
    return {
        key: numbers.setdefault(value, len(numbers)) if key == SHARED else _numbered(value, numbers)
        for key, value in config.items()
    }
