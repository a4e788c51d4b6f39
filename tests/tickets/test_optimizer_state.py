"""State of optimizers as arrays: put back to the bit, masked, fresh again, and of every optimizer of a model."""

import keras
import nets
import numpy as np
import pytest

from kerasticket.params import differing
from kerasticket.tickets import optimizer_state as state

MASK = {"hidden/kernel": np.arange(48).reshape(6, 8) % 2 == 0}


def stepped(optimizer, steps: int = 2) -> keras.Model:
    """The small net after steps of the optimizer, all of whose gradients are 1."""
    model = nets.compile_for_test(nets.mlp(), optimizer)
    for _ in range(steps):
        step(model)
    return model


def step(model: keras.Model) -> None:
    gradients = [keras.ops.ones(variable.shape) for variable in model.trainable_variables]
    model.optimizer.apply(gradients, model.trainable_variables)


def test_slots_have_the_paths_of_their_weights_and_counters_one_dtype():
    found = state.get_state(stepped(keras.optimizers.Adam(0.01)))
    weights = [f"{layer}/{name}" for layer in ("hidden", "classifier") for name in ("kernel", "bias")]
    assert set(found) == {"iteration"} | {f"{path}:{slot}" for path in weights for slot in ("momentum", "velocity")}
    assert found["iteration"] == 2
    assert found["iteration"].dtype == np.int64  # that every backend shares
    assert found["hidden/kernel:velocity"].shape == (6, 8)


def test_a_state_is_put_back_to_the_bit():
    model = stepped(keras.optimizers.Adam(0.01))
    kept = state.get_state(model)
    step(model)
    assert differing(state.get_state(model), kept)
    state.set_state(model, kept)
    assert not differing(state.get_state(model), kept)


def test_the_fresh_state_is_that_before_the_first_step():
    model = nets.compile_for_test(nets.mlp(), keras.optimizers.Adam(0.01))
    assert not state.is_built(model)
    state.build(model)
    assert state.is_built(model)
    first = state.get_state(model)
    step(model)
    assert not differing(state.fresh_state(model), first)
    assert state.get_state(model)["iteration"] == 1


def test_masked_slots_are_zero_where_pruned_and_as_they_were_elsewhere():
    model = stepped(keras.optimizers.SGD(0.1, momentum=0.9))
    before = state.get_state(model)
    masked = state.masked_state(before, MASK)
    kept, key = MASK["hidden/kernel"], "hidden/kernel:momentum"
    assert not masked[key][~kept].any()
    np.testing.assert_array_equal(masked[key][kept], before[key][kept])
    assert set(differing(masked, before)) == {key}
    state.mask_slots(model, MASK)
    assert not differing(state.get_state(model), masked)


def test_the_state_of_another_optimizer_or_model_is_refused_with_what_differs():
    model = stepped(keras.optimizers.Adam(0.01))
    other = state.get_state(stepped(keras.optimizers.SGD(0.1)))
    with pytest.raises(ValueError, match=r"like the model's Adam. Received: one that differs in \['classifier/bias:m"):
        state.set_state(model, other)
    wrong = state.get_state(model) | {"iteration": np.zeros(2, np.int64)}
    with pytest.raises(ValueError, match=r"differs in \['iteration'\]"):
        state.check(model, wrong)


def test_learning_rates_are_settings_which_schedules_have_none_of():
    model = stepped(keras.optimizers.SGD(0.1), steps=1)
    rates = state.get_learning_rate(model)
    assert [float(rate) for rate in rates.values()] == pytest.approx([0.1])
    model.optimizer.learning_rate = 0.5
    state.set_learning_rate(model, rates)
    assert float(keras.ops.convert_to_numpy(model.optimizer.learning_rate)) == pytest.approx(0.1)
    decay = keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.5)
    assert state.get_learning_rate(stepped(keras.optimizers.SGD(decay), steps=1)) == {}


def with_own(**attributes) -> keras.Model:
    """A compiled net that holds more optimizers."""
    model = nets.compile_for_test(nets.mlp())
    for name, value in attributes.items():
        setattr(model, name, value)
    return model


def test_optimizers_in_attributes_lists_and_dicts_are_found_once_by_name():
    critic, first, named = (keras.optimizers.SGD(0.1 * i, momentum=0.9) for i in (1, 2, 3))
    model = with_own(critic=critic, others=[first, critic], by_name={"x": named})
    assert state.optimizers_of(model) == {
        "": model.optimizer,
        "critic": critic,
        "others.0": first,
        "by_name.x": named,
    }
    kernel = model.get_layer("hidden").kernel
    critic.build([kernel])
    state.build(model)
    found = state.get_state(model)
    assert "critic!hidden/kernel:momentum" in found
    assert "critic!classifier/kernel:momentum" not in found
    critic.apply([keras.ops.ones(kernel.shape)], [kernel])
    assert state.get_state(model)["critic!iteration"] == 1
    state.mask_slots(model, MASK)
    slot = state.get_state(model)["critic!hidden/kernel:momentum"]
    assert (slot != 0).tolist() == MASK["hidden/kernel"].tolist()


def test_a_loss_scale_optimizer_and_the_one_inside_count_apart():
    model = stepped(keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1, momentum=0.9)))
    assert list(state.optimizers_of(model)) == [""]
    found = state.get_state(model)
    assert {"iteration", "iteration#2"} <= found.keys()
    assert "hidden/kernel:momentum" in found


class TorchLike:
    """Has what torch's optimizers have."""

    param_groups = ()

    def zero_grad(self):
        pass

    def state_dict(self):
        pass


def test_optimizers_of_torch_are_refused_by_name():
    with pytest.raises(ValueError, match="Received: 'own' of type TorchLike, whose state cannot be rewound"):
        state.optimizers_of(with_own(own=TorchLike()))


class NoConfig(keras.optimizers.SGD):
    """Takes what its config does not tell."""

    def __init__(self, function):
        super().__init__(0.1)


def test_an_optimizer_that_cannot_be_made_again_is_refused():
    model = stepped(NoConfig(len), steps=1)
    with pytest.raises(ValueError, match="made again from its config, to rewind it.*of type NoConfig"):
        state.fresh_state(model)
