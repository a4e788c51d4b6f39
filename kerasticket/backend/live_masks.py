"""Masks as steps of training see them: by their present value in compiled steps, and after steps of torch's optimizers.

A step that is compiled on JAX gets weights, gradients and slots, no masks; one that it read from its closure would be a
constant of the trace. There each mask is mirrored in a `jax.Ref`, which compiled functions read anew at every call.
"""

import contextlib
import functools
import weakref
from typing import Any

import keras
from keras import ops

from kerasticket.backend import keras_internals

_REF = "_ref_of_steps"
_AFTER: "weakref.WeakSet[Any]" = weakref.WeakSet()


class _Mirrored(keras_internals.Watched):
    """A variable of JAX whose every assignment outside of compiled functions is mirrored."""

    def assigned(self) -> None:
        _mirror(self)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != _REF}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        _mirror(self)


def share(mask: keras.Variable) -> None:
    """Lets `read` see what is assigned to the mask from now on, whoever does so."""
    if keras.backend.backend() == "jax" and not isinstance(mask, _Mirrored):
        object.__setattr__(mask, "__class__", _Mirrored)
        _mirror(mask)


def share_anew(mask: keras.Variable) -> None:
    """Gives a copy of a shared mask a mirror of its own: it came with the original's."""
    if vars(mask).pop(_REF, None) is not None:
        _mirror(mask)


def read(mask: keras.Variable):
    """The mask as it is when a step runs, compiled or not, as a tensor."""
    return vars(mask)[_REF][...] if _REF in vars(mask) else ops.convert_to_tensor(mask)


def _mirror(mask: keras.Variable) -> None:
    import jax

    value = keras_internals.value_or_none(mask)
    if value is None or isinstance(value, jax.core.Tracer):  # purged by `fit`, which assigns it again
        return
    with jax.ensure_compile_time_eval():
        if _REF in vars(mask):
            vars(mask)[_REF][...] = value
        else:
            vars(mask)[_REF] = jax.new_ref(value)


def no_gradient() -> contextlib.AbstractContextManager:
    """On torch nothing within is recorded for differentiation; on the others nothing would be."""
    if keras.backend.backend() != "torch":
        return contextlib.nullcontext()
    import torch

    return torch.no_grad()


def after_steps_of_torch(held: Any) -> None:
    """Has `held.zeroed(value)` written into `held.variable` after each step of a `torch.optim` optimizer on it."""
    if keras.backend.backend() == "torch":
        _AFTER.add(held)
        _listen_to_torch()


@functools.cache
def _listen_to_torch() -> None:
    import torch
    from torch.optim.optimizer import register_optimizer_step_post_hook

    def hook(optimizer, args, kwargs) -> None:
        stepped = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        with torch.no_grad():
            for held in list(_AFTER):
                if id(held.variable.value) in stepped:
                    held.variable.value.copy_(held.zeroed(held.variable.value))

    register_optimizer_step_post_hook(hook)
