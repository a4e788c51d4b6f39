"""LeNet-300-100: the multilayer perceptron of the first lottery tickets."""

import keras
from keras import layers

from kerasticket.models.checks import check_classifier
from kerasticket.models.initializers import glorot_normal


def lenet_300_100(
    input_shape: tuple[int, ...] = (28, 28, 1),
    num_classes: int = 10,
    *,
    seed: int | None = None,
    name: str = "lenet_300_100",
) -> keras.Model:
    """Builds Dense 300, ReLU, Dense 100, ReLU, Dense to logits on the flattened input.

    LeCun et al. 1998 as in Frankle & Carbin 2019 (arXiv 1803.03635), figure 2: Gaussian Glorot kernels (here
    not truncated), biases 0.

    Args:
        input_shape: any shape without the batch axis.
        num_classes: number of logits.
        seed: makes the initial weights a pure function of (seed, layer name); None draws new ones.
        name: the model's name.

    Returns:
        A functional model from (batch, *input_shape) to logits (batch, num_classes).

    Raises:
        ValueError: an unknown axis in input_shape, or num_classes < 2.

    Example:

    >>> lenet_300_100().count_params()
    266610
    """
    check_classifier(input_shape, num_classes)
    inputs = keras.Input(input_shape, name="image")
    x = layers.Flatten(name="flatten")(inputs)
    for index, units in enumerate((300, 100), start=1):
        hidden = f"hidden_{index}"
        initial = glorot_normal(x.shape[-1], units, seed, hidden)
        x = layers.Dense(units, kernel_initializer=initial, name=hidden)(x)
        x = layers.ReLU(name=f"relu_{index}")(x)
    initial = glorot_normal(x.shape[-1], num_classes, seed, "logits")
    logits = layers.Dense(num_classes, kernel_initializer=initial, name="logits")(x)
    return keras.Model(inputs, logits, name=name)
