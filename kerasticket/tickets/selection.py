"""Which weights of a model are to have masks: by layer type, name pattern or function."""

import fnmatch
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import keras

from kerasticket.backend.keras_internals import all_layers, sublayers
from kerasticket.checks import suggestion
from kerasticket.layers.composite import MaskedComposite, masked_kind, plain_kind
from kerasticket.layers.masked import MASKED, Masked
from kerasticket.models.paths import given_paths, layer_paths, maskable_weights

One = str | type[keras.Layer] | Callable[[keras.Layer], bool]
Where = One | Sequence[One]


class _Candidate(NamedTuple):
    """A weight that could have a mask."""

    path: str
    weight: str
    layer: keras.Layer  # that has the weight
    written: keras.Layer  # that the user wrote: the LSTM, not its cell
    written_path: str
    above: tuple[keras.Layer, ...]  # all layers and models that hold it

    @property
    def is_default(self) -> bool:
        kind = masked_kind(self.layer)
        return kind is not None and self.weight in kind.default_weights

    @property
    def only_if_asked(self) -> bool:
        kind = masked_kind(self.layer)
        return kind is not None and kind.only_if_asked


def select(model: keras.Model, where: Where | None, keep_dense: Where = ()) -> list[str]:
    """Canonical paths of the weights that `kerasticket.masked` gives masks.

    Args and errors: as there.
    """
    candidates = _candidates(model)
    chosen = [one for one in candidates if one.is_default and not one.only_if_asked]
    if where is not None:
        if not _listed(where):
            raise ValueError("Expected `where` to name something, or to be None for all kernels. Received: nothing.")
        asked = {path for each in _listed(where) for path in _matched(model, candidates, each, "where")}
        chosen = [one for one in candidates if one.path in asked]
    dense = {path for each in _listed(keep_dense) for path in _dense(model, chosen, candidates, each)}
    left = [one.path for one in chosen if one.path not in dense]
    if chosen and not left:
        raise ValueError(
            f"Expected keep_dense to leave a layer to mask. Received: keep_dense={keep_dense!r}, which keeps all of "
            f"{_layers_of(chosen)} dense."
        )
    return left


def _candidates(model: keras.Model) -> list[_Candidate]:
    above: dict[int, list[keras.Layer]] = {}
    for holder in all_layers(model):
        for layer in sublayers(holder):
            above.setdefault(id(layer), []).append(holder)
    found = []
    for path, (layer, weight) in maskable_weights(model).items():
        holders = above.get(id(layer), [])
        written = next((holder for holder in holders if _makes_inner(holder)), layer)
        written_path = path.rpartition("/")[0]
        if written is not layer:
            written_path = written_path.rpartition("/")[0]
        found.append(_Candidate(path, weight, layer, written, written_path, tuple(holders)))
    return found


def _makes_inner(layer: keras.Layer) -> bool:
    return isinstance(layer, MaskedComposite) or issubclass(MASKED.get(type(layer), Masked), MaskedComposite)


def _listed(where: Where) -> list[One]:
    return [where] if isinstance(where, (str, type)) or callable(where) else list(where)


def _dense(model: keras.Model, chosen: list[_Candidate], candidates: list[_Candidate], one: One) -> Iterable[str]:
    if one in ("first", "last") and chosen:
        end = chosen[0 if one == "first" else -1].written
        return [each.path for each in chosen if each.written is end]
    return _matched(model, candidates, one, "keep_dense")


def _matched(model: keras.Model, candidates: list[_Candidate], one: One, option: str) -> Iterable[str]:
    """Paths that one type, pattern or function asks for; raises ValueError if there are none."""
    if isinstance(one, str):
        found, kind = _named(model, candidates, one, option), "pattern"
    elif isinstance(one, type) and issubclass(one, keras.Layer):
        found, kind = [each for each in candidates if _by_type(each, one)], "layer type"
    elif callable(one) and not isinstance(one, type):
        found, kind = [each for each in candidates if each.is_default and one(each.written)], "function"
    else:
        raise ValueError(
            f"Expected {option} to be a layer type, a name pattern, a function of a layer, or a list of these. "
            f"Received: {option}={one!r} of type {type(one).__name__}."
        )
    if not found:
        raise ValueError(f"Expected a {kind} that matches a layer of '{model.name}'. {_what(model, one, option)}")
    return [each.path for each in found]


def _named(model: keras.Model, candidates: list[_Candidate], pattern: str, option: str) -> list[_Candidate]:
    """By canonical path, or by the names as `model.summary()` shows them, which Keras may have chosen."""
    given = given_paths(model)
    as_shown = {
        one.path: one._replace(path=given[one.path], written_path=given.get(one.written_path, one.written_path))
        for one in candidates
    }
    found = [each for each in candidates if _by_name(each, pattern)]
    shown = [each for each in candidates if _by_name(as_shown[each.path], pattern)]
    if found and shown and found != shown:
        raise ValueError(
            f"Expected {option} to say which layers it means. Received: {option}={pattern!r}, the name of "
            f"{_layers_of(shown)} and the path of {_layers_of(found)}: names that Keras may have chosen are numbered "
            f"by position. '{shown[0].written.name}' has the path '{shown[0].written_path}'. "
            f"Pass a function, e.g. lambda layer: layer.name == {pattern!r}, or "
            "give the layers names of their own."
        )
    return found or shown


def _by_name(each: _Candidate, pattern: str) -> bool:
    """The pattern may match the weight itself, its layer, or a layer or model around it."""
    if fnmatch.fnmatchcase(each.path, pattern):
        return True
    layer = each.path.rpartition("/")[0]
    names = [layer[:end] for end in [*(i for i, letter in enumerate(layer) if letter == "/"), len(layer)]]
    exact = any(fnmatch.fnmatchcase(name, pattern) for name in (layer, each.written_path))
    around = not each.only_if_asked and any(fnmatch.fnmatchcase(name, pattern) for name in names)
    return each.is_default and (exact or around)


def _by_type(each: _Candidate, kind: type) -> bool:
    around = not each.only_if_asked and any(isinstance(layer, kind) for layer in each.above)
    return each.is_default and (isinstance(each.written, kind) or around)


def _what(model: keras.Model, one: One, option: str) -> str:
    """What was received, and what is near it or cannot be masked."""
    layers = layer_paths(model)
    if isinstance(one, str):
        there = {path: layer for path, layer in layers.items() if fnmatch.fnmatchcase(path, one)}
        received, hint = repr(one), suggestion(one, [*layers, *maskable_weights(model)])
    elif isinstance(one, type):
        there = {path: layer for path, layer in layers.items() if isinstance(layer, one)}
        received = one.__name__
        hint = f" It has {', '.join(sorted({plain_kind(layer).__name__ for layer in layers.values()}))}."
    else:
        there, received, hint = {}, getattr(one, "__name__", repr(one)), " It is true of none."
    if there:
        kinds = sorted({type(layer).__name__ for layer in there.values()})
        hint = f" It names {list(there)[:4]} of type {kinds}, which cannot be masked; {maskable_kinds()} can."
    return f"Received: {option}={received}.{hint}"


def maskable_kinds() -> str:
    """The names of all layers that can be masked."""
    return ", ".join(kind.__name__ for kind in MASKED)


def _layers_of(candidates: list[_Candidate]) -> list[str]:
    return list(dict.fromkeys(each.written_path for each in candidates))
