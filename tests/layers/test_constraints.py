"""Pruned weights are exactly zero in memory after every step, whatever the optimizer, loop, penalty or constraint."""

import copy

import keras
import nets
import numpy as np
import pytest
from keras import layers, ops, optimizers
from this_backend import BACKEND

import kerasticket as kt
from kerasticket.layers.constraints import HeldConstraint
from kerasticket.layers.copies import duplicate
from kerasticket.models.paths import raw_params
from kerasticket.tickets import optimizer_state

OPTIMIZERS = {
    "sgd": lambda: optimizers.SGD(0.1),
    "momentum": lambda: optimizers.SGD(0.1, momentum=0.9, weight_decay=0.1, clipnorm=1.0),
    "nesterov": lambda: optimizers.SGD(0.1, momentum=0.9, nesterov=True, global_clipnorm=1.0),
    "kerasticket": lambda: kt.optimizers.SGD(0.1, momentum=0.9, l2=5e-4),
    "adam": lambda: optimizers.Adam(optimizers.schedules.ExponentialDecay(0.1, 2, 0.5), amsgrad=True),
    "adamw": lambda: optimizers.AdamW(0.01, weight_decay=0.1, gradient_accumulation_steps=2),
    "nadam": lambda: optimizers.Nadam(0.01, clipvalue=0.5),
    "adamax": lambda: optimizers.Adamax(0.01),
    "adagrad": lambda: optimizers.Adagrad(0.1),
    "adadelta": lambda: optimizers.Adadelta(0.1),
    "rmsprop": lambda: optimizers.RMSprop(0.01, momentum=0.9, centered=True),
    "ftrl": lambda: optimizers.Ftrl(0.05, l1_regularization_strength=0.01),
    "ftrl_from_zero": lambda: optimizers.Ftrl(0.05, initial_accumulator_value=0.0),
    "lion": lambda: optimizers.Lion(0.01),
    "lamb": lambda: optimizers.Lamb(0.01, weight_decay=0.1),
    "muon": lambda: optimizers.Muon(0.01, weight_decay=0.1),
    "muon_averaged": lambda: optimizers.Muon(0.01, use_ema=True),
    "adafactor": lambda: optimizers.Adafactor(0.01),
    "schedule_free": lambda: optimizers.ScheduleFreeAdamW(0.01),
    "loss_scale": lambda: optimizers.LossScaleOptimizer(optimizers.Muon(0.01)),
    "multi": lambda: optimizers.MultiOptimizer(_map()),
}
IN_FIT = ("adamw", "muon_averaged", "adafactor", "loss_scale")


def _map():
    found = keras.src.optimizers.multi_optimizer.OptimizerMap(optimizers.Muon(0.01))
    found["classifier/.*"] = optimizers.SGD(0.1, momentum=0.9)
    return found


def _sgd(variable):
    return optimizers.SGD(0.1)


def masked(make=nets.mlp, seed: int = 0) -> keras.Model:
    """A small net with random weights that depend on the seed alone, masked."""
    model = kt.masked(make())
    rng = np.random.default_rng(seed)
    shapes = {path: array.shape for path, array in kt.get_params(model).items()}
    kt.set_params(model, {path: rng.normal(size=shape).astype("float32") for path, shape in shapes.items()})
    return model


def compiled(model: keras.Model, optimizer) -> keras.Model:
    xla = "auto" if BACKEND == "jax" else False  # on TensorFlow it takes seconds a model
    model.compile(optimizer, keras.losses.CategoricalCrossentropy(from_logits=True), jit_compile=xla)
    return model


def fit(model: keras.Model, epochs: int = 2) -> keras.Model:
    x, y = nets.batch(model, 16)
    model.fit(x, y, batch_size=8, epochs=epochs, verbose=0, shuffle=False)
    return model


def revived(model: keras.Model) -> int:
    """Pruned weights that are not exactly zero in the variables."""
    raw = raw_params(model)
    assert all(np.isfinite(array).all() for array in raw.values())
    return sum(np.count_nonzero(raw[path][~kept]) for path, kept in kt.get_mask(model).items())


def assert_same(a: keras.Model, b: keras.Model) -> None:
    """To the bit; on JAX XLA fuses the two programs differently, and rounds accordingly."""
    for one, other in zip(raw_params(a).values(), raw_params(b).values(), strict=True):
        if BACKEND == "jax":
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
        else:
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_apply_leaves_zeros_with_every_optimizer_and_changing_masks(name):
    """Gradients of any size, as a loop of the user's own may hand them in, masks that change under warm slots."""
    if BACKEND == "jax" and name == "loss_scale":
        pytest.skip("Keras 3.15's LossScaleOptimizer cannot `apply` outside of compiled steps on JAX, dense nets too")
    model = compiled(masked(), OPTIMIZERS[name]())
    rng, weights = np.random.default_rng(1), model.trainable_variables
    for seed in range(3):
        kt.set_mask(model, nets.half_mask(model, seed))
        before = raw_params(model)
        for _ in range(3):
            gradients = [ops.convert_to_tensor(rng.normal(size=v.shape).astype("float32")) for v in weights]
            model.optimizer.apply(gradients, weights)
            assert revived(model) == 0
    kept = kt.get_mask(model)["hidden/kernel"]
    assert (raw_params(model)["hidden/kernel"] != before["hidden/kernel"])[kept].mean() > 0.5


@pytest.mark.parametrize("name", IN_FIT)
def test_fit_leaves_zeros_and_sees_masks_that_change_between_fits(name):
    """One trace serves all: a mask that it held as a constant would leave the first one's zeros."""
    model = compiled(masked(), OPTIMIZERS[name]())
    once = BACKEND == "jax" and name == "muon_averaged"  # Keras' averages and weights share buffers after a fit
    for seed in range(1 if once else 2):
        kt.set_mask(model, nets.half_mask(model, seed))
        fit(model)
        assert revived(model) == 0
        kept = kt.get_mask(model)["hidden/kernel"]
        assert raw_params(model)["hidden/kernel"][kept].mean() != 0


@pytest.mark.parametrize("name", ["momentum", "muon", "adafactor"])
def test_a_mask_that_keeps_everything_trains_as_the_dense_network_to_the_bit(name):
    model = masked()
    dense = fit(compiled(kt.strip(model), OPTIMIZERS[name]()))
    fit(compiled(model, OPTIMIZERS[name]()))
    assert_same(model, dense)


@pytest.mark.parametrize("name", ["momentum", "adam"])
def test_kept_weights_are_what_they_are_without_the_hold(name):
    models = [masked(), masked()]
    for one in models[1].layers:
        one._kernel.constraint = None
        assert isinstance(models[0].get_layer(one.name)._kernel.constraint, HeldConstraint)
    for model in models:
        kt.set_mask(model, nets.half_mask(model))
        fit(compiled(model, OPTIMIZERS[name]()))
    assert_same(*models)


def test_adafactor_stays_finite_where_a_kernel_has_rows_and_columns_without_gradients():
    model = compiled(masked(), optimizers.Adafactor(0.01))
    mask = kt.get_mask(model)
    mask["hidden/kernel"][:3], mask["hidden/kernel"][:, :4] = False, False
    kt.set_mask(model, mask)
    before = raw_params(model)["hidden/kernel"]
    after = raw_params(fit(model))["hidden/kernel"]
    assert np.isfinite(after).all()
    assert not after[~mask["hidden/kernel"]].any()
    assert (after != before)[mask["hidden/kernel"]].any()


@keras.saving.register_keras_serializable(package="test_zeros")
class Pull(keras.regularizers.Regularizer):
    """Pulls every weight to 1, those at 0 too."""

    def __call__(self, x):
        return 0.1 * ops.sum(ops.square(x - 1.0))

    def get_config(self):
        return {}


@keras.saving.register_keras_serializable(package="test_zeros")
class Shift(keras.constraints.Constraint):
    """Moves zeros."""

    def __call__(self, w):
        return w + 0.25


def single(**options) -> keras.Model:
    return keras.Sequential([keras.Input((6,)), layers.Dense(5, name="only", **options)], name="single")


def test_a_penalty_sees_masked_weights_and_does_not_pull_at_pruned_ones():
    model = compiled(masked(lambda: single(kernel_regularizer=Pull())), optimizers.SGD(0.1))
    kt.set_mask(model, nets.half_mask(model))
    model.get_layer("only")._kernel.assign(np.ones((6, 5)))  # behind the mask's back
    assert float(ops.sum(model.losses[0])) == pytest.approx(0.1 * (~nets.half_mask(model)["only/kernel"]).sum())
    assert revived(fit(model)) == 0
    x, y = nets.batch(model)
    plain = compiled(kt.strip(model), "sgd")
    assert plain.evaluate(x, y, verbose=0) == model.evaluate(x, y, verbose=0)
    assert isinstance(plain.get_layer("only")._kernel.regularizer, Pull)


def test_constraints_are_applied_to_masked_weights_and_masked_again():
    model = masked(lambda: single(kernel_constraint=Shift()))
    kt.set_mask(model, nets.half_mask(model))
    before, mask = kt.get_params(model)["only/kernel"], kt.get_mask(model)["only/kernel"]
    zeros = [ops.zeros(v.shape) for v in model.trainable_variables]
    optimizers.SGD(0.1).apply(zeros, model.trainable_variables)
    np.testing.assert_array_equal(raw_params(model)["only/kernel"], np.where(mask, before + np.float32(0.25), 0))
    assert isinstance(kt.strip(model).get_layer("only")._kernel.constraint, Shift)


def test_a_norm_constraint_counts_no_pruned_weights():
    model = masked(lambda: single(kernel_constraint=keras.constraints.UnitNorm()))
    kt.set_mask(model, nets.half_mask(model))
    kernel, mask = model.get_layer("only")._kernel, kt.get_mask(model)["only/kernel"]
    kernel.assign(np.full((6, 5), 2.0))  # pruned ones too, as Muon leaves them before the constraint
    optimizers.SGD(0.1).apply([ops.zeros(v.shape) for v in model.trainable_variables], model.trainable_variables)
    expected = np.where(mask, 1 / np.sqrt(mask.sum(0, keepdims=True)), 0)
    np.testing.assert_allclose(raw_params(model)["only/kernel"], expected, rtol=1e-5)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="a loop in TensorFlow")
@pytest.mark.parametrize("native", [False, True])
def test_a_loop_in_tensorflow(native):
    """Also with `tape.watched_variables()`, which are TensorFlow's own."""
    import tensorflow as tf

    model, optimizer = masked(), optimizers.SGD(0.1, momentum=0.9) if native else optimizers.Muon(0.01)
    x, y = nets.batch(model)
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            value = loss(y, model(x, training=True))
        weights = tape.watched_variables() if native else model.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(value, weights), weights, strict=True))

    for seed in range(3):
        kt.set_mask(model, nets.half_mask(model, seed))
        step()
        step()
        assert revived(model) == 0


@pytest.mark.skipif(BACKEND != "jax", reason="a loop in JAX")
@pytest.mark.parametrize("scan", [False, True])
def test_a_loop_in_jax(scan):
    """`stateless_apply`, compiled once, sees masks that are set later; what it returns is zero already."""
    import jax

    model, optimizer = masked(), optimizers.Muon(0.01)
    optimizer.build(model.trainable_variables)
    x, y = nets.batch(model)
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    traces = []

    def objective(weights, rest):
        traces.append(1)
        return loss(y, model.stateless_call(weights, rest, x, training=True)[0])

    def step(state, rest):
        weights, slots = state
        return optimizer.stateless_apply(slots, jax.grad(objective)(weights, rest), weights)

    def steps(state, rest):
        return jax.lax.scan(lambda state, _: (step(state, rest), None), state, length=3)[0]

    run = jax.jit(steps if scan else step, donate_argnums=0)
    for seed in range(3):
        kt.set_mask(model, nets.half_mask(model, seed))
        start = [v.value + 0 for v in model.trainable_variables], [v.value + 0 for v in optimizer.variables]
        weights, slots = run(start, [v.value for v in model.non_trainable_variables])
        for pairs in (
            zip(model.trainable_variables, weights, strict=True),
            zip(optimizer.variables, slots, strict=True),
        ):
            for variable, value in pairs:
                variable.assign(value)
        assert revived(model) == 0
    assert len(traces) <= 2


@pytest.mark.skipif(BACKEND != "torch", reason="torch's own optimizers")
@pytest.mark.parametrize("kind", ["SGD", "AdamW", "Adam"])
def test_optimizers_of_torch_leave_zeros(kind):
    """Stale momentum would revive weights that a later mask prunes."""
    import torch

    model = masked()
    options = {"lr": 0.1, "weight_decay": 0.1} | ({"momentum": 0.9} if kind == "SGD" else {})
    optimizer = getattr(torch.optim, kind)(model.parameters(), **options)
    x, y = (torch.tensor(a) for a in nets.batch(model))
    for seed in range(3):
        kt.set_mask(model, nets.half_mask(model, seed))
        for _ in range(2):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(x, training=True), y).backward()
            optimizer.step()
            assert revived(model) == 0


class Own(keras.Model):
    """Two layers, each with an optimizer of its own, held where `where` says."""

    def __init__(self, where: str = "attributes"):
        super().__init__(name="own")
        self.a, self.b, self.where = layers.Dense(8, activation="relu", name="a"), layers.Dense(5, name="b"), where

    def call(self, x):
        return self.b(self.a(x))

    def compile(self, first, second):
        super().compile()
        if self.where == "attributes":
            self.first, self.second = first, second
        elif self.where == "list":
            self.both = [first, second]
        else:
            self.both = {"first": first, "inner": (second,)}
        self.pairs = lambda: ((first, self.a), (second, self.b))

    def train_step(self, data):
        for optimizer, part in self.pairs():  # what gradients are is of no concern here
            weights = part.trainable_variables
            optimizer.apply([ops.ones(v.shape) for v in weights], weights)
        return {"loss": ops.mean(self(data[0]))}


def own(where: str = "attributes") -> keras.Model:
    model = Own(where)
    model(np.zeros((1, 6), "float32"))
    model = kt.masked(model)
    model.compile(optimizers.Adam(0.01), optimizers.SGD(0.1, momentum=0.9))
    return model


@pytest.mark.parametrize("where", ["attributes", "list", "dict"])
def test_all_optimizers_that_a_model_holds_are_found_and_masked(where):
    model = own(where)
    x = np.ones((2, 6), "float32")
    model.train_step((x, x))
    kt.set_mask(model, nets.half_mask(model))
    state = optimizer_state.get_state(model)
    names = {"attributes": ("first", "second"), "list": ("both.0", "both.1"), "dict": ("both.first", "both.inner.0")}
    for name, path in zip(names[where], ("a/kernel", "b/kernel"), strict=True):
        slot, kept = state[f"{name}!{path}:momentum"], kt.get_mask(model)[path]
        assert slot[kept].all()
        assert not slot[~kept].any()
        assert state[f"{name}!iteration"] == 1
    model.train_step((x, x))
    assert revived(model) == 0


@pytest.mark.skipif(BACKEND == "jax", reason="on JAX, fit trains by the compiled optimizer alone")
@pytest.mark.parametrize("rewind_epoch", [0, 1])
def test_all_optimizers_of_a_model_are_rewound_and_verified(rewind_epoch):
    model = own()
    imp = kt.callbacks.IterativeMagnitudePruning(
        rounds=2, fraction=0.5, epochs_per_round=2, rewind_epoch=rewind_epoch, scope="layer"
    )
    x = np.ones((8, 6), "float32")
    model.fit(x, x, batch_size=4, epochs=imp.total_epochs, callbacks=[imp], verbose=0)
    ticket = imp.tickets[-1]
    ticket.verify(model)
    assert int(model.first.iterations) == int(model.second.iterations) == 2 * rewind_epoch
    model.second.iterations.assign(7)
    with pytest.raises(ValueError, match="optimizer's 'second!iteration'"):
        ticket.verify(model)
    again = own()
    ticket.apply(again)
    ticket.verify(again)
    if rewind_epoch:
        np.testing.assert_array_equal(again.second.variables[2].numpy(), ticket.optimizer["second!b/kernel:momentum"])


def test_slots_that_begin_as_copies_of_the_weights_are_rewound_with_them():
    model = compiled(masked(), optimizers.ScheduleFreeAdamW(0.01))
    imp = kt.callbacks.IterativeMagnitudePruning(rounds=1, fraction=0.5, epochs_per_round=1)
    x, y = nets.batch(model, 8)
    model.fit(x, y, epochs=1, callbacks=[imp], verbose=0)
    imp.tickets[-1].verify(model)
    slot = optimizer_state.get_state(model)["hidden/kernel:momentum"]
    np.testing.assert_array_equal(slot, imp.tickets[-1].params["hidden/kernel"])


def test_optimizers_that_cannot_be_rewound_are_refused_before_training():
    model = own()
    model.foreign = [type("Descent", (), {"param_groups": [], "zero_grad": None, "state_dict": None})()]
    with pytest.raises(ValueError, match=r"'foreign.0' of type Descent.*keep it outside"):
        kt.set_mask(model, kt.get_mask(model))
    multi = compiled(masked(), optimizers.MultiOptimizer(_sgd))
    imp = kt.callbacks.IterativeMagnitudePruning(rounds=1, epochs_per_round=1)
    with pytest.raises(ValueError, match="MultiOptimizer, which cannot.*OptimizerMap"):
        multi.fit(*nets.batch(multi, 8), epochs=1, callbacks=[imp], verbose=0)


def test_a_wrapper_that_keeps_its_layers_kernel_leaves_it_dense():
    class WeightNormalization(layers.Wrapper):
        def build(self, input_shape):
            self.layer.build(input_shape)
            self.kernel = self.layer.kernel
            self.built = True

        def call(self, x):
            self.kernel.assign(self.kernel / ops.norm(self.kernel, axis=0))
            return self.layer(x)

    inputs = keras.Input((6,))
    x = WeightNormalization(layers.Dense(4, name="inside"), name="normalized")(inputs)
    model = keras.Model(inputs, layers.Dense(5, name="classifier")(x), name="net")
    with pytest.warns(UserWarning, match="stay dense.*normalized/inside/kernel"):
        assert list(kt.get_mask(kt.masked(outer_of(model)))) == ["net/classifier/kernel"]


def outer_of(model: keras.Model) -> keras.Model:
    """The model inside a subclassed one, which is masked in place."""

    class Outer(keras.Model):
        def __init__(self):
            super().__init__(name="outer")
            self.inner = model

        def call(self, x):
            return self.inner(x)

    outer = Outer()
    outer(np.zeros((1, 6), "float32"))
    return outer


def test_a_kernel_that_is_not_its_variable_is_refused():
    class Standardized(layers.Dense):
        @property
        def kernel(self):
            return (self._kernel - ops.mean(self._kernel, axis=0)) * 2

    class MaskedStandardized(kt.layers.Masked, Standardized):
        pass

    with pytest.raises(ValueError, match="whose 'kernel' is its variable.*'ws'"):
        MaskedStandardized(4, name="ws").build((None, 6))


def test_a_masked_kernel_cannot_be_replaced():
    model = kt.masked(nets.mlp())
    with pytest.raises(AttributeError, match=r"cannot be set.*keep_dense='\*hidden'"):
        model.get_layer("hidden").kernel = 1


@pytest.mark.parametrize("copied", [duplicate, copy.deepcopy])
def test_a_copy_is_held_to_its_own_mask(copied):
    """Steps must read the copy's mask, which is set later, and not the original's."""
    model = masked()
    params, half = kt.get_params(model), nets.half_mask(model)
    other = {path: ~kept for path, kept in half.items()}
    kt.set_mask(model, half)
    twin = copied(model)
    kt.set_params(model, params, other)
    for net, mask in ((twin, half), (model, other)):
        in_torch(net) if BACKEND == "torch" else fit(compiled(net, optimizers.Muon(0.01)))
        raw = raw_params(net)
        assert revived(net) == 0
        assert {path: np.count_nonzero(raw[path]) for path in mask} == {p: kept.sum() for p, kept in mask.items()}


def in_torch(model: keras.Model) -> None:
    """Two steps of a torch optimizer that moves every weight, also those without gradients."""
    import torch

    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, weight_decay=0.1)
    for variable in model.trainable_variables:
        variable.value.grad = torch.ones_like(variable.value)
    optimizer.step(), optimizer.step()
