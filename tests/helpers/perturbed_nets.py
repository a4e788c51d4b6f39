"""Compiled networks, and weights near theirs."""

import keras
import numpy as np


def compiled(model: keras.Model, loss=None) -> keras.Model:
    model.compile("sgd", loss or keras.losses.CategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    return model


def perturbed(params, seed: int = 0):
    """Other weights and statistics of the same network; variances stay positive."""
    rng = np.random.default_rng(seed)
    return {p: (a * rng.uniform(0.5, 1.5, a.shape)).astype(a.dtype) if a.ndim else a for p, a in params.items()}
