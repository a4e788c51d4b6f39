"""The Hessian of a model's mean loss as a linear operator: what diagonal, trace and spectrum are computed with."""

import math
import numbers
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from kerasticket.analysis.objective import Batch, check_deterministic, read
from kerasticket.backend import autodiff
from kerasticket.backend.keras_internals import all_layers
from kerasticket.backend.variables import array_of
from kerasticket.data.pipeline import Data
from kerasticket.models.paths import named_variables
from kerasticket.params import is_float
from kerasticket.tickets.masking import get_mask
from kerasticket.training.recipe import compiled_loss

BATCH = 64  # examples at a time


class Curvature:
    """The Hessian over all trainable weights but pruned ones, which have no second derivatives.

    The loss is the one that the model was compiled with, without penalties, as a mean over the examples, and the
    network runs in inference mode. At kinks (ReLU, max pooling) derivatives are those of the side where the network is.

    Weights are read once: after changing them, make a new one. Vectors are flat, over the surviving weights in the
    order of the layers.

    Args:
        model: built, compiled, with one input and one output, in float32 or float64.
        data: a pair (inputs, targets) of arrays, an image set, or a finite tf.data pipeline of such pairs.
        batches: how many batches of a pipeline are used; arrays and image sets are one batch, whatever their size.

    Attributes:
        variables: trainable variables by canonical path, in the order of `model.trainable_variables`.
        surviving: by path, which of their entries are not pruned.
        size, pruned: number of these, and of the others.
        batches: (inputs, targets, share of all examples) as tensors.
        examples: number of examples.

    Raises:
        ValueError: the model is none of that, or has no weights to train, weights that are not finite, layers that draw
            random numbers or whose second derivatives are wrong on this backend; there are no data, or fewer batches.

    Example:

    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, use_bias=False, name="out")])
    >>> model.compile(loss="mse")
    >>> hessian = Curvature(model, (np.array([[1.0, 2.0]], "float32"), np.zeros((1, 1), "float32")))
    >>> hessian.product(np.array([1.0, 0.0])).tolist()
    [2.0, 4.0]
    """

    def __init__(self, model: keras.Model, data: Any, batches: int = 1):
        self.model, self.loss = model, compiled_loss(model)
        _check_model(model)
        pairs = _examples(data, batches)
        check_deterministic(model, pairs[0][0])
        self.examples = sum(len(inputs) for inputs, _ in pairs)
        dtype = model.compute_dtype
        self.batches = [(_tensor(x, dtype), _tensor(y, dtype), len(x) / self.examples) for x, y in pairs]
        paths = {id(variable): path for path, variable in named_variables(model).items()}
        self.variables = {paths[id(variable)]: variable for variable in model.trainable_variables}
        self._values = {path: array_of(v) for path, v in self.variables.items()}
        mask = get_mask(model)
        self.surviving = {path: mask.get(path, np.ones(v.shape, bool)) for path, v in self._values.items()}
        self.size = sum(int(np.count_nonzero(kept)) for kept in self.surviving.values())
        self.pruned = sum(v.size for v in self._values.values()) - self.size
        self._check_values()
        self._product = autodiff.jit(autodiff.hvp(autodiff.functional_loss(model, self.loss)))

    def product(self, vector: np.ndarray) -> np.ndarray:
        """The Hessian times a vector (size,); float64, as exact as the model's own dtype."""
        values = list(self._values.values())
        direction = [part.astype(v.dtype) for part, v in zip(self.split(vector).values(), values, strict=True)]
        total = np.zeros(self.size)
        for inputs, targets, share in self.batches:
            product = self._product(values, direction, inputs, targets)
            total += share * self.join(dict(zip(self.variables, map(ops.convert_to_numpy, product), strict=True)))
        return total

    def split(self, vector: np.ndarray) -> dict[str, np.ndarray]:
        """A flat vector as arrays by path, 0 (or False) where pruned."""
        ends = np.cumsum([np.count_nonzero(kept) for kept in self.surviving.values()])[:-1]
        arrays = {path: np.zeros(kept.shape, vector.dtype) for path, kept in self.surviving.items()}
        for part, (path, kept) in zip(np.split(vector, ends), self.surviving.items(), strict=True):
            arrays[path][kept] = part
        return arrays

    def join(self, arrays: dict[str, np.ndarray]) -> np.ndarray:
        """Arrays by path as a flat vector."""
        return np.concatenate([arrays[path][kept] for path, kept in self.surviving.items()])

    def _check_values(self) -> None:
        if not self.size:
            raise ValueError(f"Expected a model with trainable weights. Received: '{self.model.name}', without any.")
        every = {path: array_of(v) for path, v in named_variables(self.model).items()}
        broken = [path for path, array in every.items() if not np.isfinite(array).all()]
        if broken:
            raise ValueError(f"Expected finite weights. Received: NaN or infinity at {broken}.")


def signs(rng: np.random.Generator, size: int) -> np.ndarray:
    """Independent draws of -1 and 1 (Rademacher)."""
    return rng.choice([-1.0, 1.0], size)


def _check_model(model: keras.Model) -> None:
    if len(getattr(model, "inputs", None) or [None]) != 1:
        raise ValueError(f"Expected a model with one input. Received: '{model.name}' with {len(model.inputs)}.")
    half = sorted({layer.compute_dtype for layer in all_layers(model)} - {"float32", "float64", None})
    if half:
        raise ValueError(
            f"Expected a model that computes in float32 or float64, as second derivatives need the digits. "
            f"Received: '{model.name}', which computes in {half}. Copy its weights to one of dtype policy 'float32'."
        )
    autodiff.check_second_derivatives(model)


def _examples(data: Any, batches: int) -> list[Batch]:
    """The first batches of the data, cut so small that any memory holds them: what is computed is a mean."""
    if not isinstance(batches, numbers.Integral) or batches < 1:
        raise ValueError(f"Expected a number of batches from 1 on. Received: batches={batches!r}.")
    whole = isinstance(data, (tuple, Data))
    pairs = list(read(data.take(batches) if hasattr(data, "take") else data, batch_size=BATCH))
    found = 1 if whole else len(pairs)
    if found < batches:
        raise ValueError(
            f"Expected data of at least {batches} batches; arrays and image sets are one. "
            f"Received: batches={batches}, and data of {found}."
        )
    return [piece for pair in pairs[: None if whole else batches] for piece in _pieces(*pair)]


def _pieces(inputs: np.ndarray, targets: np.ndarray) -> Iterator[Batch]:
    count = math.ceil(len(inputs) / BATCH)
    return zip(np.array_split(inputs, count), np.array_split(targets, count), strict=True)


def _tensor(array: np.ndarray, dtype: str):
    """With floating numbers as the model computes them; NumPy's own are of double precision."""
    return ops.convert_to_tensor(array.astype(dtype) if is_float(array) else array)
