"""A network as a pure function of its kernels, and examples to run it on: what criteria with data share."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from kerasticket import autodiff
from kerasticket.data.pipeline import Data, pipeline
from kerasticket.masks import Mask
from kerasticket.params import Params
from kerasticket.training import compiled_loss
from kerasticket.variables import masked_weights, named_variables

BATCH_SIZE = 256


def network(model: keras.Model, params: Params, mask: Mask) -> Callable[[list, Any], Any]:
    """The outputs as a function of (kernels in the order of `mask`, inputs), in inference mode.

    Everything else is fixed at `params` and `mask`, whatever the variables of the model hold.
    """
    groups = model.trainable_variables, model.non_trainable_variables
    sources = [_sources(model, params, mask, variables) for variables in groups]

    def outputs(kernels, inputs):
        of = dict(zip(mask, kernels, strict=True))
        trainable, fixed = ([of[s] if isinstance(s, str) else s for s in group] for group in sources)
        return model.stateless_call(trainable, fixed, inputs, training=False)[0]

    return outputs


def _sources(model: keras.Model, params: Params, mask: Mask, variables: list) -> list:
    """For each variable a tensor, or the path of the kernel that takes its place."""
    paths = {id(variable): path for path, variable in named_variables(model).items()}
    masks = {id(held.mask): path for path, held in masked_weights(model).items()}

    def source(variable):
        path = paths.get(id(variable))
        if path in mask:
            return path
        held = mask.get(masks.get(id(variable), ""))
        array = params.get(path, held)
        array = np.array(ops.convert_to_numpy(variable.value)) if array is None else array
        return ops.convert_to_tensor(array, variable.dtype)

    return [source(variable) for variable in variables]


def kernels_of(params: Params, mask: Mask) -> list[np.ndarray]:
    """The kernels in the order of `mask`, pruned weights at zero."""
    return [np.where(kept, params[path], params[path].dtype.type(0)) for path, kept in mask.items()]


def loss_of_kernels(model: keras.Model, params: Params, mask: Mask, temperature: float = 1.0) -> autodiff.Function:
    """The mean loss that the model is compiled with, as a function of (kernels, inputs, targets).

    Args:
        temperature: the outputs are divided by it.
    """
    outputs, loss = network(model, params, mask), compiled_loss(model)

    def value(kernels, inputs, targets):
        return autodiff.mean_of_loss(loss, targets, outputs(kernels, inputs) / temperature)

    return value


def batches(criterion: str, data: Any) -> Iterator[tuple[Any, Any]]:
    """Pairs (inputs, targets) of tensors, at most `BATCH_SIZE` examples each where arrays are given.

    Args:
        criterion: who asks, for the message.
        data: a pair of arrays, an image set, or an iterable of pairs such as a finite tf.data pipeline.

    Raises:
        ValueError: no data, or something else.
    """
    if data is None:
        raise ValueError(
            f"Criterion '{criterion}' needs examples. Received: data=None. Pass data=(inputs, targets), "
            "e.g. ten images of each class with the targets that the loss expects."
        )
    if isinstance(data, Data):
        data = pipeline(data, batch_size=BATCH_SIZE, shuffle=False)
    elif isinstance(data, (tuple, list)) and len(data) == 2 and len(data[0]) == len(data[1]):
        data = _cut(np.asarray(data[0]), np.asarray(data[1]))
    elif isinstance(data, (tuple, list, dict, np.ndarray, str)) or not isinstance(data, Iterable):
        raise ValueError(
            f"Criterion '{criterion}' needs data=(inputs, targets), arrays of equal length, an image set or a "
            f"tf.data pipeline. Received: data of type {type(data).__name__}."
        )
    found = False
    for inputs, targets in data:
        found = True
        yield ops.convert_to_tensor(np.asarray(inputs)), ops.convert_to_tensor(np.asarray(targets))
    if not found:
        raise ValueError(f"Criterion '{criterion}' needs at least one example. Received: data without any.")


def _cut(inputs: np.ndarray, targets: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for start in range(0, len(inputs), BATCH_SIZE):
        yield inputs[start : start + BATCH_SIZE], targets[start : start + BATCH_SIZE]


def doubles(tensors: Iterable) -> list[np.ndarray]:
    """Tensors as float64 arrays, so that products of small numbers do not vanish."""
    return [np.asarray(ops.convert_to_numpy(tensor), np.float64) for tensor in tensors]


def identity(inputs, *args, **kwargs):
    """Takes the place of an activation, or of a layer's `call`."""
    return inputs


@contextlib.contextmanager
def overridden(attributes: Iterable[tuple[Any, str, Any]]) -> Iterator[None]:
    """Sets attributes of objects, (object, name, value) each, and puts them back whatever happens."""
    undo: list[tuple[Any, str, Any]] = []
    absent = object()
    try:
        for owner, name, value in attributes:
            undo.append((owner, name, vars(owner).get(name, absent)))
            object.__setattr__(owner, name, value)  # past Keras, which would track it
        yield
    finally:
        for owner, name, before in reversed(undo):
            if before is absent:
                object.__delattr__(owner, name)
            else:
                object.__setattr__(owner, name, before)
