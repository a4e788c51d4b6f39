"""Canonical paths: the one name that each variable of a model has on every build, clone and backend.

A path is the names of the layers from the model down, then the variable's own name: "conv_1/kernel",
"encoder/conv_1/kernel". On flat models it equals `variable.path`. Keras' own path is no key: seed generators
carry a process-wide counter in theirs, a clone can lose a prefix, an unnamed layer is numbered anew. Inside
a layer, a subclassed model or one that `makes_its_layers`, layers without a name= are numbered within what holds them.
"""

import inspect
import itertools
import re

import keras
import numpy as np
from keras import ops

from kerasticket.layers.inside import masked_kind, plain_kind
from kerasticket.layers.masked import Masked, MaskedWeight, variable_of
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


def masked_weights(model: keras.Layer) -> dict[str, MaskedWeight]:
    """The weights of a model that are held to masks, keyed by canonical path."""
    layers = [layer for layer in model._flatten_layers() if isinstance(layer, Masked)]
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
    wrappers = [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.Wrapper)]
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


def names_its_layers(model: keras.Layer) -> bool:
    """True for functional models whose layers the user has made, and so can name."""
    return is_functional(model) and not makes_its_layers(model)


def require_names(model: keras.Layer) -> None:
    """Raises ValueError if a layer with variables has, as it seems, a name that Keras chose.

    Asked only where the user can name them: others are numbered within the layer or model that made them.
    """
    unnamed = [layer.name for layer in _members(model) if layer.variables and _is_automatic(layer)]
    if unnamed:
        raise ValueError(
            f"Expected every layer to have a name of its own. Received automatic names, or such as look like them: "
            f"{unnamed}. Keras numbers them anew on every build, so a mask or ticket would not fit the next one. "
            "Pass name=... to each layer, e.g. 'hidden_1'."
        )


def _members(model: keras.Layer) -> list[keras.Layer]:
    """The layers of a functional model and of those in it; none of one that makes its layers itself."""
    own = _sublayers(model) if names_its_layers(model) else []
    return [*own, *itertools.chain.from_iterable(_members(layer) for layer in own)]


def _is_automatic(layer: keras.Layer) -> bool:
    # Keras numbers the class's name in snake case: Conv2D -> "conv2d", "conv2d_1", ...
    name = re.sub(r"_\d+$", "", layer.name).replace("_", "")
    return name in (type(layer).__name__.lower(), plain_kind(layer).__name__.lower())


def layer_paths(model: keras.Layer) -> dict[str, keras.Layer]:
    """Every layer inside the model, keyed by canonical path, a shared one by the first."""
    found: dict[str, keras.Layer] = {}
    seen: set[int] = set()

    def visit(layer, prefix: str, named: bool) -> None:
        sublayers, named = _sublayers(layer), named and names_its_layers(layer)
        for name, sublayer in zip(_names(sublayers, named), sublayers, strict=True):
            if id(sublayer) not in seen:
                seen.add(id(sublayer))
                found[prefix + name] = sublayer
                visit(sublayer, f"{prefix}{name}/", named)

    visit(model, "", True)
    return found


def _walk(model: keras.Layer) -> dict[str, tuple[keras.Layer, keras.Variable]]:
    found: dict[str, tuple[keras.Layer, keras.Variable]] = {}
    seen: set[int] = set()

    def visit(layer, prefix: str, named: bool) -> None:
        sublayers, named = _sublayers(layer), named and names_its_layers(layer)
        below = {id(variable) for sublayer in sublayers for variable in sublayer.variables}
        own = [variable for variable in _own_variables(layer) if id(variable) not in below | seen]
        for name, variable in zip(_variable_names(own), own, strict=True):
            _add(found, prefix + name, layer, variable)
            seen.add(id(variable))
        for name, sublayer in zip(_names(sublayers, named), sublayers, strict=True):
            visit(sublayer, f"{prefix}{name}/", named)

    visit(model, "", True)
    return found


def _names(layers: list[keras.Layer], named: bool) -> list[str]:
    """The layers' names; unless the user named them all, those that Keras has numbered are numbered anew from 0."""
    if named:
        return [layer.name for layer in layers]
    names: list[str] = []
    for layer in layers:
        name = re.sub(r"_\d+$", "", layer.name) if _is_automatic(layer) else layer.name
        taken = sum(other == name or re.fullmatch(rf"{re.escape(name)}_\d+", other) is not None for other in names)
        names.append(f"{name}_{taken}" if taken and _is_automatic(layer) else name)
    return names


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
    # Private, but the only traversal that sees the layers inside any layer, not just inside a Model.
    return layer._flatten_layers(include_self=False, recursive=False)


def _add(found: dict, path: str, layer: keras.Layer, variable: keras.Variable) -> None:
    if path in found:
        raise ValueError(
            f"Expected every variable to have a path of its own. Received: '{path}' twice (layers of type "
            f"{type(found[path][0]).__name__} and {type(layer).__name__}). Give each layer another name=."
        )
    found[path] = (layer, variable)
