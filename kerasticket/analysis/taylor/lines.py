"""Second derivatives of a loss along single weights, without a backward pass: second-order Taylor mode.

The second derivative at a coordinate needs only what its line moves. All layers before it stand still: their outputs
are computed once for all coordinates. From the layer on jets are carried forward, those of many coordinates as one
batch. One entry of a kernel moves a single channel, up to the next layer that mixes channels, so that the norm, the
ReLU and the pooling behind a convolution cost one channel's share. (Griewank & Walther 2008, "Evaluating
Derivatives", chapter 13, has the arithmetic of Taylor series.)
"""

import functools
import math
from collections.abc import Callable

import keras
import numpy as np
from keras import ops

from kerasticket.analysis.taylor.graph import Step, steps_of
from kerasticket.analysis.taylor.jets import Jet, Lines
from kerasticket.backend import autodiff
from kerasticket.backend.keras_internals import has_logits_behind, keras_mask
from kerasticket.backend.variables import array_of

BUDGET = 2**26  # bytes for the jets of the coordinates that are computed at a time
ALIVE = 8  # tensors as large as a jet's that a rule holds at a time


class AlongLines:
    """d^2/dt^2 of a model's mean loss at w + t e_k, for weights from which on all layers have rules.

    Every step is compiled once for all weights before it.

    Args:
        model: built, with one input and one output.
        loss: what `kerasticket.backend.autodiff.mean_of_loss` takes.
        inputs, targets: examples on which is tried whether rules and loss are as they should be.
    """

    def __init__(self, model: keras.Model, loss: Callable, inputs: np.ndarray, targets: np.ndarray):
        self.steps, self.output = steps_of(model)
        self._last_use = {number: index for index, step in enumerate(self.steps) for number in step.inputs}
        self._values = [[_value(v) for v in _variables(step)] for step in self.steps]
        self._dtype = model.inputs[0].dtype if getattr(model, "inputs", None) else None
        self._value = [autodiff.jit(functools.partial(_with_values, step, step.value)) for step in self.steps]
        self._carry = [autodiff.jit(functools.partial(_with_values, step, step.carry)) for step in self.steps]
        self._start: dict[int, Callable] = {}
        self._loss = autodiff.jit(functools.partial(_second_of_loss, loss))
        outputs = self.points(inputs)[self.output]
        expected = model(inputs, **autodiff.mode(model, False))
        # Logits that the loss would look at are not among what the steps hand on.
        self._right = _agree(outputs, expected) and not has_logits_behind(expected)
        self._right = self._right and keras_mask(expected) is None and _is_per_example(loss, targets, outputs)

    def covers(self, variable: keras.Variable) -> bool:
        """Whether this weight is one of those; also no if two layers share it, or if a trial failed."""
        using = self._using(variable)
        if not self._right or len(using) != 1 or variable.name not in self.steps[using[0]].rule.starts:
            return False
        return all(self.steps[index].rule.carry for index in self._moved(using[0]))

    def points(self, inputs: np.ndarray) -> list:
        """The tensors of the network for a batch of inputs, by number."""
        points = [ops.convert_to_tensor(inputs, self._dtype)]
        for step, value, values in zip(self.steps, self._value, self._values, strict=True):
            points += value(values, [points[number] for number in step.inputs])
        return points

    def second(
        self, variable: keras.Variable, coordinates: np.ndarray, points: list, targets: np.ndarray
    ) -> np.ndarray:
        """Second derivatives at coordinates, flat indices into the weight; memory does not grow with their number."""
        (start,) = self._using(variable)
        if id(variable) not in self._start:
            step = self.steps[start]
            begin = functools.partial(step.rule.starts[variable.name], step.layer)
            self._start[id(variable)] = autodiff.jit(functools.partial(_with_values, step, begin))
        chunk = functools.partial(self._chunk, start, self._start[id(variable)], points, targets)
        pieces = _pieces(coordinates, BUDGET // self._bytes_per_line(start, points))
        lines = [Lines(*np.divmod(piece, np.int32(variable.shape[-1]))) for piece in pieces]
        # Taken to NumPy one by one: JAX would begin them all at once.
        return np.concatenate([ops.convert_to_numpy(chunk(each)) for each in lines])[: len(coordinates)]

    def _chunk(self, start: int, begin: Callable, points: list, targets, lines: Lines):
        step = self.steps[start]
        (number,) = step.outputs
        jets = {number: begin(self._values[start], *(points[i] for i in (*step.inputs, number)), lines)}
        for index in self._moved(start):
            step = self.steps[index]
            inputs = [points[number] for number in step.inputs], [jets.get(number) for number in step.inputs]
            jets[step.outputs[0]] = self._carry[index](self._values[index], *inputs)
            jets = {number: jet for number, jet in jets.items() if self._last_use.get(number, index + 1) > index}
        return self._loss(targets, points[self.output], jets[self.output])

    def _using(self, variable: keras.Variable) -> list[int]:
        """The steps that have the variable."""
        return [index for index, step in enumerate(self.steps) if any(v is variable for v in _variables(step))]

    def _moved(self, start: int) -> list[int]:
        """The steps whose inputs move if the output of a step does."""
        moving, indices = set(self.steps[start].outputs), []
        for index, step in enumerate(self.steps):
            if moving.intersection(step.inputs):
                moving.update(step.outputs)
                indices.append(index)
        return indices

    def _bytes_per_line(self, start: int, points: list) -> int:
        """`ALIVE` times the largest jet of a line."""
        full = set() if self.steps[start].rule.starts_with_one_channel else set(self.steps[start].outputs)
        largest = 0
        for index in (start, *self._moved(start)):
            step = self.steps[index]
            if index != start and (not step.rule.channelwise or full.intersection(step.inputs)):
                full.update(step.outputs)
            point = points[step.outputs[0]]
            size = math.prod(point.shape) // (1 if full.intersection(step.outputs) else point.shape[-1])
            largest = max(largest, size * np.dtype(keras.backend.standardize_dtype(point.dtype)).itemsize)
        return ALIVE * largest


def _pieces(coordinates: np.ndarray, most: int) -> list[np.ndarray]:
    """Of one length, at most `most` and a power of two, so that few shapes are traced; the last is filled up.

    >>> [piece.tolist() for piece in _pieces(np.array([5, 6, 7]), most=3)]
    [[5, 6], [7, 5]]
    """
    size = 2 ** min(int(math.log2(max(most, 1))), math.ceil(math.log2(len(coordinates))))
    count = math.ceil(len(coordinates) / size)
    return np.split(np.resize(coordinates, count * size).astype("int32"), count)


def _variables(step: Step) -> list[keras.Variable]:
    return getattr(step.layer, "variables", [])


def _value(variable: keras.Variable):
    """A copy: on JAX, the next fit deletes the buffers of the variables."""
    return ops.convert_to_tensor(array_of(variable), variable.dtype)


def _with_values(step: Step, function: Callable, values: list, *arguments):
    """Calls a function of a step with the values of the step's variables passed in.

    If it read them itself, JAX would freeze them and torch record gradients.
    """
    with keras.StatelessScope(state_mapping=list(zip(_variables(step), values, strict=True))):
        return function(*arguments)


def _agree(actual, expected) -> bool:
    actual, expected = (ops.convert_to_numpy(each) for each in (actual, expected))
    return actual.shape == expected.shape and np.allclose(actual, expected, 1e-3, 1e-4 * np.abs(expected).max())


def _is_per_example(loss: Callable, targets, outputs) -> bool:
    """Whether the loss of an example is its own, whatever others are in the batch: with the batch twice in it."""
    targets = ops.convert_to_tensor(targets)
    once, twice = (autodiff.losses_of(loss, *(_repeated(x, n) for x in (targets, outputs))) for n in (1, 2))
    return once.shape[:1] == targets.shape[:1] and _agree(twice, _repeated(once, 2))


def _repeated(x, count: int):
    return ops.tile(x, (count, *[1] * (len(x.shape) - 1)))


def _second_of_loss(loss: Callable, targets, outputs, jet: Jet):
    """(lines,) second derivatives of the mean loss, given the jet of the outputs: L' z2 + z1' L'' z1."""

    def mean_loss(outputs, targets):
        return autodiff.mean_of_loss(loss, targets, outputs)

    jet = jet.spread(outputs.shape[-1])
    lines, axes = jet.first.shape[0], tuple(range(1, len(jet.first.shape)))
    bent = ops.sum(autodiff.gradient(mean_loss)(outputs, targets) * jet.second, axis=axes)
    # L'' is the same on all lines and does not mix examples: one product serves all.
    direction = ops.reshape(jet.first, (-1, *outputs.shape[1:]))
    product = autodiff.hvp(mean_loss)(_repeated(outputs, lines), direction, _repeated(targets, lines))
    return bent + lines * ops.sum(jet.first * ops.reshape(product, jet.first.shape), axis=axes)
