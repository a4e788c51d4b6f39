"""A network as a pure function of its kernels, and examples to run it on: what criteria with data share."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from kerasticket.backend import autodiff
from kerasticket.backend.keras_internals import all_layers, keras_mask, policy_changes
from kerasticket.backend.precision import LOW_PRECISION
from kerasticket.backend.variables import array_of
from kerasticket.data.pipeline import Data, check_pair, pipeline
from kerasticket.layers.restoring import lent
from kerasticket.masks import Mask
from kerasticket.models.paths import masked_weights, named_variables
from kerasticket.params import Params
from kerasticket.training.recipe import compiled_loss

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
        return model.stateless_call(trainable, fixed, inputs, **autodiff.mode(model, False))[0]

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
        array = held if path is None else params.get(path, held)
        array = array_of(variable) if array is None else array
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
        found = outputs(kernels, inputs)
        return autodiff.mean_of_loss(loss, targets, found / temperature, keras_mask(found))

    return value


def batches(criterion: str, data: Any) -> Iterator[tuple[Any, Any]]:
    """Pairs (inputs, targets) of tensors, at most `BATCH_SIZE` examples each where arrays are given.

    Args:
        criterion: who asks, for the message.
        data: a pair of arrays, an image set, or an iterable of pairs such as a finite tf.data pipeline. Where the
            model has several inputs, they are a tuple or a dict of arrays.

    Raises:
        ValueError: no data, or something else.
    """
    check_examples(criterion, data)
    if isinstance(data, Data):
        data = pipeline(data, batch_size=BATCH_SIZE, shuffle=False)
    elif isinstance(data, (tuple, list)) and len(data) == 2 and _equally_long(*data):
        data = _cut(_arrays(data[0]), np.asarray(data[1]))
    elif isinstance(data, (tuple, list, dict, np.ndarray, str)) or not isinstance(data, Iterable):
        raise ValueError(
            f"Criterion '{criterion}' needs data=(inputs, targets), arrays of equal length, an image set or a "
            f"tf.data pipeline. Received: data of type {type(data).__name__}."
        )
    found = False
    for batch in data:
        check_pair(batch, f"Criterion '{criterion}' needs")
        found = True
        inputs = keras.tree.map_structure(lambda part: ops.convert_to_tensor(np.asarray(part)), batch[0])
        yield inputs, ops.convert_to_tensor(np.asarray(batch[1]))
    if not found:
        raise ValueError(f"Criterion '{criterion}' needs at least one example. Received: data without any.")


def check_examples(criterion: str, data: Any) -> None:
    """Raises ValueError if there are no data."""
    if data is None:
        raise ValueError(
            f"Criterion '{criterion}' needs examples. Received: data=None. Pass data=(inputs, targets), "
            "e.g. ten images of each class with the targets that the loss expects."
        )


def _arrays(inputs: Any) -> Any:
    """Inputs as an array, or as a tuple, list or dict of arrays where they are several."""
    several = any(hasattr(leaf, "shape") for leaf in keras.tree.flatten(inputs))
    return keras.tree.map_structure(np.asarray, inputs) if several else np.asarray(inputs)


def _equally_long(inputs: Any, targets: Any) -> bool:
    leaves = [*keras.tree.flatten(_arrays(inputs)), np.asarray(targets)]
    return all(leaf.ndim for leaf in leaves) and len({len(leaf) for leaf in leaves}) == 1


def _cut(inputs: Any, targets: np.ndarray) -> Iterator[tuple[Any, np.ndarray]]:
    for start in range(0, len(targets), BATCH_SIZE):
        part = slice(start, start + BATCH_SIZE)
        yield keras.tree.map_structure(lambda array, part=part: array[part], inputs), targets[part]


def doubles(tensors: Iterable) -> list[np.ndarray]:
    """Tensors as float64 arrays, so that products of small numbers do not vanish."""
    return [np.asarray(ops.convert_to_numpy(tensor), np.float64) for tensor in tensors]


class _Computing(keras.DTypePolicy):
    """Computes in another type than that of the variables, which Keras then casts."""

    def __init__(self, compute: str):
        super().__init__("float32")
        self._compute = compute

    @property
    def compute_dtype(self):
        return self._compute


@contextlib.contextmanager
def computing_in(model: keras.Model, dtype: str) -> Iterator[None]:
    """All layers of the model compute in this type while this is open, whatever their policies say."""
    members = [layer for layer in all_layers(model) if isinstance(layer, keras.Layer)]
    with lent(changes=[change for layer in members for change in policy_changes(layer, _Computing(dtype))]):
        yield


@contextlib.contextmanager
def float32_at_least(model: keras.Model) -> Iterator[None]:
    """Layers of low precision compute in float32 while this is open: products of gradients leave float16's range."""
    low = any(getattr(layer, "compute_dtype", None) in LOW_PRECISION for layer in all_layers(model))
    with computing_in(model, "float32") if low else contextlib.nullcontext():
        yield


def identity(inputs, *args, **kwargs):
    """Takes the place of an activation, or of a layer's `call`."""
    return inputs
