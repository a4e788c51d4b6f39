"""The optimizer's slots and counters as a dict of arrays, so that a rewind can put them back to the bit.

Slots are keyed by the canonical path of the weight they belong to ("conv_1/kernel:momentum"), everything else
by its own name ("iteration", "learning_rate").
"""

import keras
import numpy as np
from keras import ops

from kerasticket.masks import Mask
from kerasticket.params import Params
from kerasticket.variables import named_variables


def build(model: keras.Model) -> None:
    """Builds the optimizer of a compiled model; Keras does so only at the first step on TensorFlow."""
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)


def get_state(model: keras.Model) -> Params:
    """Every variable of the (built) optimizer as an array."""
    return {key: np.array(ops.convert_to_numpy(v.value)) for key, v in _keyed(model, model.optimizer).items()}


def set_state(model: keras.Model, state: Params) -> None:
    """Assigns every variable of the optimizer.

    Raises:
        ValueError: the state belongs to another kind of optimizer or another model.
    """
    variables = _keyed(model, model.optimizer)
    if variables.keys() != state.keys():
        raise ValueError(
            f"Expected the state of an optimizer like {type(model.optimizer).__name__} with the variables "
            f"{sorted(variables)}. Received: {sorted(state)}. Compile the model with the optimizer that was saved."
        )
    for key, variable in variables.items():
        variable.assign(state[key])


def fresh_state(model: keras.Model) -> Params:
    """The state that the optimizer has before its first step, whatever it has done since."""
    twin = type(model.optimizer).from_config(model.optimizer.get_config())
    twin.build(model.trainable_variables)
    return {key: np.array(ops.convert_to_numpy(v.value)) for key, v in _keyed(model, twin).items()}


def masked_state(state: Params, mask: Mask) -> Params:
    """The state with the slots of pruned weights set to zero; stale momentum would revive those weights."""
    return {key: _masked(key, array, mask) for key, array in state.items()}


def _masked(key: str, array: np.ndarray, mask: Mask) -> np.ndarray:
    kept = mask.get(key.rpartition(":")[0])
    return array if kept is None or kept.shape != array.shape else np.where(kept, array, np.zeros((), array.dtype))


def _keyed(model: keras.Model, optimizer: keras.optimizers.Optimizer) -> dict[str, keras.Variable]:
    # Keras names a slot "<path of the weight with _ for />_<slot>"; the longest such path is the owner.
    owners = {v.path.replace("/", "_") + "_": path for path, v in named_variables(model).items() if v.trainable}
    by_length = sorted(owners, key=len, reverse=True)
    keyed: dict[str, keras.Variable] = {}
    for variable in optimizer.variables:
        prefix = next((prefix for prefix in by_length if variable.name.startswith(prefix)), None)
        key = f"{owners[prefix]}:{variable.name[len(prefix) :]}" if prefix else variable.name
        if key in keyed:  # a LossScaleOptimizer and the optimizer inside it both count iterations
            key = f"{key}#{sum(other.partition('#')[0] == key for other in keyed) + 1}"
        keyed[key] = variable
    return keyed
