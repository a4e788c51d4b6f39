"""A layer that becomes one of another class in place: its variables stay where they are."""

import inspect

from keras import layers


def become(layer: layers.Layer, kind: type[layers.Layer]) -> None:
    """Exchanges the class, and what Keras noted of the signature of `call` when it made the layer.

    Without the first, `training` that a functional model passes is dropped; without the others, a layer that is
    called without it does not get that of the model around.
    """
    object.__setattr__(layer, "__class__", kind)
    signature = inspect.signature(layer.call)
    vars(layer)["_call_signature"] = signature
    trains = "training" in signature.parameters
    vars(layer)["_call_has_training_arg"] = vars(layer)["_call_has_context_arg"]["training"] = trains
