"""The slots and counters of a model's optimizers as a dict of arrays, so that a rewind can put them back to the bit.

Slots are keyed by the canonical path of the weight they belong to ("conv_1/kernel:momentum"), everything else
by its own name ("iteration"). The learning rate is no state but a setting: it stays as compiled. A model that trains
by optimizers of its own holds them in attributes, lists or dicts; their keys begin with the name: "critic!iteration".
"""

import collections
from collections.abc import Iterable, Iterator
from typing import Any

import keras
import numpy as np

from kerasticket.backend.keras_internals import all_layers, own_iterations, trained_variables
from kerasticket.backend.variables import array_of
from kerasticket.masks import Mask
from kerasticket.models.paths import named_variables
from kerasticket.params import Params

LEARNING_RATE = "learning_rate"
_OF = "!"  # between the name of a model's own optimizer and a key of its state


def optimizers_of(model: keras.Model) -> dict[str, keras.optimizers.Optimizer]:
    """All Keras optimizers that the model or its layers hold, by name; that of `compile` comes first and has none.

    Raises:
        ValueError: it holds one of torch's own, whose state is not known here.
    """
    main = getattr(model, "optimizer", None)
    found = {} if main is None else {"": main}
    for layer in all_layers(model):
        # TensorFlow and torch list what is tracked in private attributes too: each is found by its own name first.
        attributes = sorted(vars(layer).items(), key=lambda item: item[0].startswith("_"))
        for name, one in _held_in(attributes, "" if layer is model else f"{layer.name}."):
            if all(one is not other for other in found.values()):
                found[name] = one
    inner = {id(v) for one in found.values() for v in one.variables if v is not own_iterations(one)}
    return {name: one for name, one in found.items() if id(own_iterations(one)) not in inner}


def _held_in(items: Iterable[tuple[Any, Any]], prefix: str) -> Iterator[tuple[str, keras.optimizers.Optimizer]]:
    for key, value in items:
        if isinstance(value, keras.optimizers.Optimizer):
            yield f"{prefix}{key}", value
        elif all(hasattr(value, name) for name in ("param_groups", "zero_grad", "state_dict")):
            raise ValueError(
                f"Expected a model whose optimizers are Keras'. Received: '{prefix}{key}' of type "
                f"{type(value).__name__}, whose state cannot be rewound or masked: take its like from "
                "keras.optimizers, or keep it outside of the model and make a new one for each training."
            )
        elif isinstance(value, (list, tuple)):
            yield from _held_in(enumerate(value), f"{prefix}{key}.")
        elif isinstance(value, dict):
            yield from _held_in(value.items(), f"{prefix}{key}.")


def build(model: keras.Model, state: Params | None = None) -> None:
    """Builds the optimizer of a compiled model; Keras does so only at the first step on TensorFlow.

    Args:
        state: what it is to be given. Optimizers that are not the compiled one are built on the weights that they
            have slots for in it, and not at all without: their own first step tells which weights are theirs.
    """
    for name, optimizer in optimizers_of(model).items():
        owned = model.trainable_variables if not name else _owned(model, name, state or {})
        if not optimizer.built and owned:
            optimizer.build(owned)


def _owned(model: keras.Model, name: str, state: Params) -> list[keras.Variable]:
    keys = [key.removeprefix(name + _OF) for key in state if key.startswith(name + _OF)]
    paths = {key.rpartition(":")[0] for key in keys}
    return [variable for path, variable in named_variables(model).items() if path in paths]


def is_built(model: keras.Model) -> bool:
    """Whether any optimizer of the model has been built."""
    return any(optimizer.built for optimizer in optimizers_of(model).values())


def get_state(model: keras.Model) -> Params:
    """Every variable of the (built) optimizers but learning rates, as arrays of dtypes that all backends share."""
    return _arrays(_variables(model, optimizers_of(model)))


def set_state(model: keras.Model, state: Params) -> None:
    """Assigns every variable of the optimizers but learning rates.

    Raises:
        ValueError: the state belongs to another kind of optimizer or another model.
    """
    check(model, state)
    for key, variable in _variables(model, optimizers_of(model)).items():
        variable.assign(state[key])


def check(model: keras.Model, state: Params) -> None:
    """Raises ValueError unless the (built) optimizers have the variables of `state`, with their shapes."""
    optimizers = optimizers_of(model)
    expected = {key: tuple(variable.shape) for key, variable in _variables(model, optimizers).items()}
    received = {key: array.shape for key, array in state.items()}
    if expected != received:
        odd = sorted(key for key in expected.keys() | received.keys() if expected.get(key) != received.get(key))
        kinds = ", ".join(type(optimizer).__name__ for optimizer in optimizers.values())
        raise ValueError(
            f"Expected the state of an optimizer like the model's {kinds}. "
            f"Received: one that differs in {odd[:6]}. Compile the model with the optimizer that was saved."
        )


def get_learning_rate(model: keras.Model) -> Params:
    """The learning rates, where the optimizers hold them: none under a schedule."""
    return _arrays(_learning_rates(model))


def set_learning_rate(model: keras.Model, rates: Params) -> None:
    """Puts back what `get_learning_rate` gave."""
    for key, variable in _learning_rates(model).items():
        variable.assign(rates[key])


def fresh_state(model: keras.Model) -> Params:
    """The state that the optimizers have before their first step, whatever they have done since."""
    return _arrays(_variables(model, {name: _twin(one) for name, one in optimizers_of(model).items()}))


def _twin(optimizer: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
    try:
        twin = type(optimizer).from_config(optimizer.get_config())
    except Exception as error:  # whatever a class raises that has no config
        raise ValueError(
            f"Expected an optimizer that can be made again from its config, to rewind it. Received: '{optimizer.name}' "
            f"of type {type(optimizer).__name__}, which cannot ({type(error).__name__}: {error}). Give it a "
            "get_config; MultiOptimizer takes an OptimizerMap in the place of a function."
        ) from error
    if optimizer.built:
        twin.build(trained_variables(optimizer))
    return twin


def mask_slots(model: keras.Model, mask: Mask) -> None:
    """Sets the slots of pruned weights to zero in all optimizers of the model that are built."""
    for key, variable in _variables(model, optimizers_of(model)).items():
        kept = mask.get(_path(key))
        if kept is not None and kept.shape == tuple(variable.shape):
            variable.assign(_zeroed(array_of(variable), kept))


def masked_state(state: Params, mask: Mask) -> Params:
    """The state with the slots of pruned weights set to zero; stale momentum would revive those weights."""
    return {key: _masked(key, array, mask) for key, array in state.items()}


def _masked(key: str, array: np.ndarray, mask: Mask) -> np.ndarray:
    kept = mask.get(_path(key))
    return array if kept is None or kept.shape != array.shape else _zeroed(array, kept)


def _zeroed(array: np.ndarray, kept: np.ndarray) -> np.ndarray:
    return np.where(kept, array, np.zeros((), array.dtype))


def _path(key: str) -> str:
    return key.rpartition(_OF)[2].rpartition(":")[0]


def _variables(model: keras.Model, optimizers: dict[str, keras.optimizers.Optimizer]) -> dict[str, keras.Variable]:
    found: dict[str, keras.Variable] = {}
    for name, optimizer in optimizers.items():
        prefix = f"{name}{_OF}" if name else ""
        found |= {prefix + key: variable for key, variable in _keyed(model, optimizer).items()}
    return found


def _keyed(model: keras.Model, optimizer: keras.optimizers.Optimizer) -> dict[str, keras.Variable]:
    # Keras names a slot "<path of the weight with _ for />_<slot>"; the longest such path is the owner. Of weights
    # with one such name ("a/b_c", "a_b/c"), the slots come in the order of the weights.
    paths = {id(variable): path for path, variable in named_variables(model).items()}
    owners: dict[str, list[str]] = {}
    for variable in model.trainable_variables:
        owners.setdefault(variable.path.replace("/", "_") + "_", []).append(paths[id(variable)])
    by_length = sorted(owners, key=len, reverse=True)
    seen: collections.Counter[str] = collections.Counter()
    keyed: dict[str, keras.Variable] = {}
    for variable in optimizer.variables:
        if variable.name == LEARNING_RATE:
            continue
        name, count = variable.name, seen[variable.name]
        seen[name] += 1
        prefix = next((prefix for prefix in by_length if name.startswith(prefix)), None)
        if prefix:
            keyed[f"{owners[prefix][count]}:{name[len(prefix) :]}"] = variable
        else:  # a LossScaleOptimizer and the optimizer inside it both count iterations
            keyed[f"{name}#{count + 1}" if count else name] = variable
    return keyed


def _learning_rates(model: keras.Model) -> dict[str, keras.Variable]:
    rates: dict[str, keras.Variable] = {}
    for name, optimizer in optimizers_of(model).items():
        found = [variable for variable in optimizer.variables if variable.name == LEARNING_RATE]
        rates |= {f"{name}{_OF}{place}" if name else str(place): variable for place, variable in enumerate(found)}
    return rates


def _arrays(variables: dict[str, keras.Variable]) -> Params:
    return {key: _portable(array_of(v)) for key, v in variables.items()}


def _portable(array: np.ndarray) -> np.ndarray:
    """Counters as int64 (int32 on JAX and torch); bfloat16, of which NumPy files know nothing, as float32."""
    if np.issubdtype(array.dtype, np.integer):
        return array.astype(np.int64)
    return array.astype(np.float32) if array.dtype.kind == "V" else array
