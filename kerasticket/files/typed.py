"""Fields of a file against the annotations of the record that they become."""

import types
import typing
from collections.abc import Mapping
from typing import Any


def check(values: Mapping[str, Any], hints: Mapping[str, Any], where: str) -> None:
    """Raises ValueError unless each value is of the type that its name has in `hints`; other names are not looked at.

    Lists stand for tuples, as JSON has it, and whole numbers for floats.

    >>> check({"rounds": "many"}, {"rounds": int}, "'config.json'")
    Traceback (most recent call last):
    ValueError: Expected rounds as int in 'config.json'. Received: 'many'; the file is damaged.
    """
    for name, value in values.items():
        if name in hints and not _is(value, hints[name]):
            kind = getattr(hints[name], "__name__", None) if isinstance(hints[name], type) else None
            raise ValueError(
                f"Expected {name} as {kind or hints[name]} in {where}. Received: {str(value)[:40]!r}; the file is "
                "damaged."
            )


def _is(value: Any, hint: Any) -> bool:
    if hint is Any:
        return True
    kind, parts = typing.get_origin(hint), typing.get_args(hint)
    if kind in (types.UnionType, typing.Union):
        return any(_is(value, part) for part in parts)
    if kind is tuple:
        inner = parts[:1] * len(value) if isinstance(value, (list, tuple)) and parts[1:] == (...,) else parts
        return isinstance(value, (list, tuple)) and len(value) == len(inner) and all(map(_is, value, inner))
    if kind is dict:
        return isinstance(value, dict) and all(_is(k, parts[0]) and _is(v, parts[1]) for k, v in value.items())
    if hint in (int, float):
        whole = isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63
        return whole or (hint is float and isinstance(value, float))
    return isinstance(value, types.NoneType if hint is None else kind or hint)
