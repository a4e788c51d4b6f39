"""SGD with L2 inside the momentum, and the step schedule: the paper's recipe, as PyTorch runs it."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from kerasticket.backend.keras_internals import decays, place_of


@keras.saving.register_keras_serializable(package="kerasticket")
class SGD(keras.optimizers.Optimizer):
    """Stochastic gradient descent with momentum and coupled L2, step for step `torch.optim.SGD`.

    `buffer = momentum * buffer + (gradient + l2 * weight)`, then `weight -= learning_rate * buffer`, for each
    trainable weight (biases and norms too, as in torch). `keras.optimizers.SGD` differs twice: its
    `weight_decay` acts outside the momentum (about 10 times weaker at momentum .9), and its buffer holds the
    learning rate, so that old gradients keep the old rate for some steps after a drop.

    Args:
        learning_rate: float, or a `LearningRateSchedule` over steps.
        momentum: in [0, 1); 0 keeps no buffers.
        l2: the factor that torch calls weight_decay; >= 0.
        **kwargs: those of `keras.optimizers.Optimizer`, but `weight_decay`.

    Raises:
        ValueError: momentum or l2 out of range, or `weight_decay` given.

    Example:

    >>> SGD(0.01, momentum=0.9, l2=5e-4).l2
    0.0005
    """

    def __init__(self, learning_rate: Any = 0.01, momentum: float = 0.9, l2: float = 0.0, **kwargs: Any) -> None:
        if not 0 <= momentum < 1:
            raise ValueError(f"Expected momentum in [0, 1), such as 0.9. Received: momentum={momentum}")
        if not 0 <= l2 < math.inf:
            raise ValueError(f"Expected a finite l2 >= 0, such as 5e-4. Received: l2={l2}")
        if kwargs.get("weight_decay") is not None:
            raise ValueError(
                "Expected no weight_decay, which Keras applies outside the momentum: give l2 instead. "
                f"Received: weight_decay={kwargs['weight_decay']}"
            )
        super().__init__(learning_rate=learning_rate, **kwargs)
        self.momentum = momentum
        self.l2 = l2

    def build(self, variables: Sequence[keras.Variable]) -> None:
        if self.built:
            return
        super().build(variables)
        self.momentums = self.add_optimizer_variables(variables, "momentum") if self.momentum else []

    def update_step(self, gradient, variable, learning_rate) -> None:
        dtype = variable.dtype
        # A tensor: an embedding's gradient comes as slices on TensorFlow, while L2 touches every row.
        step = ops.cast(ops.convert_to_tensor(gradient), dtype)
        if self.l2 and decays(self, variable):
            step = step + ops.cast(self.l2, dtype) * ops.convert_to_tensor(variable)
        if self.momentum:
            buffer = self.momentums[place_of(self, variable)]
            step = step + ops.cast(self.momentum, dtype) * ops.convert_to_tensor(buffer)
            self.assign(buffer, step)
        self.assign_sub(variable, ops.cast(learning_rate, dtype) * step)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "momentum": self.momentum, "l2": self.l2}


@keras.saving.register_keras_serializable(package="kerasticket")
class StepSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate that is multiplied by `factor` at each boundary: torch's MultiStepLR, counted in steps.

    Step s, counted from 0, has rate `initial_learning_rate * factor ** (number of boundaries <= s)`.

    Args:
        initial_learning_rate: rate of step 0.
        boundaries: steps at which the next rate begins, >= 1, not falling; a step given twice counts twice.
        factor: what the rate is multiplied by.

    Raises:
        ValueError: a rate or factor that is not positive, or boundaries that fall or lie below 1.

    Example:

    >>> round(float(StepSchedule(0.01, boundaries=[100, 150], factor=0.2)(120)), 4)
    0.002
    """

    def __init__(self, initial_learning_rate: float, boundaries: Sequence[int], factor: float) -> None:
        super().__init__()
        boundaries = [int(step) for step in boundaries]
        if any(later < earlier for earlier, later in itertools.pairwise([1, *boundaries])):
            raise ValueError(f"Expected boundaries >= 1 in rising order, in steps. Received: boundaries={boundaries}")
        for argument, value in {"initial_learning_rate": initial_learning_rate, "factor": factor}.items():
            if not 0 < value < math.inf:
                raise ValueError(f"Expected a finite {argument} > 0. Received: {argument}={value}")
        self.initial_learning_rate = initial_learning_rate
        self.boundaries = boundaries
        self.factor = factor

    def __call__(self, step):
        step = ops.convert_to_tensor(step)
        rate = ops.cast(self.initial_learning_rate, keras.config.floatx())
        for drops, boundary in enumerate(self.boundaries, start=1):
            rate = ops.where(step >= boundary, self.initial_learning_rate * self.factor**drops, rate)
        return rate

    def get_config(self) -> dict[str, Any]:
        return {
            "initial_learning_rate": self.initial_learning_rate,
            "boundaries": self.boundaries,
            "factor": self.factor,
        }


def paper_schedule(
    learning_rate: float,
    epochs: int,
    steps_per_epoch: int,
    milestones: Sequence[float] = (2 / 3, 5 / 6),
    factor: float = 0.2,
) -> StepSchedule:
    """The paper's schedule: rate x .2 after 2/3 and 5/6 of the epochs (200, 250 of 300; 666, 833 of 1000).

    A milestone is rounded down to whole epochs, but leaves at least one epoch at the first rate.

    Args:
        learning_rate: rate of the first epochs.
        epochs: number of epochs, >= 1.
        steps_per_epoch: batches in an epoch, >= 1.
        milestones: fractions of the epochs, in (0, 1].
        factor: what the rate is multiplied by at each milestone.

    Raises:
        ValueError: epochs or steps_per_epoch below 1, or milestones outside (0, 1] or falling.

    Example:

    >>> paper_schedule(0.01, epochs=300, steps_per_epoch=10).boundaries
    [2000, 2500]
    """
    if epochs < 1 or steps_per_epoch < 1:
        raise ValueError(
            f"Expected epochs >= 1 and steps_per_epoch >= 1. Received: epochs={epochs}, "
            f"steps_per_epoch={steps_per_epoch}"
        )
    if not all(0 < fraction <= 1 for fraction in milestones):
        raise ValueError(f"Expected milestones in (0, 1], as shares of the epochs. Received: milestones={milestones}")
    # The small addend keeps a product such as 0.29 * 100 = 28.999999999999996 at its whole epoch.
    whole_epochs = [max(1, math.floor(fraction * epochs + 1e-9)) for fraction in milestones]
    return StepSchedule(learning_rate, [epoch * steps_per_epoch for epoch in whole_epochs], factor)
