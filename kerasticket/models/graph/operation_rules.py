"""How operations of `keras.ops`, such as `a + b`, pass channels on: those that do what a Keras layer does."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers

from kerasticket.backend import keras_internals
from kerasticket.models.graph.channel_rules import RULES, Signal, Walk, refusal

OperationRule = Callable[[Walk, Any, list[Signal], tuple[Any, ...]], np.ndarray]


def operation_rule(call: Any) -> OperationRule | None:
    """The rule for a call of an operation that is no layer; None: there is none, or not for these arguments.

    An operation is known by its name alone, as Keras does not publish the classes.
    """
    operation = call.operation
    if isinstance(operation, keras.Layer) or not keras_internals.is_keras_operation(operation):
        return None
    rule = OPERATIONS.get(type(operation).__name__)
    return rule if rule and _only_scalars_beside_tensors(call) else None


def _only_scalars_beside_tensors(call: Any) -> bool:
    """False for arrays and variables among the arguments, which may hold one number per channel."""
    leaves = keras.tree.flatten((call.arguments.args, call.arguments.kwargs))
    others = [leaf for leaf in leaves if not isinstance(leaf, keras.KerasTensor)]
    return not any(isinstance(leaf, keras.Variable) or np.size(leaf) > 1 for leaf in others if hasattr(leaf, "shape"))


def _merged(walk: Walk, operation, inputs: list[Signal], shape) -> np.ndarray:
    """Of two tensors with as many axes, or a tensor and a number."""
    if len({len(signal.shape) for signal in inputs}) != 1:
        raise refusal(operation, "tensors with as many axes")
    return RULES[layers.Add](walk, operation, inputs, shape)


def _divided(walk: Walk, operation, inputs: list[Signal], shape) -> np.ndarray:
    divisor = keras_internals.last_call(operation).arguments.args[-1]
    if isinstance(divisor, keras.KerasTensor):
        raise refusal(operation, "a division by a number", " A channel that goes would be divided by 0.")
    return inputs[0].labels


def _concatenated(walk: Walk, operation, inputs: list[Signal], shape) -> np.ndarray:
    return RULES[layers.Concatenate](walk, operation, inputs, shape)


def _reduced(walk: Walk, operation, inputs: list[Signal], shape) -> np.ndarray:
    """Over positions, as global pooling does; the axes of an operation count the batch."""
    ((labels, before),) = inputs
    sides = len(before) + 1
    axes = np.atleast_1d(range(sides) if operation.axis is None else operation.axis) % sides
    if not set(axes.tolist()) <= set(range(1, sides - 1)) or any(side != 1 for side in labels.shape[:-1]):
        raise refusal(operation, "an axis= of positions, not of channels", f" It has axis={operation.axis}.")
    return labels.reshape((1,) * (len(shape) - 1) + (-1,))


def _padded(walk: Walk, operation, inputs: list[Signal], shape) -> np.ndarray:
    if shape[-1] != inputs[0].shape[-1]:
        raise refusal(operation, "a padding of positions, not of channels")
    return inputs[0].labels


_AS_LAYERS = {
    "Reshape": layers.Flatten,
    "Squeeze": layers.Flatten,
    "ExpandDims": layers.Flatten,
    "Softmax": layers.Softmax,
    "LogSoftmax": layers.Softmax,
    "MaxPool": layers.MaxPooling2D,
    "AveragePool": layers.AveragePooling2D,
}
_BINARY = "Add Subtract Multiply Maximum Minimum"
_UNARY = """
ReLU Relu Relu6 LeakyRelu Elu Selu Celu Gelu Silu Sigmoid HardSigmoid HardSilu HardTanh LogSigmoid Softplus Softsign
SquarePlus Mish Tanh Tanhshrink SoftShrink HardShrink Threshold Absolute Abs Negative Square Sqrt Exp Expm1 Log1p Clip
Cast Identity StopGradient Sign Sin Cos Power
"""

OPERATIONS: dict[str, OperationRule] = {
    **{name: RULES[kind] for name, kind in _AS_LAYERS.items()},
    **dict.fromkeys(_BINARY.split(), _merged),
    **dict.fromkeys(_UNARY.split(), RULES[layers.ReLU]),
    **dict.fromkeys(("Divide", "TrueDivide"), _divided),
    **dict.fromkeys(("Mean", "Max", "Sum"), _reduced),
    "Concatenate": _concatenated,
    "Pad": _padded,
}


def keeps_its_sides(call: Any) -> bool:
    """False for a reshape that names how many channels come out: it would ask for those that are gone."""
    sides = getattr(call.operation, "newshape", None)
    return sides is None or (len(sides) == 2 and sides[-1] == -1)
