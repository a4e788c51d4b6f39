"""Folders of images that are of one value each, so that it tells which image was read."""

import numpy as np


def write(path, value, shape=(8, 8, 3)):
    import tensorflow as tf

    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(tf.io.encode_png(np.full(shape, value, np.uint8)).numpy())


def folders(root, names, split="train", shape=(8, 8, 3)):
    """A class is a gray level: 20 times its place among `names`."""
    for place, name in enumerate(names):
        write(root / split / name / "0.png", 20 * place, shape)
    return root
