"""The optimizer's slots and counters as a dict of arrays, so that a rewind can put them back to the bit.

Slots are keyed by the canonical path of the weight they belong to ("conv_1/kernel:momentum"), everything else
by its own name ("iteration"). The learning rate is no state but a setting: it stays as compiled.
"""

import collections

import keras
import numpy as np
from keras import ops

from kerasticket.masks import Mask
from kerasticket.params import Params
from kerasticket.variables import named_variables

LEARNING_RATE = "learning_rate"


def build(model: keras.Model) -> None:
    """Builds the optimizer of a compiled model; Keras does so only at the first step on TensorFlow."""
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)


def get_state(model: keras.Model) -> Params:
    """Every variable of the (built) optimizer but the learning rate, as an array of a dtype that all backends share."""
    return _arrays(_keyed(model, model.optimizer))


def set_state(model: keras.Model, state: Params) -> None:
    """Assigns every variable of the optimizer but the learning rate.

    Raises:
        ValueError: the state belongs to another kind of optimizer or another model.
    """
    check(model, state)
    for key, variable in _keyed(model, model.optimizer).items():
        variable.assign(state[key])


def check(model: keras.Model, state: Params) -> None:
    """Raises ValueError unless the (built) optimizer has the variables of `state`, with their shapes."""
    expected = {key: tuple(variable.shape) for key, variable in _keyed(model, model.optimizer).items()}
    received = {key: array.shape for key, array in state.items()}
    if expected != received:
        odd = sorted(key for key in expected.keys() | received.keys() if expected.get(key) != received.get(key))
        raise ValueError(
            f"Expected the state of an optimizer like the model's {type(model.optimizer).__name__}. "
            f"Received: one that differs in {odd[:6]}. Compile the model with the optimizer that was saved."
        )


def get_learning_rate(model: keras.Model) -> Params:
    """The learning rate, where the optimizer holds one: none under a schedule."""
    return _arrays(_learning_rates(model.optimizer))


def set_learning_rate(model: keras.Model, rates: Params) -> None:
    """Puts back what `get_learning_rate` gave."""
    for key, variable in _learning_rates(model.optimizer).items():
        variable.assign(rates[key])


def fresh_state(model: keras.Model) -> Params:
    """The state that the optimizer has before its first step, whatever it has done since."""
    twin = type(model.optimizer).from_config(model.optimizer.get_config())
    twin.build(model.trainable_variables)
    return _arrays(_keyed(model, twin))


def masked_state(state: Params, mask: Mask) -> Params:
    """The state with the slots of pruned weights set to zero; stale momentum would revive those weights."""
    return {key: _masked(key, array, mask) for key, array in state.items()}


def _masked(key: str, array: np.ndarray, mask: Mask) -> np.ndarray:
    kept = mask.get(key.rpartition(":")[0])
    return array if kept is None or kept.shape != array.shape else np.where(kept, array, np.zeros((), array.dtype))


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


def _learning_rates(optimizer: keras.optimizers.Optimizer) -> dict[str, keras.Variable]:
    found = [variable for variable in optimizer.variables if variable.name == LEARNING_RATE]
    return {str(position): variable for position, variable in enumerate(found)}


def _arrays(variables: dict[str, keras.Variable]) -> Params:
    return {key: _portable(np.array(ops.convert_to_numpy(v.value))) for key, v in variables.items()}


def _portable(array: np.ndarray) -> np.ndarray:
    """Counters as int64 (int32 on JAX and torch); bfloat16, of which NumPy files know nothing, as float32."""
    if np.issubdtype(array.dtype, np.integer):
        return array.astype(np.int64)
    return array.astype(np.float32) if array.dtype.kind == "V" else array
