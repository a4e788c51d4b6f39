"""The points of a sweep: configurations that differ in the values that are swept, and what they have in common."""

import collections
import dataclasses
import itertools
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kerasticket.checks import check_choice
from kerasticket.experiments.config import FREE, Config
from kerasticket.experiments.job import Job

# On what the files of a job depend, beside the job itself. What finds a synthetic ticket ...
NETWORK = ("dataset", "image_size", "model", "width", "start", "precision", "distilled")
PRUNING = ("fraction", "rewind_scope", "scope", "criterion", "batch_size", "momentum", "l2", "augmentation")
DISTILLED = ("distilled_epochs", "distilled_learning_rate", "data_orders")
# ... and what a training on real data, and so IMP, depends on.
REAL = ("images_per_class", "epochs", "learning_rate", "batch_size", "momentum", "l2", "augmentation", "rewind_epoch")
# What a sweep may change.
SWEPT = tuple(field.name for field in dataclasses.fields(Config) if field.name not in FREE)


@dataclasses.dataclass(frozen=True)
class Point:
    """One configuration of a sweep.

    Attributes:
        values: of the swept fields.
        config: whose `out` is the point's own folder.
    """

    values: dict[str, Any]
    config: Config

    @property
    def name(self) -> str:
        """Of its folder, such as "learning_rate=0.01,width=32"."""
        return Path(self.config.out).name


def points(config: Config, values: Mapping[str, Sequence[Any]]) -> list[Point]:
    """All combinations of values, the last field changing fastest.

    Args:
        config: of everything else; `config.out` is the folder of the sweep.
        values: field of `Config` -> its values.

    Raises:
        ValueError: nothing to sweep, an unknown field or one that changes no result, a value twice or of another type,
            or two values that name the same folder.

    Example:
        >>> [point.name for point in points(Config(), {"width": (8, 16), "l2": (0.0,)})]
        ['width=8,l2=0.0', 'width=16,l2=0.0']
    """
    if not values:
        raise ValueError("Expected at least one field to sweep, such as --set learning_rate=.01,.03. Received: none.")
    for name, given in values.items():
        check_choice(name, SWEPT, "--set")
        _check_values(name, tuple(given))
    grid = [_point(config, dict(zip(values, chosen, strict=True))) for chosen in itertools.product(*values.values())]
    twice = [name for name, count in collections.Counter(point.name for point in grid).items() if count > 1]
    if twice:
        raise ValueError(f"Expected values that name a folder for each point. Received: two of '{twice[0]}'.")
    return grid


def parse(text: str) -> tuple[str, tuple[Any, ...]]:
    """The field and the values of "field=value,value".

    >>> parse("learning_rate=.01,1e-3"), parse("width=8,none"), parse("model=convnet")
    (('learning_rate', (0.01, 0.001)), ('width', (8, None)), ('model', ('convnet',)))
    """
    name, equals, listed = text.partition("=")
    if not equals or not listed:
        raise ValueError(f"Expected --set field=value,value. Received: '{text}'.")
    check_choice(name, SWEPT, "--set")
    kinds = _types(name)
    return name, tuple(_read(name, value.strip(), kinds) for value in listed.split(","))


def common(config: Config, job: Job) -> tuple[Any, ...]:
    """What the files of a job depend on: points with the same have the same files."""
    names = set(NETWORK)
    kind = job.arguments.get("kind") or job.arguments.get("like")
    if job.action != "start" and kind != "dense":
        names |= {*PRUNING}
    if kind == "synthetic" or kind == "random":  # random masks have the sparsities of a search, whichever it is
        names |= {*DISTILLED}
    if kind in ("imp", "random") or job.action in ("train", "barrier"):
        names |= {*REAL, "data_orders"}
    return (job.action, tuple(job.arguments.items()), *(getattr(config, name) for name in sorted(names)))


def _point(config: Config, values: dict[str, Any]) -> Point:
    name = ",".join(f"{field}={value}" for field, value in values.items()).replace("/", "_")
    return Point(values, config.replace(**values, out=str(Path(config.out) / name)))


def _types(name: str) -> tuple[type, ...]:
    hint = typing.get_type_hints(Config)[name]
    return typing.get_args(hint) or (hint,)


def _read(name: str, text: str, kinds: tuple[type, ...]) -> Any:
    if text.lower() == "none" and type(None) in kinds:
        return None
    for kind in (int, float, str):
        if kind in kinds:
            try:
                return kind(text)
            except ValueError:
                pass
    expected = " or ".join(kind.__name__ for kind in kinds)
    raise ValueError(f"Expected {expected} as {name} in --set. Received: '{text}'.")


def _check_values(name: str, given: tuple[Any, ...]) -> None:
    kinds = _types(name)
    if not given or len(set(given)) < len(given):
        raise ValueError(f"Expected distinct values of {name}. Received: {given}.")
    allowed = (*kinds, int) if float in kinds else kinds
    wrong = [value for value in given if not isinstance(value, allowed)]
    if wrong:
        raise ValueError(f"Expected {' or '.join(kind.__name__ for kind in kinds)} as {name}. Received: {wrong[0]!r}.")
