"""AlexNet as dataset distillation uses it: five convolutions for small images, no normalization."""

import keras
from keras import layers

from kerasticket.models.checks import check_image_classifier
from kerasticket.models.initializers import torch_default

# (filters, kernel size, is a max pool behind it)
_CONVOLUTIONS = ((128, 5, True), (192, 5, True), (256, 3, False), (192, 3, False), (192, 3, True))


def alexnet(
    input_shape: tuple[int, ...] = (32, 32, 3),
    num_classes: int = 10,
    *,
    seed: int | None = None,
    name: str = "alexnet",
) -> keras.Model:
    """Builds the AlexNet of MTT: conv 5x5 128, pool, conv 5x5 192, pool, conv 3x3 256, 192, 192, pool, Dense.

    From the code of Cazenavette et al. 2022 (arXiv 2203.11932), without its extra padding of one-channel
    images. Kernels and biases start at U(+-1/sqrt(fan_in)).

    Args:
        input_shape: (height, width, channels).
        num_classes: number of logits.
        seed: makes the initial weights a pure function of (seed, layer name); None draws new ones.
        name: the model's name.

    Returns:
        A functional model from (batch, height, width, channels) to logits (batch, num_classes).

    Raises:
        ValueError: an image with less than 8 pixels a side, or num_classes < 2.

    Example:

    >>> alexnet().count_params()
    1872202
    """
    check_image_classifier(input_shape, num_classes, 8)
    x = inputs = keras.Input(input_shape, name="image")
    for index, (filters, size, pooled) in enumerate(_CONVOLUTIONS, start=1):
        conv = f"conv_{index}"
        initial = torch_default(size * size * x.shape[-1], seed, conv)
        x = layers.Conv2D(filters, size, padding="same", name=conv, **initial)(x)
        x = layers.ReLU(name=f"relu_{index}")(x)
        if pooled:
            x = layers.MaxPooling2D(2, name=f"pool_{index}")(x)
    x = layers.Flatten(name="flatten")(x)
    logits = layers.Dense(num_classes, name="logits", **torch_default(x.shape[-1], seed, "logits"))(x)
    return keras.Model(inputs, logits, name=name)
