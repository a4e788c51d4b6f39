"""Derivatives of pure functions, of any order, with one spelling for TensorFlow, JAX and torch.

A function here takes tensors or lists of tensors and returns a scalar. What `gradient` and `hvp` return are
again such functions of the same arguments, so they may be nested; NumPy arrays and `keras.Variable`s are
accepted too.
"""

import functools
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from kerasticket.backend.keras_internals import all_layers, keras_mask, takes_training
from kerasticket.backend.precision import at_least_float32
from kerasticket.backend.variables import array_of

Function = Callable[..., Any]


def functional_loss(model: keras.Model, loss: Callable[[Any, Any], Any], *, training: bool = False) -> Function:
    """The mean loss of a model as a pure function `(trainable_values, inputs, targets) -> scalar`.

    The model runs without its regularization penalties and, unless asked otherwise, in inference mode (moving
    statistics, no dropout).
    Its non-trainable weights (statistics, masks) are copied now: after changing them, ask for a new function.

    Args:
        model: a built model.
        loss: a `keras.losses.Loss`, whose own reduction is ignored, or a function of (targets, outputs). The
            mean over all its values is taken, in the dtype of the model's outputs, but float32 at least.
        training: tell the model that it trains. Each call starts from the same state: dropout draws the same units.

    Returns:
        A function of `trainable_values` (a list, ordered as `model.trainable_variables`), inputs, targets.

    Raises:
        ValueError: the model is not built.

    Example:

    >>> import numpy as np
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, name="dense")])
    >>> error = functional_loss(model, keras.losses.MeanSquaredError())
    >>> error(model.trainable_variables, np.ones((4, 2)), np.ones((4, 1))).shape == ()
    True
    """
    if not model.built:
        raise ValueError(f"Expected a built model: call it on data first. Received: model={model.name!r}, not built")
    # Copied through NumPy: on JAX, the next fit deletes the buffers of the variables.
    constants = [
        ops.convert_to_tensor(array_of(variable), variable.dtype) for variable in model.non_trainable_variables
    ]

    def mean_loss(trainable_values, inputs, targets):
        values = _tensors(list(trainable_values))
        outputs, _ = model.stateless_call(values, constants, ops.convert_to_tensor(inputs), **mode(model, training))
        return mean_of_loss(loss, ops.convert_to_tensor(targets), outputs)

    return mean_loss


def mode(model: keras.Model, training: bool) -> dict[str, bool]:
    """The argument that says so to a model, none where its `call` does not take it."""
    return {"training": training} if takes_training(model) else {}


def mean_of_loss(loss: Callable[[Any, Any], Any], targets, outputs, padding=None):
    """The mean of a loss over all its values, in float32 at least, whatever reduction the loss has.

    As in `fit`, targets have the type of the outputs, a function of (targets, outputs) gets both with the same axes
    where one of them has a last axis of 1 more, and values at padded steps do not count.

    Args:
        padding: False where steps are padded; None: what Keras has attached to the outputs, if anything.
    """
    padding = keras_mask(outputs) if padding is None else padding
    losses = losses_of(loss, targets, outputs)
    left_out = keras_mask(losses)  # by the loss itself: its ignore_class
    masks = [
        ops.broadcast_to(ops.cast(mask, losses.dtype), losses.shape) for mask in (padding, left_out) if mask is not None
    ]
    if not masks:
        return ops.sum(losses) / ops.cast(ops.size(losses), losses.dtype)
    counted = functools.reduce(ops.multiply, masks)
    return ops.sum(losses * counted) / ops.maximum(ops.sum(counted), 1)


def losses_of(loss: Callable[[Any, Any], Any], targets, outputs):
    """The loss of every example or step, before any reduction."""
    # Not Loss.__call__, which drops from float64 to float32 on torch.
    each = loss.call if isinstance(loss, keras.losses.Loss) else _of_equal_axes(loss)
    outputs = at_least_float32(outputs)
    return each(ops.cast(targets, outputs.dtype), outputs)


def _of_equal_axes(loss: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """The function with the rule that Keras applies to losses that are no objects: (n,) goes with (n, 1)."""

    def call(targets, outputs):
        more = len(outputs.shape) - len(targets.shape)
        longer = outputs if more > 0 else targets
        if abs(more) == 1 and longer.shape[-1] == 1:
            expands = min(len(outputs.shape), len(targets.shape)) == 1
            if (more > 0) == expands:
                targets = ops.expand_dims(targets, -1) if expands else ops.squeeze(targets, -1)
            else:
                outputs = ops.expand_dims(outputs, -1) if expands else ops.squeeze(outputs, -1)
        return loss(targets, outputs)

    return call


def value_and_gradient(function: Function, argument: int = 0) -> Function:
    """A function of the same arguments that returns (value, gradient with respect to one argument).

    Args:
        function: returns a scalar; differentiable in its argument number `argument`.
        argument: position of the argument, a tensor or a list of tensors.

    Returns:
        A function; its gradient has the structure of that argument, and is 0 where the value ignores it.

    Example:

    >>> import numpy as np
    >>> value, slope = value_and_gradient(lambda x: ops.sum(x**3))(np.array([1.0, 2.0], "float32"))
    >>> float(value), [float(s) for s in slope]
    (9.0, [3.0, 12.0])
    """
    transform = _of_backend(_VALUE_AND_GRADIENT)

    def evaluate(*arguments):
        return transform(function, argument, *_tensors(arguments))

    return evaluate


def gradient(function: Function, argument: int = 0) -> Function:
    """A function of the same arguments that returns the gradient with respect to one of them.

    It can be differentiated again, with respect to any argument: gradient matching is
    `gradient(lambda images: distance(gradient(loss)(weights, images, labels), target))`.

    Example:

    >>> import numpy as np
    >>> second = gradient(lambda x: ops.sum(gradient(lambda y: ops.sum(y**3))(x)))
    >>> [float(s) for s in second(np.array([1.0, 2.0], "float32"))]
    [6.0, 12.0]
    """
    evaluate = value_and_gradient(function, argument)
    return lambda *arguments: evaluate(*arguments)[1]


def hvp(function: Function) -> Function:
    """Hessian-vector products: `(values, vector, *rest) -> H @ vector`, H taken in the first argument.

    Reverse mode twice, as the gradient of <gradient, vector> (Pearlmutter 1994, section 3): the one form that
    all backends offer for all layers. `vector` and the result have the structure and shapes of `values`.

    Example:

    >>> import numpy as np
    >>> cubic = hvp(lambda x: ops.sum(x**3))
    >>> [float(p) for p in cubic(np.array([1.0, 2.0], "float32"), np.array([1.0, 1.0], "float32"))]
    [6.0, 12.0]
    """
    slope = gradient(function)

    def product(values, vector, *rest):
        return gradient(lambda inner: _dot(slope(inner, *rest), vector))(values)

    return product


def check_second_derivatives(model: keras.Model) -> None:
    """Raises ValueError if `hvp` would be wrong for a layer of the model on this backend.

    On TensorFlow, Keras' GroupNormalization and LayerNormalization take the variance around a mean that is held fixed:
    first derivatives are right, second ones are off by up to 166% (Keras 3.15). So does `keras.ops.moments`, which a
    layer of your own may call: that is not seen here. Write its variance as `ops.mean(ops.square(x - mean))`.
    """
    wrong = _WRONG_SECOND_DERIVATIVES.get(keras.config.backend(), ())
    found = sorted({layer.name for layer in all_layers(model) if isinstance(layer, wrong)})
    if found:
        raise ValueError(
            f"Expected layers whose second derivatives are right. Received: '{model.name}' with {found} on "
            f"{keras.config.backend()}, where Keras' own are not. Use kerasticket.layers.InstanceNormalization in "
            "place of GroupNormalization(groups=-1), or another backend: KERAS_BACKEND=jax or torch."
        )


def jit(function: Function) -> Function:
    """Compiles a function of tensors for repeated calls: `tf.function`, `jax.jit`; nothing on torch.

    No XLA on TensorFlow, where it makes convolutions slower on CPUs. No `torch.compile`, which needs a C++
    compiler at run time and does not nest with the transforms above.

    Example:

    >>> import numpy as np
    >>> float(jit(lambda x: ops.sum(x))(np.ones(3, "float32")))
    3.0
    """
    compiled = _of_backend(_JIT)(function)
    return lambda *arguments: compiled(*_tensors(arguments))


def _tensors(tree):
    return keras.tree.map_structure(lambda leaf: leaf if leaf is None else ops.convert_to_tensor(leaf), tree)


def _dot(left, right):
    pairs = zip(keras.tree.flatten(left), keras.tree.flatten(right), strict=True)
    return functools.reduce(ops.add, [ops.sum(a * ops.convert_to_tensor(b)) for a, b in pairs])


def _of_backend(table: dict[str, Callable]) -> Callable:
    backend = keras.config.backend()
    if backend not in table:
        raise ValueError(f"Expected a Keras backend among {sorted(table)} for derivatives. Received: {backend!r}")
    return table[backend]


def _tensorflow_value_and_gradient(function, argument, *arguments):
    import tensorflow as tf

    # A copy is watched, so that the same tensor in another argument is not differentiated.
    watched = tf.nest.map_structure(tf.identity, arguments[argument])
    with tf.GradientTape() as tape:
        tape.watch(watched)
        value = function(*arguments[:argument], watched, *arguments[argument + 1 :])
    slope = tape.gradient(value, watched, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    # What was gathered from comes back as IndexedSlices, which have no arithmetic.
    return value, keras.tree.map_structure(tf.convert_to_tensor, slope)


def _jax_value_and_gradient(function, argument, *arguments):
    import jax

    return jax.value_and_grad(function, argnums=argument)(*arguments)


def _torch_value_and_gradient(function, argument, *arguments):
    import torch

    slope, value = torch.func.grad_and_value(function, argnums=argument)(*arguments)
    return value, slope


def _tensorflow_jit(function):
    import tensorflow as tf

    return tf.function(function, autograph=False)  # the functions here are Keras ops without Python control flow


def _jax_jit(function):
    import jax

    return jax.jit(function)


_VALUE_AND_GRADIENT = {
    "tensorflow": _tensorflow_value_and_gradient,
    "jax": _jax_value_and_gradient,
    "torch": _torch_value_and_gradient,
}
_WRONG_SECOND_DERIVATIVES = {"tensorflow": (keras.layers.GroupNormalization, keras.layers.LayerNormalization)}
_JIT = {"tensorflow": _tensorflow_jit, "jax": _jax_jit, "torch": lambda function: function}
