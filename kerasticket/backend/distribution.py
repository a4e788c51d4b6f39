"""One network on several devices: Keras' distributions on JAX, TensorFlow's strategies, and what is refused.

All variables of a model, its masks and its optimizer have to lie on the devices that train it. Keras notes where when
it makes a variable, by the scope that is open then.
"""

import contextlib
from collections.abc import Callable, Iterable

import keras

from kerasticket.backend import keras_internals

InScope = Callable[[keras.Variable], bool]


def scope_of(model: keras.Model) -> contextlib.AbstractContextManager:
    """The scope in which variables that are added to a model lie where its own do.

    On JAX each variable has its layout instead: see `keras_internals.lay_as`.

    Raises:
        ValueError: another scope is open than that in which the model was made.
    """
    check_scope(model)
    if keras.config.backend() != "tensorflow":
        return contextlib.nullcontext()
    return model.distribute_strategy.scope()


def check_scope(model: keras.Model, more: Iterable[keras.Variable] = ()) -> None:
    """Raises ValueError unless all variables lie where the scope that is open, else the model's own, has them.

    Args:
        more: variables beside those of the model, those of its optimizer.
    """
    check_backend()
    where = _IN_SCOPE[keras.config.backend()](model)
    outside = [variable.path for variable in (*model.variables, *more) if not where(variable)]
    if outside:
        raise ValueError(
            f"Expected '{model.name}' with all variables and its optimizer made in the scope of one distribution "
            f"(a keras.distribution on JAX, a tf.distribute strategy on TensorFlow). Received: {outside[:3]}"
            f"{' and more' if len(outside) > 3 else ''} made in another, or in none. In `with distribution.scope():` "
            "build the model or load its ticket, then mask and compile it."
        )


def check_backend() -> None:
    """Raises ValueError where a keras.distribution is set that does nothing, as on all backends but JAX."""
    backend, distribution = keras.config.backend(), keras.distribution.distribution()
    if distribution is not None and backend != "jax":
        instead = " Use tf.distribute.MirroredStrategy there." if backend == "tensorflow" else " Use KERAS_BACKEND=jax."
        raise ValueError(
            f"Expected keras.distribution on JAX alone. Received: {type(distribution).__name__} on {backend}, where "
            f"Keras would train on one device.{instead}"
        )


def check_training(model: keras.Model) -> None:
    """Raises ValueError where `fit` on several devices would train other networks than one, and where Keras could not.

    Args:
        model: compiled.
    """
    check_processes()
    check_scope(model, model.optimizer.variables)
    if keras.config.backend() == "tensorflow" and devices_of(model) > 1:
        _check_statistics(model)


def _check_statistics(model: keras.Model) -> None:
    # Each device would normalize by its own share, and keep moving statistics of its own, of which a ticket, a stripped
    # copy or a file could hold those of the first device alone.
    norms = (one for one in keras_internals.all_layers(model) if isinstance(one, keras.layers.BatchNormalization))
    apart = [one.name for one in norms if one.trainable and not one.synchronized]
    if apart:
        raise ValueError(
            f"Expected BatchNormalization(synchronized=True) under a strategy of TensorFlow, without which each device "
            f"has moving statistics of its own. Received: '{model.name}' with {apart[:4]}. Set layer.synchronized = "
            "True for each before the first `fit`."
        )


def check_processes() -> None:
    """Raises ValueError in one of several processes of torch.distributed: Keras' `fit` shares no gradients there."""
    count = _torch_processes() if keras.config.backend() == "torch" else 1
    if count > 1:
        raise ValueError(
            "Expected one process, for `fit` on torch shares no gradients with others, and each would find masks of "
            f"its own. Received: torch.distributed with {count} processes. Use KERAS_BACKEND=jax or tensorflow for "
            "several devices, or search in one process and train the ticket in a loop of your own."
        )


def devices_of(model: keras.Model) -> int:
    """How many devices share each batch of `fit`."""
    if keras.config.backend() == "tensorflow":
        return model.distribute_strategy.num_replicas_in_sync
    distribution = keras.distribution.distribution()
    return 1 if distribution is None else distribution.num_model_replicas


def _in_scope_of_jax(model: keras.Model) -> InScope:
    distribution = keras.distribution.distribution()
    if distribution is None:  # what lies on several devices is computed there
        return lambda variable: True

    def where(variable: keras.Variable) -> bool:
        value = keras_internals.value_or_none(variable)
        return value is None or len(value.sharding.device_set) == distribution.device_mesh.devices.size

    return where


def _in_scope_of_tensorflow(model: keras.Model) -> InScope:
    import tensorflow as tf

    strategy = tf.distribute.get_strategy() if tf.distribute.has_strategy() else model.distribute_strategy
    return lambda variable: strategy.extended.variable_created_in_scope(variable.value)


def _torch_processes() -> int:
    from torch import distributed

    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


_IN_SCOPE: dict[str, Callable[[keras.Model], InScope]] = {
    "jax": _in_scope_of_jax,
    "tensorflow": _in_scope_of_tensorflow,
    "torch": lambda model: lambda variable: True,
}
