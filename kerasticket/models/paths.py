"""Canonical paths: the one name that each variable of a model has on every build, clone and backend.

A path is the names of the layers from the model down, then the variable's own name: "conv_1/kernel",
"encoder/conv_1/kernel". Keras' own path is no key: seed generators carry a process-wide counter in theirs, a clone can
lose a prefix, an unnamed layer is numbered anew. A name that is the layer's class in Keras' spelling, with or without a
number ("dense_17"), counts as one that Keras chose, whoever gave it, and is numbered by position within what holds the
layer: "dense", "dense_1", the same on every build; all other names stay.
"""

import inspect
import itertools
import re
from collections.abc import Mapping
from typing import TypeVar

import keras
import numpy as np

from kerasticket.backend.keras_internals import all_layers, sublayers, variable_of
from kerasticket.backend.variables import array_of
from kerasticket.layers.composite import is_class_name, masked_kind
from kerasticket.layers.masked import Masked, MaskedWeight
from kerasticket.params import Params

SEED_STATE = "seed_generator_state"
Value = TypeVar("Value")


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
    arrays = {path: array_of(variable) for path, variable in named_variables(model).items()}
    return {path: a.astype(np.int64) if path.endswith(SEED_STATE) else a for path, a in arrays.items()}


def masked_weights(model: keras.Layer) -> dict[str, MaskedWeight]:
    """The weights of a model that are held to masks, keyed by canonical path."""
    layers = [layer for layer in all_layers(model) if isinstance(layer, Masked)]
    held = {id(one.variable): one for layer in layers for one in layer.held}
    return {path: held[id(variable)] for path, (_, variable) in _walk(model).items() if id(variable) in held}


def maskable_weights(model: keras.Layer) -> dict[str, tuple[keras.Layer, str]]:
    """Every weight that has a mask or could, keyed by canonical path: its layer, and its name there."""
    found: dict[str, tuple[keras.Layer, str]] = {}
    wrapped = rewritten(model)
    for path, (layer, variable) in _walk(model).items():
        kind = None if id(layer) in wrapped else masked_kind(layer)
        for weight in kind.maskable if kind else ():
            if variable_of(layer, weight) is variable:
                found[path] = (layer, weight)
    return found


def rewritten(model: keras.Layer) -> set[int]:
    """ids of the layers whose kernel their wrapper assigns anew, which it cannot where the kernel has a mask.

    That is SpectralNormalization, and any wrapper that keeps a weight of its layer as an attribute of its own.
    """
    wrappers = [layer for layer in all_layers(model) if isinstance(layer, keras.layers.Wrapper)]
    return {id(wrapper.layer) for wrapper in wrappers if _rewrites(wrapper)}


def _rewrites(wrapper: keras.layers.Wrapper) -> bool:
    inner = {id(variable) for variable in wrapper.layer.weights}
    keeps = any(id(value) in inner for value in vars(wrapper).values())
    return keeps or isinstance(wrapper, keras.layers.SpectralNormalization)


def owners(model: keras.Layer) -> dict[str, keras.Layer]:
    """The layer that each variable belongs to, keyed by the variable's canonical path."""
    return {path: layer for path, (layer, variable) in _walk(model).items() if not is_mask(layer, variable)}


def is_mask(layer: keras.Layer, variable: keras.Variable) -> bool:
    return isinstance(layer, Masked) and any(variable is one.mask for one in layer.held)


def is_functional(model: keras.Layer) -> bool:
    """True for models that know their layers: Sequential and functional ones, and subclasses of the latter."""
    return isinstance(model, (keras.Sequential, keras.Function))


def has_own_call(model: keras.Model) -> bool:
    """True for a functional model of a class with a `call` of its own, which may do more than its graph says."""
    return is_functional(model) and not type(model).call.__module__.startswith("keras.")


def makes_its_layers(model: keras.Layer) -> bool:
    """True for a functional model of a class whose `__init__` makes the layers, so that nobody else can name them.

    Those of KerasHub are such.
    """
    if not isinstance(model, keras.Function):
        return False
    takes = inspect.getfullargspec(type(model).__init__)
    return takes.args[1:3] != ["inputs", "outputs"] and not (takes.varargs and takes.varkw and not takes.args[1:])


def layer_paths(model: keras.Layer) -> dict[str, keras.Layer]:
    """Every layer inside the model, keyed by canonical path, a shared one by the first."""
    return {path: layer for path, _, layer in _layers_of(model)}


def given_paths(model: keras.Layer) -> dict[str, str]:
    """The path that the layers' names make as they are, keyed by the canonical path of each layer and variable."""
    layers = {id(layer): given for _, given, layer in _layers_of(model)}
    found = {path: given for path, given, _ in _layers_of(model)}
    for path, (layer, _) in _walk(model).items():
        name = path.rpartition("/")[2]
        found[path] = f"{layers[id(layer)]}/{name}" if id(layer) in layers else name
    return found


def renamed(model: keras.Layer, arrays: Mapping[str, Value]) -> dict[str, Value]:
    """The values under canonical paths, if all keys are paths of the layers' names as they are; else as they were.

    Files written before automatic names were numbered have such keys.
    """
    canonical = {given: path for path, given in given_paths(model).items()}
    return {canonical[key]: value for key, value in arrays.items()} if canonical.keys() >= arrays.keys() else {**arrays}


def _layers_of(model: keras.Layer) -> list[tuple[str, str, keras.Layer]]:
    """Canonical path, path of the names as they are, and layer; a shared one once."""
    found: list[tuple[str, str, keras.Layer]] = []
    seen: set[int] = set()

    def visit(layer, prefix: str, given: str) -> None:
        for name, sublayer in _named_sublayers(layer):
            if id(sublayer) not in seen:
                seen.add(id(sublayer))
                found.append((prefix + name, given + sublayer.name, sublayer))
                visit(sublayer, f"{prefix}{name}/", f"{given}{sublayer.name}/")

    visit(model, "", "")
    return found


def _walk(model: keras.Layer) -> dict[str, tuple[keras.Layer, keras.Variable]]:
    found: dict[str, tuple[keras.Layer, keras.Variable]] = {}
    seen: set[int] = set()

    def visit(layer, prefix: str) -> None:
        sublayers = _named_sublayers(layer)
        below = {id(variable) for _, sublayer in sublayers for variable in sublayer.variables}
        own = [variable for variable in _own_variables(layer) if id(variable) not in below | seen]
        for name, variable in zip(_variable_names(own), own, strict=True):
            _add(found, prefix + name, layer, variable)
            seen.add(id(variable))
        for name, sublayer in sublayers:
            visit(sublayer, f"{prefix}{name}/")

    visit(model, "")
    return found


def _named_sublayers(holder: keras.Layer) -> list[tuple[str, keras.Layer]]:
    """The holder numbers the layers that Keras has named, by kind and from 0, leaving out names that are taken."""
    layers = _sublayers(holder)
    stems = [_stem(layer, holder) for layer in layers]
    given = {layer.name for layer, stem in zip(layers, stems, strict=True) if stem is None}
    names: list[str] = []
    for layer, stem in zip(layers, stems, strict=True):
        names.append(layer.name if stem is None else _next(stem, names, given))
    return list(zip(names, layers, strict=True))


def _next(stem: str, names: list[str], given: set[str]) -> str:
    number = sum(re.fullmatch(rf"{re.escape(stem)}(_\d+)?", other) is not None for other in names)
    free = (f"{stem}_{n}" if n else stem for n in itertools.count(number))
    return next(name for name in free if name not in given and name not in names)


def _stem(layer: keras.Layer, holder: keras.Layer) -> str | None:
    """The name of an automatically named layer without its number; None for a name of its own."""
    way = layer.name.partition("_")[0] + "_" if isinstance(holder, keras.layers.Bidirectional) else ""  # "forward_"
    kind = re.sub(r"_\d+$", "", layer.name.removeprefix(way))
    # Keras writes the class's name in snake case: Conv2D -> "conv2d", "conv2d_1", ...
    return way + kind if is_class_name(kind.replace("_", ""), layer) else None


def _variable_names(variables: list[keras.Variable]) -> list[str]:
    """The variables' names; those that Keras has numbered, for want of one, are numbered within the layer instead."""
    unnamed = [id(variable) for variable in variables if re.fullmatch(r"variable(_\d+)?", variable.name)]
    numbers = {number: f"variable_{place}" if place else "variable" for place, number in enumerate(unnamed)}
    return [numbers.get(id(variable), variable.name) for variable in variables]


def _own_variables(layer: keras.Layer) -> list[keras.Variable]:
    """Weights and seed states, sub-layers' included; `layer.variables` would add the metrics' as well."""
    seeds = [variable for variable in layer.variables if variable.name == SEED_STATE]
    return [*layer.weights, *seeds]


def _sublayers(layer: keras.Layer) -> list[keras.Layer]:
    return sublayers(layer, recursive=False)


def _add(found: dict, path: str, layer: keras.Layer, variable: keras.Variable) -> None:
    if path in found:
        raise ValueError(
            f"Expected every variable to have a path of its own. Received: '{path}' twice (layers of type "
            f"{type(found[path][0]).__name__} and {type(layer).__name__}). Give each layer another name=."
        )
    found[path] = (layer, variable)
