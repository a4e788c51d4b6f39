"""The networks that methods look at images with: built anew, or weights that another seed would have drawn."""

import keras

from kerasticket.data import ImageSet
from kerasticket.models import MODELS
from kerasticket.models.initializers import SeededInitializer


def fresh_network(model: str, width: int, images: ImageSet, seed: int) -> keras.Model:
    """A network of `kerasticket.models.MODELS` for these images; `width` is a ConvNet's, others have their own."""
    options = {"width": width} if model == "convnet" else {}
    return MODELS[model](images.input_shape, images.num_classes, seed=seed, **options)


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
