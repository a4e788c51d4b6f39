"""A network's loss and accuracy on fixed data as a function of its `Params`: what every analysis evaluates."""

import functools
import numbers
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from kerasticket.backend import autodiff
from kerasticket.backend.variables import array_of
from kerasticket.data.pipeline import Data, check_pair, pipeline
from kerasticket.models.paths import SEED_STATE, masked_weights, named_variables
from kerasticket.params import Params, mismatch
from kerasticket.training.recipe import compiled_loss

Batch = tuple[np.ndarray, np.ndarray]


class Evaluation(NamedTuple):
    """Mean loss, and the share of examples that are classified right (NaN where the targets are no classes)."""

    loss: float
    accuracy: float


class Objective:
    """Loss and accuracy of a model as a function of its weights, on data that stay in memory.

    The loss is the one that the model was compiled with, without penalties, and the network runs in inference
    mode. The model itself is left as it is. Weights are taken as they come: what is pruned is what is zero in
    them, so nets under different masks can be compared, whatever masks the model holds.

    One compiled function serves all weights; the data are turned into tensors once.

    Args:
        model: built, compiled, with one output.
        data: a pair (inputs, targets) of arrays, a finite tf.data pipeline of such pairs, or an image set.
        batch_size: examples per batch; the batches of a pipeline stay as they are.

    Raises:
        ValueError: the model is not built or not compiled, a layer draws random numbers, two passes over the data
            differ, or there are no data.

    Example:

    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, name="out")])
    >>> model.compile(loss=keras.losses.CategoricalCrossentropy(from_logits=True))
    >>> objective = Objective(model, (np.eye(2, dtype="float32"), np.eye(2, dtype="float32")))
    >>> weights = {"out/kernel": np.eye(2, dtype="float32") * 9, "out/bias": np.zeros(2, "float32")}
    >>> objective(weights).accuracy
    1.0
    """

    def __init__(self, model: keras.Model, data: Any, *, batch_size: int = 256):
        self.loss = compiled_loss(model)
        self._above = above(self.loss)
        batches = list(read(data, batch_size))
        check_deterministic(model, batches[0][0])
        self.model = model
        self.count = sum(len(inputs) for inputs, _ in batches)
        self.batches = [(ops.convert_to_tensor(x), ops.convert_to_tensor(y)) for x, y in batches]
        self._variables = named_variables(model)
        self._paths = _paths(model)
        self._fixed = _fixed_values(model)
        self._sums = autodiff.jit(self._batch_sums)

    def __call__(self, params: Params) -> Evaluation:
        """Mean over all examples.

        Raises:
            ValueError: the params are another model's, or not finite.
        """
        self.check(params)
        values = self.values(params)
        sums = [self._sums(*values, inputs, targets) for inputs, targets in self.batches]
        loss, right = (sum(float(part) for part in parts) for parts in zip(*sums, strict=True))
        return Evaluation(loss / self.count, right / self.count)

    def training_states(self, params: Params) -> Iterator[tuple[int, Params]]:
        """For each batch, its size and the non-trainable variables after a forward pass in training mode."""
        step = self._training_step
        for inputs, _ in self.batches:
            states = step(*self.values(params), inputs)
            named = zip(self._paths[1], states, strict=True)
            yield len(inputs), {path: ops.convert_to_numpy(state) for path, state in named if path}

    @functools.cached_property
    def _training_step(self):
        call, mode = self.model.stateless_call, autodiff.mode(self.model, True)
        return autodiff.jit(lambda trainable, other, inputs: call(trainable, other, inputs, **mode)[1])

    def check(self, params: Params, what: str = "the params") -> None:
        """Raises ValueError unless these are finite weights of this model."""
        wrong = mismatch(params, self._variables, what)
        if wrong:
            raise ValueError(f"Expected params of '{self.model.name}', as kerasticket.get_params gives them. {wrong}")
        broken = [path for path, array in params.items() if not np.isfinite(array).all()]
        if broken:
            raise ValueError(f"Expected finite weights. Received: NaN or infinity in {what} at {broken}.")

    def values(self, params: Params) -> tuple[list, list]:
        """Tensors in the order of the model's trainable and non-trainable variables, for `stateless_call`."""
        fixed = iter(self._fixed)

        def tensors(paths: Sequence[str | None], variables: list[keras.Variable]) -> list:
            pairs = zip(paths, variables, strict=True)
            return [ops.convert_to_tensor(params[path], v.dtype) if path else next(fixed) for path, v in pairs]

        trainable, other = self._paths
        return tensors(trainable, self.model.trainable_variables), tensors(other, self.model.non_trainable_variables)

    @property
    def trainable_paths(self) -> list[str]:
        """Canonical paths of the trainable variables, in the order of `values`."""
        return self._paths[0]

    def _batch_sums(self, trainable, other, inputs, targets):
        """Sum of the losses of a batch, and how many of its examples are classified right."""
        outputs, _ = self.model.stateless_call(trainable, other, inputs, **autodiff.mode(self.model, False))
        loss = autodiff.mean_of_loss(self.loss, targets, outputs)
        return loss * ops.cast(ops.shape(inputs)[0], loss.dtype), number_right(targets, outputs, self._above)


def read(data: Any, batch_size: int) -> Iterator[Batch]:
    """The batches of a pair of arrays or of a pipeline, which is read twice: both passes must agree.

    Raises:
        ValueError: there are no data, inputs and targets differ in number, or the passes differ.
    """
    if not isinstance(batch_size, numbers.Integral) or batch_size < 1:
        raise ValueError(f"Expected a batch_size from 1 on. Received: {batch_size!r}.")
    if isinstance(data, Data):
        batches = _read_pipeline(pipeline(data, batch_size=batch_size, shuffle=False))
    elif isinstance(data, tuple) and len(data) == 2:
        _check_one_input(data[0])
        batches = list(_cut(np.asarray(data[0]), np.asarray(data[1]), batch_size))
    elif isinstance(data, Iterable) and not isinstance(data, (tuple, list, dict, str, np.ndarray)):
        batches = _read_pipeline(data)
    else:
        raise ValueError(
            f"Expected data as a pair (inputs, targets) of arrays, a tf.data pipeline, or an ImageSet. "
            f"Received: {type(data).__name__}."
        )
    if not batches:
        raise ValueError("Expected at least one example. Received: no data.")
    yield from batches


def check_deterministic(model: keras.Model, inputs: np.ndarray) -> None:
    """Raises ValueError if inference draws random numbers; the layers are named."""
    trainable = [array_of(variable) for variable in model.trainable_variables]
    names = [path if path else "" for path in _paths(model)[1]]
    other = [ops.convert_to_tensor(array_of(v), v.dtype) for v in model.non_trainable_variables]
    tensors = [ops.convert_to_tensor(value) for value in trainable]
    inputs = ops.convert_to_tensor(inputs)
    once, state = model.stateless_call(tensors, other, inputs, **autodiff.mode(model, False))
    drawn = [
        name.rpartition("/")[0]
        for name, before, after in zip(names, other, state, strict=True)
        if name.endswith(SEED_STATE) and not np.array_equal(ops.convert_to_numpy(before), ops.convert_to_numpy(after))
    ]
    again, _ = model.stateless_call(tensors, other, inputs, **autodiff.mode(model, False))
    same = np.array_equal(ops.convert_to_numpy(once), ops.convert_to_numpy(again), equal_nan=True)
    if drawn or not same:
        raise ValueError(
            f"Expected a model that gives the same outputs twice in inference mode. Received: '{model.name}', which "
            f"draws random numbers in {drawn or 'a layer without a seed'}. Take that layer out of the model."
        )


def above(loss: Any) -> float | None:
    """Where a binary cross-entropy has outputs of its second class begin; None for another loss.

    >>> above(keras.losses.BinaryCrossentropy(from_logits=True)), above(keras.losses.get("binary_crossentropy"))
    (0.0, 0.5)
    """
    binary = (keras.losses.BinaryCrossentropy, keras.losses.BinaryFocalCrossentropy)
    functions = (keras.losses.binary_crossentropy, keras.losses.binary_focal_crossentropy)
    if not isinstance(loss, binary) and loss not in functions:
        return None
    return 0.0 if getattr(loss, "from_logits", False) else 0.5


def number_right(targets, outputs, above: float | None = None):
    """How many examples the outputs classify as the targets say; NaN where the targets are no classes by their shape.

    Classes are one number for each example, or as many as the outputs have, of which the largest is right. Of one
    output, those `above` are of class 1, others of class 0; None: they are no classes.

    >>> int(number_right(np.array([1, 0]), np.array([[0.1, 0.9], [0.2, 0.8]])))
    1
    """
    one_hot = len(targets.shape) == 2 and targets.shape[-1] == outputs.shape[-1]
    labels = len(targets.shape) == 1 or tuple(targets.shape[1:]) == (1,)
    if above is not None and labels and (len(outputs.shape) == 1 or tuple(outputs.shape[1:]) == (1,)):
        chosen = ops.cast(ops.greater(ops.reshape(outputs, (-1,)), above), "int32")
        right = ops.equal(ops.cast(ops.reshape(targets, (-1,)), "int32"), chosen)
        return ops.sum(ops.cast(right, "float32"))
    if len(outputs.shape) != 2 or outputs.shape[-1] < 2 or not (one_hot or labels):
        return ops.full((), np.nan, "float32")
    labels = ops.argmax(targets, -1) if one_hot else ops.reshape(targets, (-1,))
    right = ops.equal(ops.cast(labels, "int32"), ops.cast(ops.argmax(outputs, -1), "int32"))
    return ops.sum(ops.cast(right, "float32"))


def _cut(inputs: np.ndarray, targets: np.ndarray, batch_size: int) -> Iterator[Batch]:
    if len(inputs) != len(targets):
        raise ValueError(f"Expected as many targets as inputs. Received: {len(inputs)} inputs, {len(targets)} targets.")
    for start in range(0, len(inputs), batch_size):
        yield inputs[start : start + batch_size], targets[start : start + batch_size]


def _read_pipeline(data: Iterable) -> list[Batch]:
    if hasattr(data, "cardinality") and int(data.cardinality()) == -1:
        raise ValueError(
            "Expected a finite pipeline. Received: one that repeats without end. Take a number of batches."
        )
    if isinstance(data, Iterator):
        raise ValueError(
            f"Expected data that can be read twice. Received: {type(data).__name__}. Pass a tf.data pipeline."
        )
    batches = []
    for batch in data:
        check_pair(batch, "Expected")
        _check_one_input(batch[0])
        batches.append((_array(batch[0]), _array(batch[1])))
    for index, (first, second) in enumerate(zip(batches, data, strict=True)):
        for name, before, after in zip(("inputs", "targets"), first, second, strict=True):
            if not np.array_equal(before, _array(after), equal_nan=True):
                raise ValueError(
                    f"Expected a pipeline that gives the same batches twice. Received: other {name} in batch {index} "
                    "of the second pass. Turn off shuffling and augmentation."
                )
    return batches


def _check_one_input(inputs: Any) -> None:
    several = isinstance(inputs, (tuple, list)) and any(hasattr(part, "shape") and len(part.shape) for part in inputs)
    if several or isinstance(inputs, dict):
        raise ValueError(
            f"Expected data for one input. Received: a {type(inputs).__name__} of {len(inputs)} arrays. Analyses take "
            "models with one input."
        )


def _array(tensor: Any) -> np.ndarray:
    return np.array(ops.convert_to_numpy(tensor))


def _paths(model: keras.Model) -> tuple[list[str], list[str | None]]:
    """Canonical paths of the model's trainable and of its other variables; None for masks, metrics and the like."""
    of = {id(variable): path for path, variable in named_variables(model).items()}
    trainable = [of[id(variable)] for variable in model.trainable_variables]
    return trainable, [of.get(id(variable)) for variable in model.non_trainable_variables]


def _fixed_values(model: keras.Model) -> list:
    """Values of the variables without a path: masks that keep everything, and other state as it is."""
    masks = {id(held.mask) for held in masked_weights(model).values()}
    fixed = [
        variable for variable, path in zip(model.non_trainable_variables, _paths(model)[1], strict=True) if not path
    ]
    arrays = [array_of(variable) for variable in fixed]
    held = [np.ones_like(array) if id(v) in masks else array for v, array in zip(fixed, arrays, strict=True)]
    return [ops.convert_to_tensor(array, variable.dtype) for array, variable in zip(held, fixed, strict=True)]
