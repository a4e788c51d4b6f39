"""Every use of what is private in Keras, and why: no other file of the package knows a name of Keras with `_`.

Written for Keras 3.15. `tests/backend/test_keras_internals.py` checks each function against what Keras shows in public,
so that a new version that moves something fails there by name.
"""

import collections
import contextlib
import functools
import importlib
from collections.abc import Callable, Iterable, Iterator, Set
from typing import Any

import keras

# Layers and their parts


def all_layers(model: keras.Layer) -> list[keras.Layer]:
    """A model or layer itself and every layer in it, at any depth; Keras has no other walk that enters all layers."""
    return model._flatten_layers()


def sublayers(layer: keras.Layer, *, recursive: bool = True) -> list[keras.Layer]:
    """The layers in a layer, at any depth or its own alone. `Model.layers` is only of models, and only that deep."""
    return layer._flatten_layers(include_self=False, recursive=recursive)


def variable_of(layer: keras.Layer, weight: str) -> keras.Variable:
    """The variable behind an attribute such as `kernel`: of many layers a property, of masked ones a tensor."""
    held = vars(layer)
    return held[f"_{weight}"] if f"_{weight}" in held else held[weight]


def projections(attention: keras.layers.MultiHeadAttention) -> dict[str, keras.layers.EinsumDense]:
    """The layers that make query, key, value and output of attention. Keras shows them only in a list."""
    return {name: getattr(attention, f"_{name}_dense") for name in ("query", "key", "value", "output")}


def attention_axes(attention: keras.layers.MultiHeadAttention) -> tuple[int, ...] | None:
    """The axes that attention runs over; None before it is built. The config has what was passed, not what follows."""
    return attention._attention_axes


def takes_training(model: keras.Layer) -> bool:
    """Whether `call` takes `training`; `stateless_call` hands it on and fails where it does not."""
    return getattr(model, "_call_has_training_arg", True)


def note_call(layer: keras.Layer, signature: Any) -> None:
    """Tells Keras the signature of `call`, which it notes when a layer is made, of a layer of another class by now.

    Without it, `training` that a functional model passes is dropped, or a layer that is called without it does not get
    that of the model around.
    """
    trains = "training" in signature.parameters
    vars(layer)["_call_signature"] = signature
    vars(layer)["_call_has_training_arg"] = vars(layer)["_call_has_context_arg"]["training"] = trains


class Hooked:
    """Mixin that goes before a Keras layer and hears what Keras tells nobody.

    Keras wraps `build` and `quantize` per instance, so a layer whose class is exchanged keeps the old ones; these hooks
    are looked up in the class all the same.
    """

    def after_build(self) -> None:
        """Called when `build` is done and weights may still be added."""

    def before_quantization(self) -> None:
        """Called before weights are quantized; may raise."""

    def _post_build(self) -> None:
        self.after_build()
        super()._post_build()  # type: ignore[misc]

    def _check_quantize_args(self, mode, compute_dtype) -> None:
        self.before_quantization()
        super()._check_quantize_args(mode, compute_dtype)  # type: ignore[misc]


@contextlib.contextmanager
def unlocked(layer: keras.Layer) -> Iterator[None]:
    """Lets weights be added to a built layer, which Keras allows in `build` alone."""
    layer._tracker.unlock()
    try:
        yield
    finally:
        layer._lock_state()


def remove_variable(layer: keras.Layer, name: str) -> None:
    """Takes the variable in an attribute away from a built layer, for which Keras has no way."""
    layer._untrack_variable(vars(layer)[name])
    super(keras.Layer, layer).__delattr__(name)  # Keras' own collects garbage for each layer


@contextlib.contextmanager
def hidden(layer: keras.Layer, variables: Iterable[keras.Variable]) -> Iterator[None]:
    """Leaves non-trainable variables out of what Keras reads and writes of a layer."""
    before, left_out = layer._non_trainable_variables, {id(variable) for variable in variables}
    vars(layer)["_non_trainable_variables"] = [one for one in before if id(one) not in left_out]
    try:
        yield
    finally:
        vars(layer)["_non_trainable_variables"] = before


def list_variables_again(layer: keras.Layer) -> None:
    """On torch, Keras lists the variables of a layer once, for `state_dict`, `parameters` and `to`: does so anew."""
    for holder in (layer, getattr(layer, "_functional", None)):
        if holder is not None and hasattr(holder, "_torch_params"):
            holder._track_variables()


def policy_changes(layer: keras.Layer, policy: keras.DTypePolicy) -> list[tuple[Any, str, Any]]:
    """(object, attribute, value) that make a layer compute by another dtype policy.

    The setter of `dtype_policy` would write into a DTypePolicyMap that layers share. And a nested model would cast what
    enters it to the dtype that it was made for.
    """
    casts = [(layer, "_convert_inputs_to_tensors", lambda inputs: inputs)]
    return [(layer, "_dtype_policy", policy), *(casts if hasattr(layer, "_convert_inputs_to_tensors") else [])]


# Flags of layers that no config tells, and no file either.
FLAGS = ("_trainable", "_remat_mode", "_supports_masking", "autocast")


@functools.cache
def usual_attributes() -> frozenset[str]:
    """Names of the attributes that Keras itself puts on layers and models."""
    layer = keras.layers.Dense(1)
    sequential = keras.Sequential([keras.Input((1,)), layer])
    functional = keras.Model(sequential.inputs, sequential.outputs)
    of_dense = {"units", "activation", "use_bias", "_kernel", "bias"}
    return frozenset(name for one in (layer, sequential, functional) for name in vars(one) if name not in of_dense)


def attributes_of(layer: keras.Layer) -> dict[str, Any]:
    """Those of the object itself; on torch a layer is a module, which keeps layers among them apart."""
    modules = vars(layer).get("_modules", {})
    return vars(layer) | {name: one for name, one in modules.items() if isinstance(one, keras.Layer)}


def remat_mode(*arguments: Any) -> Any:
    """What a layer notes of a `keras.RematScope` with these arguments; Keras has no constructor for it."""
    with keras.RematScope(*arguments):
        return keras.Layer()._remat_mode


# Variables


def has_value(variable: Any) -> bool:
    """False while `fit` on JAX holds the value itself, within an epoch; `value` would then make an initial one."""
    return getattr(variable, "_value", None) is not None


def value_or_none(variable: keras.Variable) -> Any:
    """The tensor of a variable, None while it has none."""
    return variable._value


class Watched(keras.Variable):
    """A variable that hears of every assignment, whoever makes it; all of Keras' ways end in one private method."""

    def assigned(self) -> None:
        """Called after each."""

    def _direct_assign(self, value) -> None:
        super()._direct_assign(value)
        self.assigned()


@contextlib.contextmanager
def names_from_the_start() -> Iterator[None]:
    """Automatic names ("dense_3") count from nothing inside, as in a new process, and go on as before after it."""
    state = importlib.import_module("keras.src.backend.common.global_state")
    before = state.get_global_attribute("object_name_uids")
    state.set_global_attribute("object_name_uids", collections.defaultdict(int))
    try:
        yield
    finally:
        state.set_global_attribute("object_name_uids", before)


def lay_as(variable: keras.Variable, other: keras.Variable) -> None:
    """On JAX, puts a variable on the devices where another one of its shape lies, which `keras.distribution` chose."""
    layout = getattr(other, "_layout", None)
    if layout is not None:
        variable._layout = layout
        variable._direct_assign(variable._value)


def set_constraint(variable: keras.Variable, constraint: Callable | None) -> None:
    """Sets what Keras optimizers apply after each step, also where they are given TensorFlow's own variable."""
    variable.constraint = constraint
    if keras.config.backend() == "tensorflow" and hasattr(variable.value, "_constraint"):
        variable.value._constraint = constraint


# Calls of layers and what tensors remember


def calls(model: keras.Model) -> list[Any]:
    """The record of each call (`.operation`, `.arguments`, `.input_tensors`, `.output_tensors`), those of inputs first.

    The one order of calls that Keras has; a Function shows the graph of Sequential models too.
    """
    depths = keras.Function(model.inputs, model.outputs)._nodes_by_depth
    return [node for depth in sorted(depths, reverse=True) for node in depths[depth] if not node.is_input]


def last_call(operation: keras.Operation) -> Any:
    """The record of the last call; an operation of `keras.ops` in a graph has one alone."""
    return operation._inbound_nodes[-1]


def maker_of(tensor: Any) -> keras.Operation | None:
    """The layer or operation that made a tensor of a graph; None for other tensors."""
    return getattr(getattr(tensor, "_keras_history", None), "operation", None)


def is_keras_operation(operation: Any) -> bool:
    """Whether a call is one of `keras.ops` or `keras.activations`. Keras does not publish these classes."""
    return type(operation).__module__.startswith(("keras.src.ops.", "keras.src.activations."))


def has_mask(tensor: Any) -> bool:
    """Whether a tensor of a graph comes with a mask of steps in time."""
    return getattr(tensor, "_keras_mask", None) is not None


def keras_mask(outputs):
    """The mask of padded steps that layers hand on with their outputs, such as `Embedding(mask_zero=True)`; or None.

    JAX's tensors take no attributes, and Keras keeps their masks elsewhere: only its own function finds them.
    """
    return importlib.import_module("keras.src.backend").get_keras_mask(outputs)


def has_logits_behind(outputs) -> bool:
    """Whether Keras' cross-entropies look not at these outputs but at the logits behind their softmax or sigmoid.

    They do on TensorFlow, where nothing is clipped then.
    """
    return keras.config.backend() == "tensorflow" and hasattr(outputs, "_keras_logits")


@contextlib.contextmanager
def float64_kept() -> Iterator[None]:
    """Keras' operations keep float64, which on JAX and torch they turn into float32; it has no other switch."""
    table = importlib.import_module("keras.src.backend.common.dtypes").BIT64_TO_BIT32_DTYPE
    before = table["float64"]
    table["float64"] = "float64"
    try:
        yield
    finally:
        table["float64"] = before


# Optimizers, compiling, callbacks


def own_iterations(optimizer: keras.optimizers.Optimizer) -> keras.Variable:
    """The count of an optimizer's own steps; `iterations` of one that scales losses is that of the one within."""
    return optimizer._iterations


def trained_variables(optimizer: keras.optimizers.Optimizer) -> list[keras.Variable]:
    """What an optimizer was built with; public is only what it keeps beside them."""
    return list(optimizer._trainable_variables)


def decays(optimizer: keras.optimizers.Optimizer, variable: keras.Variable) -> bool:
    """Whether `exclude_from_weight_decay` leaves a variable in."""
    return optimizer._use_weight_decay(variable)


def place_of(optimizer: keras.optimizers.Optimizer, variable: keras.Variable) -> int:
    """The place of a variable among those that an optimizer was built with."""
    return optimizer._get_variable_index(variable)


def second_moments(adafactor: keras.optimizers.Adafactor) -> list[keras.Variable]:
    """Adafactor's whole second moments, which are the products of those of rows and columns."""
    return getattr(adafactor, "_v", [])


def forget_compilation(model: keras.Model) -> None:
    """Takes away optimizer, loss and traced functions; Keras compiles a model anew but never back."""
    model.compiled, model._compile_config = False, None
    if hasattr(model, "optimizer"):
        del model.optimizer  # Keras' writer of .h5 files asks for the attribute, not what it is
    model.train_function = model.test_function = model.predict_function = None


# What `set_model` and `set_params` leave on a callback.
LIVE_ATTRIBUTES = ("_model", "params")


def model_of(attributes: dict[str, Any]) -> keras.Model | None:
    """The model among the attributes of a callback. Its property of that name raises where there is none."""
    return attributes.get("_model")


# What a copy of a model, object by object, has to leave behind or connect again

# What `compile` and `fit` leave on a model, and what it is before: the copy may get another optimizer.
_UNCOMPILED: dict[str, Any] = {
    **dict.fromkeys(("loss", "_compile_loss", "_compile_metrics", "_compile_config", "_loss_tracker")),
    **dict.fromkeys(("train_function", "test_function", "predict_function", "_jit_compile")),
    "compiled": False,
    "_run_eagerly": False,
    "_jax_state_synced": True,
    "steps_per_execution": 1,
}
_ONLY_COMPILED = {"optimizer", "history", "_compiled_trainable_state", "_jax_state", "_distribute_reduction_method"}
_CALLS = ("_inbound_nodes", "_outbound_nodes")


def attributes_to_copy(value: Any) -> dict[str, Any]:
    """The attributes of an object without what `compile` and `fit` left on a model, and without records of calls.

    The calls of an operation may be those of other models as well, which would come along: see `copy_calls`.
    """
    attributes = dict(vars(value))
    if isinstance(value, keras.Model):
        attributes = {name: x for name, x in attributes.items() if name not in _ONLY_COMPILED}
        attributes |= {name: x for name, x in _UNCOMPILED.items() if name in attributes}
        attributes |= _tracked_without(attributes, _UNCOMPILED.keys() | _ONLY_COMPILED)
    if isinstance(value, keras.Operation):
        attributes |= {name: _emptied(attributes[name]) for name in _CALLS if name in attributes}
    return attributes


def _tracked_without(attributes: dict[str, Any], names: Set[str]) -> dict[str, Any]:
    """TensorFlow's list of what a checkpoint holds, without these attributes."""
    known, listed = "_self_unconditional_dependency_names", "_self_unconditional_checkpoint_dependencies"
    if known not in attributes:
        return {}
    kept = {name: one for name, one in attributes[known].items() if name not in names}
    return {known: kept, listed: [one for one in attributes[listed] if one.name not in names]}


def _emptied(nodes: list) -> list:
    """An empty list of the same kind, with the attributes that lists of Keras and TensorFlow have."""
    empty = list.__new__(type(nodes))
    if hasattr(nodes, "__dict__"):
        vars(empty).update(vars(nodes) | ({"_storage": []} if hasattr(nodes, "_storage") else {}))
    return empty


def graph_calls(function: keras.Function) -> list[Any]:
    """The records of calls that make up a graph, those of inputs among them, in no order."""
    return [node for nodes in function._nodes_by_depth.values() for node in nodes]


def copy_calls(operation: keras.Operation, twin: keras.Operation, copied: Callable[[Any], Any], ours: Set[int]) -> None:
    """Gives the copy of an operation copies of its calls, of those whose ids are `ours`, in their order."""
    for name in _CALLS if hasattr(operation, _CALLS[0]) else ():
        getattr(twin, name).extend([copied(node) for node in getattr(operation, name) if id(node) in ours])


def number_call(call: Any) -> None:
    """Tells the tensors that a copied call makes which call of its operation this is by now."""
    place = call.operation._inbound_nodes.index(call)
    for number, tensor in enumerate(call.outputs):
        if hasattr(tensor, "_keras_history"):
            tensor._keras_history = type(tensor._keras_history)(call.operation, place, number)


def number_graph(function: keras.Function) -> None:
    """Tells a copied graph the keys of its calls, which have the ids of its operations in them."""
    function._nodes = {
        f"{id(node.operation)}_ib-{node.operation._inbound_nodes.index(node)}" for node in graph_calls(function)
    }


def copy_tracked_ids(value: Any, twin: Any, new_id: Callable[[int], int | None]) -> None:
    """Tells a copied tracker, in which a layer notes what it holds by id, the ids of the copies; others are no tracker.

    Args:
        new_id: the id of the copy, None where there is none.
    """
    if type(value).__name__ == "Tracker" and hasattr(value, "stored_ids"):
        found = {name: map(new_id, ids) for name, ids in value.stored_ids.items()}
        twin.stored_ids = {name: {one for one in ids if one is not None} for name, ids in found.items()}


def clear_losses(layer: keras.Layer) -> None:
    """Forgets the losses that `add_loss` noted in the last call, in which there may be tensors of a trace."""
    layer._losses.clear()
    layer._loss_ids.clear()
