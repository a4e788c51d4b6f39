"""Writes the golden files beside it: what one version of the library saved, which all later ones must read.

    python tests/golden/write.py      # only for a new kind of file: those that are there stay as they are

`expected.npz` holds the arrays that each file must give back, under "FILE:ARRAY".
"""

from pathlib import Path

import keras
import numpy as np
from keras import layers

import kerasticket as kt
from kerasticket.analysis.results import Diagonal, Surface
from kerasticket.tickets import optimizer_state

HERE = Path(__file__).parent


def image_model() -> keras.Model:
    """Convolutions, normalization and a dense end, with automatic and given names."""
    inputs = keras.Input((8, 8, 1))
    x = layers.Conv2D(4, 3, padding="same", name="stem")(inputs)
    x = kt.layers.InstanceNormalization(name="norm")(x)
    x = layers.BatchNormalization()(layers.ReLU()(x))
    x = layers.DepthwiseConv2D(3)(x)
    x = layers.SeparableConv2D(6, 3)(x)
    return keras.Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)), name="image_model")


def text_model() -> keras.Model:
    """A recurrent and an attending layer around masked ones."""
    inputs = keras.Input((5,), dtype="int32")
    x = layers.Embedding(11, 4, name="words")(inputs)
    x = layers.LSTM(4, return_sequences=True)(x)
    x = layers.MultiHeadAttention(2, 3, name="attention")(x, x)
    return keras.Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling1D()(x)), name="text_model")


def pruned(model: keras.Model, seed: int) -> keras.Model:
    """The model masked, with half of each kernel pruned at random, compiled and trained for two steps."""
    model = kt.masked(model)
    rng = np.random.default_rng(seed)
    kt.set_mask(model, {path: rng.random(mask.shape) < 0.5 for path, mask in kt.get_mask(model).items()})
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse")
    shape = (4, *model.input_shape[1:])
    inputs = rng.integers(0, 11, shape) if len(shape) == 2 else rng.normal(size=shape)
    model.fit(inputs, rng.normal(size=(4, model.output_shape[-1])), batch_size=2, shuffle=False, verbose=0)
    return model


def surface_of(rng: np.random.Generator) -> Surface:
    points, nets = 9, 2
    return Surface(
        "random",
        "reestimate",
        coordinates=rng.normal(size=(points, 2)),
        loss=rng.random(points),
        accuracy=rng.random(points),
        positions=rng.normal(size=(nets, 2)),
        distances=rng.random(nets),
        net_loss=rng.random(nets),
        net_accuracy=rng.random(nets),
        lengths=(1.0, 2.0),
        cosine=0.25,
        filter_normalized=True,
    )


def diagonal_of(rng: np.random.Generator) -> Diagonal:
    values = {"stem/kernel": rng.normal(size=(2, 3)), "stem/bias": rng.normal(size=3)}
    sampled = {path: rng.random(array.shape) < 0.7 for path, array in values.items()}
    return Diagonal(values, sampled, dict.fromkeys(values, "taylor"), surviving=7, pruned=2, examples=64)


def contents(name: str, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {f"{name}:{key}": value for key, value in arrays.items()}


def write() -> None:
    expected: dict[str, np.ndarray] = {}
    for seed, make in enumerate((image_model, text_model)):
        keras.utils.set_random_seed(seed)
        model = pruned(make(), seed)
        name = make.__name__
        ticket = kt.Ticket.dense(model, optimizer=optimizer_state.get_state(model)).pruned(
            kt.get_mask(model), {"method": "golden"}
        )
        ticket.save(HERE / f"{name}_ticket.keras")
        model.save(HERE / f"{name}.keras")
        model.save_weights(HERE / f"{name}.weights.h5")
        kt.save_masks(HERE / f"{name}_masks.npz", kt.get_mask(model))
        kt.save_sparse(HERE / f"{name}_sparse.npz", model)
        expected |= contents(f"{name}:params", kt.get_params(model))
        expected |= contents(f"{name}:mask", kt.get_mask(model))
        expected |= contents(f"{name}:optimizer", ticket.optimizer)
    rng = np.random.default_rng(2)
    images = rng.random((6, 8, 8, 3)).astype("float32")
    of_set = {"class_names": ("a", "b", "c"), "source": "golden:1/train", "method": "by hand"}
    of_set |= {"mean": (0.5, 0.4, 0.3), "std": (0.2, 0.3, 0.4)}
    hard = kt.data.DistilledSet(images, np.repeat(np.arange(3), 2), **of_set, space="normalized", factor=2)
    soft = kt.data.DistilledSet(images, rng.dirichlet(np.ones(3), 6).astype("float32"), **of_set)
    for name, distilled in (("hard", hard), ("soft", soft)):
        distilled.save(HERE / f"{name}.h5")
        expected |= contents(name, {"images": distilled.images, "labels": distilled.labels})
    surface, diagonal = surface_of(rng), diagonal_of(rng)
    surface.save(HERE / "surface.h5")
    diagonal.save(HERE / "diagonal.h5")
    expected |= contents("surface", {"loss": surface.loss, "coordinates": surface.coordinates})
    expected |= contents("diagonal", diagonal.values)
    np.savez_compressed(HERE / "expected.npz", **expected)


if __name__ == "__main__":
    write()
