"""Images and draws for tests of augmentation, and an operation on the backend under test."""

import keras
import numpy as np

from kerasticket.data.augmentation.transforms import AUGMENTATIONS

SHAPE = (6, 10, 12, 3)


def uniform_from(seed: int):
    rng = np.random.default_rng(seed)
    return lambda *shape: rng.random(shape, dtype=np.float32)


def images_of(shape=SHAPE) -> np.ndarray:
    return np.random.default_rng(1).standard_normal(shape).astype(np.float32)


def on_backend(name: str, images, parameters) -> np.ndarray:
    tensor = keras.ops.convert_to_tensor(images)
    return keras.ops.convert_to_numpy(AUGMENTATIONS[name].apply(keras.ops, tensor, parameters))
