"""JSON of files that may be damaged: one kind of error, no key twice, and a digest of what was written."""

import hashlib
import json
from typing import Any

MOST = 2**25  # bytes; lists of nothing take some twenty times as much memory as text
DIGEST = "digest"


def loads(text: str | bytes) -> Any:
    """The value; raises ValueError for whatever is no JSON, is nested too deeply, too long, or has a key twice.

    >>> loads("[" * 100_000)
    Traceback (most recent call last):
    ValueError: JSON that is nested too deeply
    """
    if len(text) > MOST:
        raise ValueError(f"JSON of {len(text):,} bytes, more than {MOST:,}")
    try:
        return json.loads(text.decode() if isinstance(text, bytes) else text, object_pairs_hook=_once)
    except RecursionError as error:
        raise ValueError("JSON that is nested too deeply") from error
    except ValueError as error:  # UnicodeDecodeError and JSONDecodeError among them
        raise ValueError(f"damaged JSON: {error}") from error


def sealed(content: dict) -> dict:
    """The content as JSON has it, with its own digest behind it.

    >>> sealed({"accuracy": 0.5})["digest"][:15]
    'sha256:6d40636b'
    """
    plain = json.loads(json.dumps(content))
    return plain | {DIGEST: _digest(plain)}


def unsealed(content: Any) -> dict:
    """The content without its digest, if it has one; raises ValueError if that is another's, or it is no object."""
    if not isinstance(content, dict):
        raise ValueError(f"expected an object with fields, found {type(content).__name__}")
    said = content.get(DIGEST)
    if not (isinstance(said, str) and said.startswith("sha256:")):
        return content
    plain = {key: value for key, value in content.items() if key != DIGEST}
    if said != _digest(plain):
        raise ValueError("it was changed after it was written, as its digest tells")
    return plain


def _digest(plain: dict) -> str:
    return "sha256:" + hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def _once(pairs: list[tuple[str, Any]]) -> dict:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("a key that is there twice")
    return made
