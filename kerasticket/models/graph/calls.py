"""Walking the graph of a model, call by call and into nested models, with whatever value each tensor is to have."""

from collections.abc import Callable
from typing import Any

import keras

from kerasticket.backend import keras_internals
from kerasticket.models.paths import has_own_call, is_functional

Shape = tuple[Any, ...]  # sides without the batch; None where not known
# Gives the values of a call's outputs. It takes Keras' record of the call (`.operation`, `.input_tensors`,
# `.output_tensors`), and the values of its inputs.
Visit = Callable[[Any, list[Any]], list[Any]]


def check_graph(model: keras.Model) -> None:
    """Raises ValueError unless the model is built and does what its graph says."""
    if not isinstance(model, keras.Model) or not model.built or not has_graph(model):
        own = ", with a `call` of its own" if has_own_call(model) else ""
        raise ValueError(
            "Expected a built Sequential or functional model, which has a graph of layers. "
            f"Received: {type(model).__name__} {getattr(model, 'name', model)!r}{own}."
        )


def through(model: keras.Model, values: list[Any], visit: Visit, enter: Callable[[list[Any]], None] | None = None):
    """The values of a model's outputs, given those of its inputs.

    Args:
        visit: called for each call of a layer, and of models that have no graph.
        enter: called with the values of the inputs of each nested model.
    """
    known = {id(tensor): value for tensor, value in zip(model.inputs, values, strict=True)}
    for call in keras_internals.calls(model):
        inputs = [known[id(tensor)] for tensor in call.input_tensors]
        if has_graph(call.operation):
            if enter:
                enter(inputs)
            outputs = through(call.operation, inputs, visit, enter)
        else:
            outputs = visit(call, inputs)
        known |= {id(tensor): value for tensor, value in zip(call.output_tensors, outputs, strict=True)}
    return [known[id(tensor)] for tensor in model.outputs]


def has_graph(layer: Any) -> bool:
    """True for Sequential and functional models without a `call` of their own, and for nothing else."""
    return is_functional(layer) and not has_own_call(layer) and bool(getattr(layer, "inputs", None))


def shapes(tensors: list[Any]) -> list[Shape]:
    """Sides of each tensor without the batch; None where not known."""
    return [tuple(tensor.shape[1:]) for tensor in tensors]
