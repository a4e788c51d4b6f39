"""Names, order and labels of classes, decided in one place for folders, archives, importers, sets and splits.

Where names are known, classes are matched by name. A set without names, as files of other projects and plain arrays
are, is taken to have the classes in the order of the data that it is used with.
"""

import dataclasses
import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import numpy as np

_RUNS = re.compile(r"[0-9]+|[^0-9]")
Labeled = TypeVar("Labeled")


def order_key(name: str) -> tuple:
    """Sorts as text, except that a number counts as one character: "2" before "10", "class9" before "class10".

    Names without digits, and numbers of the same length such as WordNet's, keep the order of text.

    >>> sorted(["10", "b2", "2", "b10", "a", "B"], key=order_key)
    ['2', '10', 'B', 'a', 'b2', 'b10']
    """
    parts = _RUNS.findall(name)
    return [(ord("0"), int(part)) if part[0] in "0123456789" else (ord(part), 0) for part in parts], name


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Each name once, in the order that labels are given in."""
    return tuple(sorted(set(names), key=order_key))


def name_of_folder(folder: str) -> str:
    """The class of a folder: file systems spell accents in two ways, which are one name here."""
    return unicodedata.normalize("NFC", folder)


def numbered(count: int) -> tuple[str, ...]:
    """The names of classes that have none."""
    return tuple(map(str, range(count)))


def difference(ours: Sequence[str], theirs: Sequence[str]) -> tuple[list[str], list[str]]:
    """Names that only one of two has."""
    return [name for name in ours if name not in theirs], [name for name in theirs if name not in ours]


def check_same(ours: Sequence[str], theirs: Sequence[str], us: str, them: str) -> None:
    """Raises ValueError, naming the classes that differ, unless two data sets have the same ones."""
    only_ours, only_theirs = difference(ours, theirs)
    if not (only_ours or only_theirs):
        return
    alike = {name.casefold() for name in only_ours} & {name.casefold() for name in only_theirs}
    hint = " Some differ in upper and lower case alone." if alike else ""
    raise ValueError(
        f"Expected the same classes in {us} and in {them}. Received: only in the first {only_ours[:10]}, only in the "
        f"second {only_theirs[:10]}.{hint} Rename, add or leave out classes until both have the same."
    )


def positions(names: Sequence[str], known: Sequence[str], who: str) -> np.ndarray:
    """For each name its position among those that are known.

    Raises:
        ValueError: some are unknown.

    >>> positions(["dog", "cat"], ["cat", "dog", "fox"], "pets").tolist()
    [1, 0]
    """
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(
            f"{who} has classes {unknown[:5]}, which are none of {list(known[:12])}: rename them, or their folders."
        )
    return np.array([list(known).index(name) for name in names], np.int64)


def is_nameless(data: Any) -> bool:
    """Whether the names of its classes are numbers that were made up, as its source had none."""
    made_up = data.source == "unknown" or data.source.startswith(("arrays", "npz:"))
    return made_up and data.class_names == numbered(len(data.class_names))


def in_the_order_of(data: Labeled, names: Sequence[str], whose: str) -> Labeled:
    """`data` (images, or a distilled set) with its labels as positions in `names`, matched by name.

    Of `data` without names (`is_nameless`) the labels stay, and the names are taken over.

    Raises:
        ValueError: the names, or their number, differ.

    >>> from kerasticket.data.images import ImageSet
    >>> pets = ImageSet(np.zeros((2, 4, 4, 1), np.uint8), np.array([0, 1]), ("cat", "dog"), "pets", (0.5,), (1.0,))
    >>> in_the_order_of(pets, ("dog", "cat"), "others").labels.tolist()
    [1, 0]
    """
    ours: tuple[str, ...] = data.class_names  # type: ignore[attr-defined]
    names = tuple(names)
    if ours == names:
        return data
    if is_nameless(data) and len(ours) == len(names) and set(ours) != set(names):
        return dataclasses.replace(data, class_names=names)  # type: ignore[type-var]
    check_same(ours, names, f"the data of {data.source!r}", whose)  # type: ignore[attr-defined]
    places, labels = positions(ours, names, whose), data.labels  # type: ignore[attr-defined]
    moved = places[labels] if labels.ndim == 1 else np.ascontiguousarray(labels[..., np.argsort(places)])
    return dataclasses.replace(data, class_names=names, labels=moved)  # type: ignore[type-var]
