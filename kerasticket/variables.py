"""Canonical paths: the one name that each variable of a model has on every build, clone and backend.

A path is the names of the layers from the model down, then the variable's own name: "conv_1/kernel",
"encoder/conv_1/kernel". On flat models it equals `variable.path`. Keras' own path is no key: seed generators
carry a process-wide counter in theirs, a clone can lose a prefix, an unnamed layer is numbered anew.
"""

import itertools
import re

import keras
import numpy as np
from keras import ops

from kerasticket.layers.masked import Masked
from kerasticket.params import Params

SEED_STATE = "seed_generator_state"


def named_variables(model: keras.Layer) -> dict[str, keras.Variable]:
    """Every weight and seed state of the model but masks, keyed by canonical path, in the order of the layers.

    Raises:
        ValueError: two variables would have the same path.

    >>> list(named_variables(keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, name="out")])))
    ['out/kernel', 'out/bias']
    """
    return {path: variable for path, (layer, variable) in _walk(model).items() if not is_mask(layer, variable)}


def raw_params(model: keras.Layer) -> Params:
    """The variables as arrays, as they are: a pruned weight that is not zero shows.

    Seed states are int64 here on every backend (Keras holds them as uint32 on JAX, int64 elsewhere).
    """
    arrays = {path: np.array(ops.convert_to_numpy(variable.value)) for path, variable in named_variables(model).items()}
    return {path: a.astype(np.int64) if path.endswith(SEED_STATE) else a for path, a in arrays.items()}


def masked_layers(model: keras.Layer) -> dict[str, Masked]:
    """The masked layers of a model, keyed by the canonical path of their kernel."""
    walked = _walk(model).items()
    return {path: layer for path, (layer, v) in walked if isinstance(layer, Masked) and v is layer._kernel}


def owners(model: keras.Layer) -> dict[str, keras.Layer]:
    """The layer that each variable belongs to, keyed by the variable's canonical path."""
    return {path: layer for path, (layer, variable) in _walk(model).items() if not is_mask(layer, variable)}


def is_mask(layer: keras.Layer, variable: keras.Variable) -> bool:
    return isinstance(layer, Masked) and variable is layer.mask


def require_names(model: keras.Layer) -> None:
    """Raises ValueError if a layer with variables has, as it seems, a name that Keras chose.

    Asked of the layers of models only: no user can name the cell inside an LSTM, and its path needs no number.
    """
    unnamed = [layer.name for layer in _members(model) if layer.variables and _is_automatic(layer)]
    if unnamed:
        raise ValueError(
            f"Expected every layer to have a name of its own. Received automatic names, or such as look like them: "
            f"{unnamed}. Keras numbers them anew on every build, so a mask or ticket would not fit the next one. "
            "Pass name=... to each layer, e.g. 'hidden_1'."
        )


def _members(model: keras.Layer) -> list[keras.Layer]:
    """The layers of a model and of the models in it."""
    below = [_members(layer) for layer in _sublayers(model) if isinstance(layer, keras.Model)]
    return [*_sublayers(model), *itertools.chain.from_iterable(below)]


def _is_automatic(layer: keras.Layer) -> bool:
    # Keras numbers the class's name in snake case: Conv2D -> "conv2d", "conv2d_1", ...
    return re.sub(r"_\d+$", "", layer.name).replace("_", "") == type(layer).__name__.lower()


def _walk(model: keras.Layer) -> dict[str, tuple[keras.Layer, keras.Variable]]:
    found: dict[str, tuple[keras.Layer, keras.Variable]] = {}
    seen: set[int] = set()

    def visit(layer, prefix: str) -> None:
        sublayers = _sublayers(layer)
        below = {id(variable) for sublayer in sublayers for variable in sublayer.variables}
        for variable in _own_variables(layer):
            if id(variable) not in below | seen:
                _add(found, prefix + variable.name, layer, variable)
                seen.add(id(variable))
        for name, sublayer in zip(_names(layer, sublayers), sublayers, strict=True):
            visit(sublayer, f"{prefix}{name}/")

    visit(model, "")
    return found


def _names(parent: keras.Layer, layers: list[keras.Layer]) -> list[str]:
    """The layers' names; those that Keras has numbered inside another layer are numbered within it instead."""
    if isinstance(parent, keras.Model):
        return [layer.name for layer in layers]
    names: list[str] = []
    for layer in layers:
        name = re.sub(r"_\d+$", "", layer.name) if _is_automatic(layer) else layer.name
        taken = sum(other == name or re.fullmatch(rf"{re.escape(name)}_\d+", other) is not None for other in names)
        names.append(f"{name}_{taken}" if taken and _is_automatic(layer) else name)
    return names


def _own_variables(layer: keras.Layer) -> list[keras.Variable]:
    """Weights and seed states, sub-layers' included; `layer.variables` would add the metrics' as well."""
    seeds = [variable for variable in layer.variables if variable.name == SEED_STATE]
    return [*layer.weights, *seeds]


def _sublayers(layer: keras.Layer) -> list[keras.Layer]:
    # Private, but the only traversal that sees the layers inside any layer, not just inside a Model.
    return layer._flatten_layers(include_self=False, recursive=False)


def _add(found: dict, path: str, layer: keras.Layer, variable: keras.Variable) -> None:
    if path in found:
        raise ValueError(
            f"Expected every variable to have a path of its own. Received: '{path}' twice (layers of type "
            f"{type(found[path][0]).__name__} and {type(layer).__name__}). Give each layer another name=."
        )
    found[path] = (layer, variable)
