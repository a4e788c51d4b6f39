"""The one way to resume: a file with the state of a computation, which knows whose state it is.

It is an `.npz` file of the arrays and of `about`, JSON of identity and state side by side, under a manifest of digests.
"""

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from kerasticket.files import json_text, typed
from kerasticket.files.arrays import MANIFEST, Arrays, with_manifest
from kerasticket.files.atomic import atomic, check_writable
from kerasticket.files.members import BROKEN

ABOUT = "about"
SECONDS_BETWEEN_CHECKPOINTS = 60.0
_RESERVED = {ABOUT, MANIFEST, "file", "allow_pickle"}  # the latter are arguments of `np.savez`
_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Saved(NamedTuple):
    """What a checkpoint holds besides the identity."""

    arrays: dict[str, np.ndarray]
    state: dict[str, Any]


class Checkpoint:
    """The state of one computation in a file, from which a later call resumes.

    Args:
        path: of the file; its folder is made.
        identity: all that decides the result, as JSON has it. A file of another identity is refused.
        what: the computation in one word, for messages.
        state: the fields that `save` gets, with their types; none is also a field of the identity.
        alike: for a field of the identity, whether the file's value and this one mean the same; default: equality.

    Raises:
        ValueError: the folder cannot be written to, or a field is of both identity and state.

    Example:

    >>> import tempfile; path = Path(tempfile.mkdtemp()) / "sum.npz"
    >>> checkpoint = Checkpoint(path, {"seed": 0}, what="sum", state={"done": int})
    >>> checkpoint.load() is None
    True
    >>> checkpoint.save({"total": np.ones(2)}, {"done": 3})
    >>> checkpoint.load().arrays["total"].tolist(), checkpoint.load().state["done"]
    ([1.0, 1.0], 3)
    >>> Checkpoint(path, {"seed": 1}, what="sum", state={"done": int}).load()  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: Expected the state of this sum in '...'. Received: that of another sum: seed was 0, is now 1. ...
    """

    def __init__(
        self,
        path: str | Path,
        identity: Mapping[str, Any],
        *,
        what: str = "computation",
        state: Mapping[str, Any] = _NOTHING,
        alike: Mapping[str, Callable[[Any, Any], bool]] = _NOTHING,
    ):
        self.path, self.identity, self.what = Path(path), json.loads(json.dumps(identity)), what
        self.fields, self.alike = dict(state), dict(alike)
        both = sorted(self.fields.keys() & self.identity.keys())
        if both:
            raise ValueError(f"Expected fields of the state that the identity has not. Received: {both} of both.")
        check_writable(self.path.parent)
        self._saved = time.monotonic()

    @property
    def due(self) -> bool:
        """Whether a minute has passed since the last `save`, or since the beginning."""
        return time.monotonic() - self._saved >= SECONDS_BETWEEN_CHECKPOINTS

    def save(self, arrays: Mapping[str, np.ndarray], state: Mapping[str, Any] = _NOTHING) -> None:
        """Replaces what the file holds; a kill meanwhile leaves what it held.

        Raises:
            ValueError: other fields than announced, an array of a reserved name, or a folder that cannot be written to.
        """
        if state.keys() != self.fields.keys() or _RESERVED & arrays.keys():
            raise ValueError(
                f"Expected a state of {sorted(self.fields)}, and arrays of other names than {sorted(_RESERVED)}. "
                f"Received: {sorted(state)}, and {sorted(arrays)[:12]}."
            )
        members = {ABOUT: np.array(json.dumps(self.identity | dict(state))), **arrays}
        with atomic(self.path) as temporary, open(temporary, "wb") as file:
            np.savez(file, **with_manifest(members))  # type: ignore[arg-type]
        self._saved = time.monotonic()

    def load(self, prefix: str = "") -> Saved | None:
        """What was saved last; None where there is no file.

        Args:
            prefix: of the names of the arrays to read; others stay unread.

        Raises:
            ValueError: the file is damaged, or of another identity (the fields are named).
        """
        if not self.path.exists():
            return None
        try:
            with Arrays(self.path) as file:
                about = json_text.loads(str(file[ABOUT]))
                typed.check({ABOUT: about}, {ABOUT: dict[str, Any]}, f"'{self.path}'")
                arrays = {name: file[name] for name in file.names if name != ABOUT and name.startswith(prefix)}
        except BROKEN as error:
            raise self.damaged(error) from error
        self._check_identity({name: value for name, value in about.items() if name not in self.fields})
        state = {name: about.get(name) for name in self.fields}
        try:
            typed.check(state, self.fields, f"'{self.path}'")
            if any(array.dtype.kind not in "biufcV" for array in arrays.values()):
                raise ValueError("text in the place of numbers")
        except ValueError as error:
            raise self.damaged(error) from error
        return Saved(arrays, state)

    def discard(self) -> None:
        """Deletes the file, if there is one."""
        self.path.unlink(missing_ok=True)

    def damaged(self, error: Exception | str) -> ValueError:
        """The error to raise where what was loaded cannot be."""
        return ValueError(
            f"Expected the state of this {self.what} in '{self.path}'. Received: a damaged file, or none of a "
            f"{self.what}: {error}. Delete it."
        )

    def _check_identity(self, before: dict[str, Any]) -> None:
        changed = [name for name in sorted({*before, *self.identity}) if not self._same(name, before)]
        if changed:
            fields = "; ".join(
                f"{name} was {before.get(name)!r}, is now {self.identity.get(name)!r}" for name in changed
            )
            raise ValueError(
                f"Expected the state of this {self.what} in '{self.path}'. Received: that of another {self.what}: "
                f"{fields}. Go back to the old values, or delete the file."
            )

    def _same(self, name: str, before: dict[str, Any]) -> bool:
        if name not in before or name not in self.identity:
            return False
        equal = before[name] == self.identity[name]
        return equal or (name in self.alike and self.alike[name](before[name], self.identity[name]))
