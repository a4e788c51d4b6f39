"""Small builds of every entry of MODELS."""

import keras

from kerasticket.models import MODELS

SMALL = {
    "convnet": {"input_shape": (8, 8, 2), "width": 4},
    "alexnet": {"input_shape": (8, 8, 2)},
    "resnet10": {"input_shape": (8, 8, 2), "width": 2},
    "resnet18": {"input_shape": (8, 8, 2), "width": 2},
    "resnet10_imagenet": {"input_shape": (32, 32, 2), "width": 2},
    "resnet18_imagenet": {"input_shape": (32, 32, 2), "width": 2},
    "resnet_ap10": {"input_shape": (32, 32, 2), "width": 2},
    "lenet_300_100": {"input_shape": (8, 8, 2)},
}


def small(name: str, **arguments) -> keras.Model:
    return MODELS[name](**{**SMALL[name], "num_classes": 3, "seed": 0, **arguments})
