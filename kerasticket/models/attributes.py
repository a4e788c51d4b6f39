"""What a layer has beside its config and its weights, as data for a file: flags, and users' attributes."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from kerasticket.backend.keras_internals import FLAGS, attributes_of, remat_mode, usual_attributes
from kerasticket.models.paths import layer_paths, named_variables

_OF_FILES = ("save_own_variables", "load_own_variables", "save_assets", "load_assets")  # in these a class writes itself
_GUARD = "get_config"  # set on layers whose config would lose masks


def record(model: keras.Model, twin: keras.Model) -> dict[str, Any]:
    """What `put` needs to make a model read from a file like this one, as JSON-able data.

    Args:
        model: the one to write.
        twin: the same built from its config, as it will be when it is read.

    Raises:
        ValueError: an attribute that a user has put on a layer is no data: numbers, text, arrays, lists, dicts, layers.
    """
    ours, twins = _members(model), _members(twin)
    places = {id(layer): path for path, layer in ours.items()}
    trainable = {path: variable.trainable for path, variable in named_variables(twin).items()}
    return {
        "attributes": {
            path: found for path, one in ours.items() if (found := dict(_differing(one, twins[path], places)))
        },
        "trainable": {
            path: variable.trainable
            for path, variable in named_variables(model).items()
            if variable.trainable != trainable[path]
        },
    }


def put(model: keras.Model, recorded: dict[str, Any]) -> None:
    """Gives a model that was read from a file the flags and attributes of the one that was written."""
    members, variables = _members(model), named_variables(model)
    for path, attributes in recorded.get("attributes", {}).items():
        for name, data in attributes.items():
            give(members[path], name, _value(data, members))
    for path, trainable in recorded.get("trainable", {}).items():
        variables[path].trainable = trainable


def give(layer: keras.Layer, name: str, value: Any) -> None:
    """Sets an attribute; only layers by Keras' way, which makes tracked copies of lists and dicts."""
    if isinstance(value, keras.Layer):
        setattr(layer, name, value)
    else:
        vars(layer)[name] = value


def _members(model: keras.Model) -> dict[str, keras.Layer]:
    return {"": model} | layer_paths(model)


def _differing(layer: keras.Layer, twin: keras.Layer, places: dict[int, str]) -> Iterator[tuple[str, Any]]:
    """Names and data of the attributes that the twin lacks, or has of another value."""
    ours, there = _is_keras(type(layer)), attributes_of(twin)
    for name, value in attributes_of(layer).items():
        own = name not in there or not (ours or name in usual_attributes())
        if name != _GUARD and (own or name in FLAGS):
            try:
                data = _data(value, places)
            except TypeError:
                _check_known(layer, name, there)
            else:
                if name not in there or data != _data_or_none(there[name]):
                    yield name, data


def _check_known(layer: keras.Layer, name: str, twin: dict[str, Any]) -> None:
    """Raises ValueError if an attribute that is no data will not be there when the file is read."""
    value = attributes_of(layer)[name]
    of_keras = [kind for kind in type(layer).__mro__ if kind is not keras.layers.Layer and _is_keras(kind)]
    writes = any(m in vars(kind) for kind in type(layer).__mro__ if not _is_keras(kind) for m in _OF_FILES)
    writes = writes or any("save_assets" in vars(kind) for kind in of_keras)
    if writes or (name in twin and _alike(value, twin[name])):
        return
    raise ValueError(
        f"Expected attributes that a file can hold: numbers, text, arrays, lists and dicts of such. Received: "
        f"'{name}' of '{layer.name}', of type {type(value).__name__}. Let {type(layer).__name__} write it in "
        "get_config or save_assets, or delete it; or write weights and masks alone, for `apply` on a model that you "
        "build: dataclasses.replace(ticket, architecture=None).save(path)."
    )


def _alike(value: Any, other: Any) -> bool:
    """False if two objects are known to differ: of other classes, or of a user's class and with other data."""
    if type(value) is not type(other):
        return False
    if _is_keras(type(value)) or isinstance(value, (keras.Layer, keras.Variable)) or not hasattr(value, "__dict__"):
        return True
    data = _data_or_none(dict(vars(value)))
    return data is None or data == _data_or_none(dict(vars(other)))


def _is_keras(kind: type) -> bool:
    return kind.__module__.partition(".")[0] in ("keras", "kerasticket")


def _data_or_none(value: Any) -> Any:
    try:
        return _data(value, {})
    except TypeError:
        return None


def _data(value: Any, places: dict[int, str]) -> Any:
    """Data as JSON, of the same types when it is read; raises TypeError for what is none."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (np.ndarray, np.generic)) and value.dtype != object:
        about = {"dtype": value.dtype.name if value.dtype.kind in "Vbiufc" else value.dtype.str}
        return about | {"shape": value.shape and list(value.shape), "bytes": value.tobytes().hex()}
    if type(value).__name__ == "RematMode":
        return {"remat": [_data(one, places) for one in value]}
    if isinstance(value, dict):
        return {"dict": [[_data(key, places), _data(one, places)] for key, one in value.items()]}
    if isinstance(value, list):
        return [_data(one, places) for one in value]
    if type(value) in (tuple, set, frozenset):
        items = [_data(one, places) for one in value]
        return {type(value).__name__: items if type(value) is tuple else sorted(items, key=repr)}
    if id(value) in places:
        return {"layer": places[id(value)]}
    raise TypeError(f"no data: {type(value).__name__}")


def _value(data: Any, members: dict[str, keras.Layer]) -> Any:
    """The value that `_data` has made this of."""
    if isinstance(data, list):
        return [_value(one, members) for one in data]
    if not isinstance(data, dict):
        return data
    if "bytes" in data:
        array = np.frombuffer(bytes.fromhex(data["bytes"]), np.dtype(data["dtype"])).reshape(data["shape"]).copy()
        return array if data["shape"] else array[()]
    kind, content = next(iter(data.items()))
    if kind == "layer":
        return members[content]
    if kind == "dict":
        return {_value(key, members): _value(one, members) for key, one in content}
    items = [_value(one, members) for one in content]
    if kind == "remat":
        return remat_mode(*items)
    return {"tuple": tuple, "set": set, "frozenset": frozenset}[kind](items)
