"""The networks of the lottery-ticket and distillation papers, by name in `MODELS`.

Each builder takes `(input_shape, num_classes, *, seed, name)` and gives a plain functional `keras.Model` with
logits, every layer named, so that two builds have the same variable paths.
"""

from collections.abc import Callable

import keras

from kerasticket.models.alexnet import alexnet
from kerasticket.models.convnet import convnet
from kerasticket.models.lenet import lenet_300_100
from kerasticket.models.resnet import resnet10, resnet10_imagenet, resnet18, resnet18_imagenet, resnet_ap10

MODELS: dict[str, Callable[..., keras.Model]] = {
    "convnet": convnet,
    "alexnet": alexnet,
    "resnet10": resnet10,
    "resnet18": resnet18,
    "resnet10_imagenet": resnet10_imagenet,
    "resnet18_imagenet": resnet18_imagenet,
    "resnet_ap10": resnet_ap10,
    "lenet_300_100": lenet_300_100,
}

__all__ = [
    "MODELS",
    "alexnet",
    "convnet",
    "lenet_300_100",
    "resnet10",
    "resnet10_imagenet",
    "resnet18",
    "resnet18_imagenet",
    "resnet_ap10",
]
