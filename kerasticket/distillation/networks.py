"""The networks that methods look at images with: built anew, or weights that another seed would have drawn."""

import keras

from kerasticket.data import DistilledSet, ImageSet
from kerasticket.layers.convolution import speed_up
from kerasticket.models import MODELS, own
from kerasticket.models.initializers import SeededInitializer
from kerasticket.params import Params
from kerasticket.tickets import masking, optimizer_state


def fresh_network(model: str, width: int, images: ImageSet | DistilledSet, seed: int) -> keras.Model:
    """A network for these images.

    Args:
        model: a name in `kerasticket.models.MODELS`, or "module:function" of one's own, see `kerasticket.models.own`.
        width: a ConvNet's, and own functions' that name it; others of ours have their own.
    """
    has_width = model == "convnet" or model not in MODELS
    builder = own.builder_of(model)
    return own.build(builder, images.input_shape, images.num_classes, seed, width if has_width else None)


def fresh_helper(model: str, width: int, images: ImageSet | DistilledSet, seed: int) -> keras.Model:
    """`fresh_network` for a method's own use: see `speed_up`."""
    return speed_up(fresh_network(model, width, images, seed))


def features_of(network: keras.Model) -> keras.Model:
    """What the last layer of a network gets."""
    return keras.Model(network.inputs, network.layers[-1].input)


def fresh_weights(model: keras.Model, seed: int) -> list:
    """Values for the trainable variables of one of our networks, drawn as another seed would have had them."""
    values = []
    for layer in model.layers:
        for variable in layer.trainable_variables:
            initializer = getattr(layer, f"{variable.name}_initializer", None)
            value = variable.value
            if initializer is not None and len(variable.shape) > 1 and not isinstance(initializer, SeededInitializer):
                raise ValueError(f"Expected kernels that SeededInitializer draws. Received: {variable.path}")
            if isinstance(initializer, SeededInitializer):
                config = initializer.get_config() | {"seed": seed}
                value = SeededInitializer(**config)(variable.shape, variable.dtype)
            values.append(value)
    return values


def renew(model: keras.Model, fresh: keras.Model) -> None:
    """Gives a compiled network the weights of a fresh one and a fresh optimizer, so that trainings share one trace."""
    masking.set_params(model, masking.get_params(fresh))
    optimizer_state.build(model)
    optimizer_state.set_state(model, optimizer_state.fresh_state(model))


def network_state(model: keras.Model) -> Params:
    """Weights, statistics and optimizer slots of a compiled network, for a checkpoint."""
    weights = {f"weight:{key}": array for key, array in masking.get_params(model).items()}
    return weights | {f"slot:{key}": array for key, array in optimizer_state.get_state(model).items()}


def restore_network(model: keras.Model, state: Params) -> None:
    """Puts back what `network_state` gave; other keys are ignored."""
    masking.set_params(model, _under("weight:", state))
    optimizer_state.set_state(model, _under("slot:", state))


def _under(prefix: str, state: Params) -> Params:
    return {key.removeprefix(prefix): array for key, array in state.items() if key.startswith(prefix)}
