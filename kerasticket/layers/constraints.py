"""What keeps pruned weights at exactly zero through every step of every optimizer, and out of penalties.

Keras applies a variable's constraint at the end of each step: of `fit`, `apply`, `apply_gradients` and
`stateless_apply`, whatever the optimizer did before. So a held weight has one that ends in its mask. torch's own
optimizers know no constraints; there the mask follows their steps. What kept weights become is the same to the bit,
except on JAX, where XLA fuses other programs and rounds otherwise.

Guaranteed: pruned entries of the variables are zero after `set_mask`, after every step of a Keras optimizer on them, in
`fit` or a loop of one's own, after every step of a `torch.optim` optimizer, and after `fit` with `use_ema`; penalties
and constraints see zeros. Not held: what is assigned to a variable by hand, or by an optimizer of another library
(optax). It reads as zero too, in outputs, gradients, `get_params` and tickets, and is zero after the next step.
"""

import functools
from collections.abc import Callable

import keras
import numpy as np
from keras import ops

from kerasticket.backend import keras_internals, live_masks


class HeldConstraint:
    """A weight's own constraint, if it has one, of the masked weight, masked again."""

    def __init__(self, variable: keras.Variable, mask: keras.Variable, inner: Callable | None) -> None:
        self.variable, self.mask, self.inner = variable, mask, inner

    def __setstate__(self, state: dict) -> None:
        vars(self).update(state)
        live_masks.after_steps_of_torch(self)  # a deep copy of the model

    def __call__(self, weight):
        with live_masks.no_gradient():
            weight = self.zeroed(weight)
            return weight if self.inner is None else self.zeroed(self.inner(weight))

    def zeroed(self, weight):
        return _where(live_masks.read(self.mask), weight)


class HeldRegularizer:
    """A weight's own regularizer, of the masked weight: it neither counts pruned weights nor pulls at them."""

    def __init__(self, mask: keras.Variable, inner: Callable) -> None:
        self.mask, self.inner = mask, inner

    def __call__(self, weight):
        return self.inner(_where(ops.convert_to_tensor(self.mask), weight))


def hold(variable: keras.Variable, mask: keras.Variable) -> None:
    """Keeps the pruned entries of a variable at zero from its next step on."""
    live_masks.share(mask)
    held = HeldConstraint(variable, mask, variable.constraint)
    keras_internals.set_constraint(variable, held)
    live_masks.after_steps_of_torch(held)
    if variable.regularizer is not None:
        variable.regularizer = HeldRegularizer(mask, variable.regularizer)
    _mend_keras()


def hold_again(variable: keras.Variable, mask: keras.Variable) -> None:
    """Does for copies of a held variable and its mask what `hold` did for these beside their attributes."""
    live_masks.share_anew(mask)
    keras_internals.set_constraint(variable, variable.constraint)
    live_masks.after_steps_of_torch(variable.constraint)


def let_go(variable: keras.Variable) -> None:
    """Gives a variable its own constraint and regularizer back."""
    if isinstance(variable.constraint, HeldConstraint):
        keras_internals.set_constraint(variable, variable.constraint.inner)
    if isinstance(variable.regularizer, HeldRegularizer):
        variable.regularizer = variable.regularizer.inner


def _where(mask, weight):
    weight = ops.convert_to_tensor(weight)  # JAX takes no Keras variables in `where`
    return ops.where(mask, weight, ops.zeros((), weight.dtype))


@functools.cache
def _mend_keras() -> None:
    """Two places where Keras 3.15 would undo or spoil it, once there are masks; dense networks train as before."""
    _mend_adafactor(keras.optimizers.Adafactor)
    _mend_averages(keras.optimizers.Optimizer)


def _mend_adafactor(kind) -> None:
    # Its second moment is a product of a row's and a column's mean. Where both have no gradients at all it underflows
    # to 0, the step is 0 / 0, and its norm makes every weight of the kernel NaN. Larger moments stay as they are.
    plain = kind.assign

    def assign(self, variable, value):
        if any(variable is moment for moment in keras_internals.second_moments(self)):
            value = ops.maximum(value, ops.cast(_least(variable.dtype), value.dtype))
        plain(self, variable, value)

    kind.assign = assign


def _least(dtype: str) -> float:
    return float(np.finfo(np.float16).smallest_subnormal if dtype == "float16" else np.finfo(np.float32).tiny)


def _mend_averages(kind) -> None:
    # With use_ema, `fit` ends by writing averages of what weights were before their constraints.
    plain = kind.finalize_variable_values

    def finalize_variable_values(self, var_list):
        plain(self, var_list)
        for variable in var_list:
            held = getattr(variable, "constraint", None)
            present = keras_internals.has_value(variable)  # on JAX `fit` may put the values back later
            if self.use_ema and present and isinstance(held, HeldConstraint):
                variable.assign(held.zeroed(variable))

    kind.finalize_variable_values = finalize_variable_values
