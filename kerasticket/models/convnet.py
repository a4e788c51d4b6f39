"""ConvNet-d: the network that most dataset distillation is done with."""

import keras
from keras import layers

from kerasticket.layers.normalization import InstanceNormalization
from kerasticket.models.checks import check_image_classifier
from kerasticket.models.initializers import torch_default


def convnet(
    input_shape: tuple[int, ...] = (32, 32, 3),
    num_classes: int = 10,
    width: int = 128,
    depth: int = 3,
    *,
    seed: int | None = None,
    name: str = "convnet",
) -> keras.Model:
    """Builds `depth` blocks [conv 3x3 with bias, instance norm, ReLU, average pool 2], then Dense to logits.

    The ConvNet-3 of Gidaris & Komodakis 2018 in the form of Zhao et al. 2021 (arXiv 2006.05929), section 3.1:
    kernels and biases start at U(+-1/sqrt(fan_in)). Their extra padding of 28x28 images is left out.

    Args:
        input_shape: (height, width, channels).
        num_classes: number of logits.
        width: filters of every convolution.
        depth: number of blocks; each halves the image, rounding down.
        seed: makes the initial weights a pure function of (seed, layer name); None draws new ones.
        name: the model's name.

    Returns:
        A functional model from (batch, height, width, channels) to logits (batch, num_classes).

    Raises:
        ValueError: an image with less than `2**depth` pixels a side, num_classes < 2, width < 1 or depth < 1.

    Example:

    >>> convnet(width=32).count_params()
    24714
    """
    check_image_classifier(input_shape, num_classes, 2 ** max(depth, 0), width=width, depth=depth)
    x = inputs = keras.Input(input_shape, name="image")
    for block in range(1, depth + 1):
        conv = f"conv_{block}"
        x = layers.Conv2D(width, 3, padding="same", name=conv, **torch_default(9 * x.shape[-1], seed, conv))(x)
        x = InstanceNormalization(relu=True, pool_size=2, name=f"norm_{block}")(x)
    x = layers.Flatten(name="flatten")(x)
    logits = layers.Dense(num_classes, name="logits", **torch_default(x.shape[-1], seed, "logits"))(x)
    return keras.Model(inputs, logits, name=name)
