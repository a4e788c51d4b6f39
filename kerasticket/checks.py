"""Choosing from a table of variants by name, with an error that helps."""

import difflib
from collections.abc import Iterable, Mapping
from typing import TypeVar

Variant = TypeVar("Variant")


def choose(name: str, table: Mapping[str, Variant], what: str) -> Variant:
    """The entry of that name.

    Raises:
        ValueError: there is none; the known names and those near it are listed.

    >>> choose("magnitude", {"magnitude": 1}, "criterion")
    1
    """
    check_choice(name, table, what)
    return table[name]


def check_choice(name: str, known: Iterable[str], what: str) -> None:
    """Raises the same ValueError where there are names alone.

    >>> check_choice("tests", ("train", "test"), "split")
    Traceback (most recent call last):
    ValueError: Expected split to be one of ['test', 'train']. Received: split='tests'. Did you mean 'test'?
    """
    known = sorted(known)
    if not isinstance(name, str) or name not in known:
        raise ValueError(
            f"Expected {what} to be one of {known}. Received: {what}={name!r}.{suggestion(str(name), known)}"
        )


def suggestion(name: str, known: Iterable[str]) -> str:
    """ " Did you mean ...?" with the known names nearest to this one; empty if none is near.

    >>> suggestion("magnitud", ["magnitude", "random"])
    " Did you mean 'magnitude'?"
    """
    near = difflib.get_close_matches(name, list(known), n=3, cutoff=0.5)
    return f" Did you mean {' or '.join(map(repr, near))}?" if near else ""


def check_seed(seed: int) -> None:
    """Raises ValueError unless it is a whole number of at least 0."""
    if not (isinstance(seed, int) and seed >= 0):
        raise ValueError(f"Expected a seed that is a whole number of at least 0. Received: seed={seed!r}.")
