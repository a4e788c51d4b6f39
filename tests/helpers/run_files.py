"""All that the jobs of a run have made, for comparing it with what others made."""

import json
from pathlib import Path


def made(folder: Path) -> dict[str, bytes | dict]:
    """All files of the jobs; numbers without the seconds that they took."""
    content: dict[str, bytes | dict] = {}
    for path in sorted(folder.glob("seed_*/**/*.*")):
        content[str(path.relative_to(folder))] = path.read_bytes()
        if path.suffix == ".json":
            content[str(path.relative_to(folder))] = json.loads(path.read_text()) | {"seconds": 0, "digest": ""}
    return content
