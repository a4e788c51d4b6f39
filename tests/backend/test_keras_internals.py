"""Each use of private Keras against what Keras shows in public."""

import contextlib
import inspect

import keras
import nets
import numpy as np
import pytest
from keras import layers, ops

from kerasticket.backend import keras_internals as internals

BACKEND = keras.config.backend()


def two_steps() -> keras.Model:
    """x -> Dense -> x + 1, with a nested model and its layer."""
    inputs = keras.Input((3,), name="inputs")
    nested = keras.Sequential([keras.Input((3,)), layers.Dense(3, name="inner")], name="nested")
    return keras.Model(inputs, nested(layers.Dense(3, name="first")(inputs)) + 1.0, name="outer")


def names(found) -> set[str]:
    return {one.name for one in found if not isinstance(one, layers.InputLayer) and isinstance(one, keras.Layer)}


def test_layers_at_any_depth():
    model = two_steps()
    assert names(internals.all_layers(model)) == {"outer", "first", "nested", "inner"}
    assert names(internals.sublayers(model)) == {"first", "nested", "inner"}
    assert names(internals.sublayers(model, recursive=False)) == names(model.layers)
    assert names(internals.sublayers(layers.LSTM(2, name="steps"))) == {"lstm_cell"}


def test_the_variable_behind_an_attribute():
    for layer, name in ((layers.Dense(2), "kernel"), (layers.DepthwiseConv2D(2), "kernel"), (layers.Dense(2), "bias")):
        layer.build((1, 4, 4, 3) if isinstance(layer, layers.DepthwiseConv2D) else (1, 3))
        variable = internals.variable_of(layer, name)
        assert variable is next(one for one in layer.variables if one.name == name)


def test_projections_of_attention_and_its_axes():
    layer = layers.MultiHeadAttention(2, 4)
    assert internals.attention_axes(layer) is None
    x = keras.Input((5, 6))
    layer(x, x)
    assert internals.attention_axes(layer) == (1,)
    assert {name: one.kernel.shape[:2] for name, one in internals.projections(layer).items()} == {
        **dict.fromkeys(("query", "key", "value"), (6, 2)),
        "output": (2, 4),
    }


class Trains(layers.Layer):
    def call(self, x, training=None):
        return x * 2 if training else x


class Plain(layers.Layer):
    def call(self, x):
        return x


def test_whether_a_call_takes_training():
    assert internals.takes_training(Trains())
    assert internals.takes_training(two_steps())
    assert not internals.takes_training(Plain())


def test_a_layer_of_another_class_is_told_that_it_trains():
    inputs, layer = keras.Input((1,)), Plain()
    model = keras.Model(inputs, layer(inputs))
    object.__setattr__(layer, "__class__", Trains)
    internals.note_call(layer, inspect.signature(layer.call))
    assert internals.takes_training(layer)
    outputs = [float(ops.sum(model(np.ones((1, 1), "float32"), training=training))) for training in (False, True)]
    assert outputs == [1, 2]


def test_hooks_are_called_when_a_layer_is_built_and_quantized():
    class Hearing(internals.Hooked, layers.Dense):
        heard = ()

        def after_build(self):
            self.heard = (*self.heard, "built", tuple(self.kernel.shape))
            self.extra = self.add_weight(name="extra", shape=(1,))

        def before_quantization(self):
            raise ValueError("heard")

    layer = Hearing(2)
    layer.build((None, 3))
    assert layer.heard == ("built", (3, 2))
    assert "extra" in {one.name for one in layer.weights}
    with pytest.raises(ValueError, match="heard"):
        layer.quantize("int8")


def test_weights_come_and_go_on_a_built_layer():
    layer = layers.Dense(2)
    layer.build((None, 3))
    with pytest.raises(ValueError, match="add"):
        layer.add_weight(name="late", shape=(1,))
    with internals.unlocked(layer):
        layer.late = layer.add_weight(name="late", shape=(1,), trainable=False)
    assert [one.name for one in layer.weights] == ["kernel", "bias", "late"]
    with internals.hidden(layer, [layer.late]):
        assert [one.name for one in layer.weights] == ["kernel", "bias"]
    assert [one.name for one in layer.non_trainable_weights] == ["late"]
    internals.remove_variable(layer, "late")
    internals.list_variables_again(layer)
    assert [one.name for one in layer.weights] == ["kernel", "bias"]
    assert not hasattr(layer, "late")
    with pytest.raises(ValueError, match="add"):
        layer.add_weight(name="later", shape=(1,))
    if BACKEND == "torch":
        assert len(list(layer.parameters())) == 2


def test_a_layer_computes_by_another_policy():
    model = two_steps()
    policy = keras.DTypePolicy("mixed_bfloat16")
    for layer in internals.all_layers(model):
        for one, name, value in internals.policy_changes(layer, policy) if isinstance(layer, keras.Layer) else ():
            object.__setattr__(one, name, value)
    assert model.get_layer("first").compute_dtype == "bfloat16"
    outputs = model.get_layer("first")(np.ones((1, 3), "float32"))
    assert keras.backend.standardize_dtype(outputs.dtype) == "bfloat16"
    assert model(np.ones((1, 3), "float32")).shape == (1, 3)


def test_flags_and_usual_attributes_are_those_of_every_layer():
    layer = layers.Dense(2)
    assert set(internals.FLAGS) <= set(vars(layer))
    layer.trainable = layer.supports_masking = False
    assert [vars(layer)[name] for name in internals.FLAGS if name in ("_trainable", "_supports_masking")] == [False] * 2
    layer.mine = 3
    assert "mine" not in internals.usual_attributes()
    assert "built" in internals.usual_attributes()
    assert "units" not in internals.usual_attributes()


def test_attributes_are_all_there_on_every_backend():
    layer = layers.TimeDistributed(layers.Dense(2))
    layer.mine, layer.other = 3, layers.ReLU()
    found = internals.attributes_of(layer)
    assert (found["mine"], found["other"], found["layer"]) == (3, layer.other, layer.layer)


def test_a_remat_mode_is_what_the_scope_gives():
    mode = internals.remat_mode("larger_than", 100)
    assert (mode.mode, mode.output_size_threshold) == ("larger_than", 100)


def test_values_of_variables():
    variable = keras.Variable(np.ones(2, "float32"))
    assert internals.has_value(variable)
    assert not internals.has_value(object())
    np.testing.assert_array_equal(ops.convert_to_numpy(internals.value_or_none(variable)), np.ones(2))


def test_a_watched_variable_hears_of_every_assignment():
    class Counting(internals.Watched):
        count = 0

        def assigned(self):
            self.count += 1

    variable = Counting(np.zeros(2, "float32"), name="counted")
    before = variable.count
    variable.assign(np.ones(2))
    variable.assign_add(np.ones(2))
    assert variable.count == before + 2
    np.testing.assert_array_equal(ops.convert_to_numpy(variable), [2, 2])


def test_a_variable_lies_where_another_does():
    """On one device there is nothing to see but that values stay; two are in end_to_end/test_data_parallel.py."""
    scope = keras.distribution.DataParallel(devices=["cpu:0"]).scope if BACKEND == "jax" else contextlib.nullcontext
    with scope():
        there = keras.Variable([1.0, 2.0])
    variable = keras.Variable([3.0, 4.0])
    internals.lay_as(variable, there)
    np.testing.assert_array_equal(variable.numpy() if BACKEND != "torch" else variable.value.detach(), [3, 4])
    if BACKEND == "jax":
        assert variable.value.sharding == there.value.sharding


def test_a_constraint_set_later_is_applied_by_a_step():
    model = nets.compile_for_test(nets.mlp())
    kernel = model.layers[0].kernel
    internals.set_constraint(kernel, lambda value: value * 0)
    assert callable(kernel.constraint)
    model.train_on_batch(*nets.batch(model))
    assert not np.any(ops.convert_to_numpy(kernel))


def test_calls_are_in_order_and_know_their_tensors():
    model = two_steps()
    first, nested, added = internals.calls(model)
    assert (first.operation, nested.operation) == (model.get_layer("first"), model.get_layer("nested"))
    assert first.input_tensors[0] is model.inputs[0]
    assert added.output_tensors[0] is model.outputs[0]
    assert nested.arguments.args[0] is first.output_tensors[0]
    assert internals.last_call(first.operation).output_tensors[0] is first.output_tensors[0]
    assert internals.maker_of(model.outputs[0]) is added.operation
    assert internals.maker_of(np.ones(1)) is None
    assert [internals.is_keras_operation(call.operation) for call in (first, nested, added)] == [False, False, True]
    assert [call.operation.name for call in internals.calls(nets.mlp())] == ["hidden", "classifier"]
    assert len([call for call in internals.graph_calls(model) if not call.is_input]) == 3


def test_masks_of_steps_are_seen():
    embedding = layers.Embedding(3, 2, mask_zero=True)
    assert internals.has_mask(embedding(keras.Input((4,))))
    assert not internals.has_mask(layers.Dense(2)(keras.Input((4,))))
    steps = np.array([[1, 2, 0]])
    np.testing.assert_array_equal(ops.convert_to_numpy(internals.keras_mask(embedding(steps))), steps != 0)
    assert internals.keras_mask(ops.ones(2)) is None


def test_logits_behind_a_softmax_are_seen_on_tensorflow():
    outputs = layers.Dense(2, activation="softmax")(np.ones((1, 2), "float32"))
    assert internals.has_logits_behind(outputs) == (BACKEND == "tensorflow")
    assert not internals.has_logits_behind(ops.ones((1, 2)))


def test_float64_is_kept_and_put_back():
    before = keras.backend.result_type("float64", "float32")
    with internals.float64_kept():
        assert keras.backend.result_type("float64", "float32") == "float64"
    assert keras.backend.result_type("float64", "float32") == before


def test_what_an_optimizer_knows_of_its_variables():
    variables = [keras.Variable(np.ones(2, "float32"), name=name) for name in ("weight", "bias")]
    optimizer = keras.optimizers.AdamW(0.1)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    optimizer.build(variables)
    assert [internals.place_of(optimizer, variable) for variable in variables] == [0, 1]
    assert [internals.decays(optimizer, variable) for variable in variables] == [True, False]
    assert [one.name for one in internals.trained_variables(optimizer)] == ["weight", "bias"]
    assert internals.own_iterations(optimizer) is optimizer.iterations
    scaled = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD())
    scaled.build(variables)
    assert internals.own_iterations(scaled) in scaled.variables


def test_second_moments_of_adafactor():
    optimizer = keras.optimizers.Adafactor(0.1)
    assert list(internals.second_moments(optimizer)) == []
    kernel, bias = keras.Variable(np.ones((2, 3), "float32")), keras.Variable(np.ones(3, "float32"))
    optimizer.build([kernel, bias])
    assert [tuple(one.shape) for one in internals.second_moments(optimizer)] == [(2, 3), (3,)]


def test_a_model_forgets_how_it_was_compiled():
    model = nets.compile_for_test(nets.mlp())
    model.train_on_batch(*nets.batch(model))
    internals.forget_compilation(model)
    assert not model.compiled
    assert not hasattr(model, "optimizer")
    assert model.train_function is None
    assert model.get_compile_config() in (None, {})
    nets.compile_for_test(model, "adam").train_on_batch(*nets.batch(model))


def test_what_a_training_leaves_on_a_callback():
    callback, model = keras.callbacks.Callback(), nets.mlp()
    assert internals.model_of({}) is None
    callback.set_model(model)
    callback.set_params({"epochs": 1})
    assert internals.model_of(vars(callback)) is callback.model is model
    assert set(internals.LIVE_ATTRIBUTES) <= set(vars(callback))


def _holds(items: list, one) -> bool:
    return any(item is one for item in items)


def test_a_copy_leaves_compilation_and_calls_behind():
    model = nets.compile_for_test(nets.mlp())
    model.fit(*nets.batch(model), verbose=0)
    found = internals.attributes_to_copy(model)
    assert not found["compiled"]
    assert not {"optimizer", "history"} & set(found)
    assert found.keys() >= {"name", "built"}
    layer = two_steps().get_layer("first")
    kept, all_of = internals.attributes_to_copy(layer), vars(layer)
    assert kept.keys() == all_of.keys()
    twin = layers.Dense(3)
    internals.copy_calls(layer, twin, lambda call: call, {id(internals.last_call(layer))})
    assert internals.last_call(twin) is internals.last_call(layer)
    of_calls = [
        name for name, one in all_of.items() if isinstance(one, list) and _holds(one, internals.last_call(layer))
    ]
    assert of_calls
    assert not any(kept[name] for name in of_calls)


def test_copied_calls_and_graphs_are_numbered():
    model = two_steps()
    for call in internals.calls(model):
        internals.number_call(call)
        assert internals.maker_of(call.output_tensors[0]) is call.operation
    internals.number_graph(model)
    assert model(np.ones((1, 3), "float32")).shape == (1, 3)
    assert keras.models.clone_model(model).count_params() == model.count_params()


def test_a_copied_tracker_has_the_ids_of_copies():
    class Tracker:
        stored_ids: dict

    old, new, other = Tracker(), Tracker(), object()
    old.stored_ids = {"layers": {1, 2}}
    internals.copy_tracked_ids(old, new, {1: 10}.get)
    assert new.stored_ids == {"layers": {10}}
    internals.copy_tracked_ids(other, new, {}.get)
    assert new.stored_ids == {"layers": {10}}
    twin = keras.models.clone_model(two_steps())  # Keras' own still has that name and attribute
    trackers = [one for one in vars(twin).values() if type(one).__name__ == "Tracker"]
    assert trackers
    assert all(hasattr(one, "stored_ids") for one in trackers)


def test_losses_of_the_last_call_are_forgotten():
    class Costly(layers.Layer):
        def call(self, x):
            self.add_loss(ops.sum(x))
            return x

    layer = Costly()
    layer(np.ones((1, 2), "float32"))
    assert len(layer.losses) == 1
    internals.clear_losses(layer)
    assert layer.losses == []


def test_automatic_names_begin_anew_inside_and_go_on_after():
    before = layers.Dense(1).name
    with internals.names_from_the_start():
        assert [layers.Dense(1).name, layers.Dense(1).name] == ["dense", "dense_1"]
    count = int(before.removeprefix("dense").removeprefix("_") or 0)
    assert layers.Dense(1).name == f"dense_{count + 1}"
