"""Masks as compiled steps see them: always at their present value."""

import copy

import keras
import numpy as np
import pytest
from keras import ops

from kerasticket.backend import autodiff, live_masks
from kerasticket.backend.keras_internals import set_constraint

BACKEND = keras.backend.backend()


def shared(values) -> keras.Variable:
    mask = keras.Variable(np.array(values), dtype="bool", trainable=False, name="mask")
    live_masks.share(mask)
    return mask


def value(mask: keras.Variable) -> list[bool]:
    return ops.convert_to_numpy(live_masks.read(mask)).tolist()


def test_a_compiled_function_sees_what_is_assigned_after_it_was_traced():
    mask, x = shared([True, False]), np.full(2, 3, "float32")
    masked = autodiff.jit(lambda x: ops.where(live_masks.read(mask), x, ops.zeros((), "float32")))
    assert ops.convert_to_numpy(masked(x)).tolist() == [3, 0]
    for other in ([False, True], [True, True]):
        mask.assign(np.array(other))
        assert ops.convert_to_numpy(masked(x)).tolist() == [3 * each for each in other]


def test_sharing_twice_changes_nothing():
    mask = shared([True, False])
    live_masks.share(mask)
    mask.assign(np.array([False, False]))
    assert value(mask) == [False, False]


@pytest.mark.skipif(BACKEND != "jax", reason="only there masks are mirrored")
def test_a_copy_has_a_mirror_of_its_own():
    mask = shared([True, False])
    again = copy.copy(mask)
    live_masks.share_anew(again)
    again.assign(np.array([False, False]))
    assert value(mask) == [True, False]
    assert value(again) == [False, False]


def test_a_constraint_is_applied_by_each_step_until_it_is_taken_away():
    variable = keras.Variable(np.ones(3, "float32"), name="kernel")
    optimizer = keras.optimizers.SGD(0.5)
    optimizer.build([variable])
    set_constraint(variable, lambda weight: ops.maximum(weight, 0.9))
    optimizer.apply([ops.convert_to_tensor(np.array([1, -1, 0], "float32"))], [variable])
    np.testing.assert_allclose(ops.convert_to_numpy(variable.value), [0.9, 1.5, 1])
    set_constraint(variable, None)
    optimizer.apply([ops.ones(3)], [variable])
    np.testing.assert_allclose(ops.convert_to_numpy(variable.value), [0.4, 1, 0.5])


@pytest.mark.skipif(BACKEND != "torch", reason="only torch records, and has optimizers that know no constraints")
def test_steps_of_torch_are_followed_and_nothing_is_recorded_within():
    import torch

    class Held:
        variable = keras.Variable(np.ones(2, "float32"), name="kernel")

        def zeroed(self, weight):
            return weight * torch.tensor([1.0, 0.0])

    held = Held()
    live_masks.after_steps_of_torch(held)
    parameter = held.variable.value
    (parameter.sum() * 2).backward()
    torch.optim.SGD([parameter], lr=0.25).step()
    assert parameter.tolist() == [0.5, 0]
    with live_masks.no_gradient():
        assert not (parameter * 2).requires_grad
    assert (parameter * 2).requires_grad
