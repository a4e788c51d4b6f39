"""A small distilled set with every field, and changes that make it one of another kind."""

import numpy as np

from kerasticket.data import DistilledSet


def distilled(**changes) -> DistilledSet:
    rng = np.random.default_rng(0)
    values = {
        "images": rng.random((4, 8, 8, 3), dtype=np.float32),
        "labels": np.array([0, 0, 1, 1]),
        "class_names": ("cat", "dog"),
        "source": "mine:1.0/train",
        "method": "by hand",
        "mean": (0.5, 0.4, 0.3),
        "std": (0.25, 0.2, 0.1),
        "factor": 2,
        "settings": {"steps": 3, "sizes": (1, 2)},
        "seeds": {"images": 1},
        "accuracy": {"convnet": {"mean": 0.9, "std": 0.01, "nets": 5}},
        "command": "python make.py",
    }
    return DistilledSet(**(values | changes))


SOFT = np.array([[0.5, 0.5], [1, 0], [0, 1], [0.1, 0.9]], np.float32)


ZCA = {"space": "zca", "mean": (), "std": (), "zca": {"epsilon": 0.1, "source": "cifar10:3.0.2/train"}}
