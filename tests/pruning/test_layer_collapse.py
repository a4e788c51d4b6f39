"""Layer collapse on a VGG: SynFlow empties no layer up to the highest compression that there is; others do before.

Tanaka et al. 2020 (arXiv 2006.05467): the highest compression of a network is its number of weights over its number of
layers, one weight each; SynFlow in 100 rounds reaches it, and one-shot methods empty a layer long before.
"""

import keras
import numpy as np
import pytest
from keras import layers

import kerasticket as kt
from kerasticket import masks
from kerasticket.pruning.criteria import CRITERIA

WIDTHS = ((4,), (8,), (16, 16), (32, 32), (32, 32))  # VGG-11, its widths divided by 16


def vgg() -> keras.Model:
    x = inputs = keras.Input((16, 16, 3), name="images")
    for block, widths in enumerate(WIDTHS):
        for index, width in enumerate(widths):
            options = {"padding": "same", "activation": "relu", "use_bias": False}
            x = layers.Conv2D(width, 3, name=f"conv_{block}_{index}", **options)(x)
        if block < len(WIDTHS) - 1:
            x = layers.MaxPooling2D(name=f"pool_{block}")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, layers.Dense(10, name="classifier")(x), name="vgg")


def data() -> tuple[np.ndarray, np.ndarray]:
    """Ten random images of each class."""
    images = np.random.default_rng(0).normal(size=(100, 16, 16, 3)).astype("float32")
    return images, np.eye(10, dtype="float32")[np.arange(100) % 10]


@pytest.fixture
def model():
    """With He's initial weights, the same on every backend."""
    masked, rng = kt.masked(vgg()), np.random.default_rng(0)
    start = {path: np.zeros(array.shape, "float32") for path, array in kt.get_params(masked).items()}
    for path, array in kt.get_mask(masked).items():
        start[path] = rng.normal(size=array.shape) * np.sqrt(2 / np.prod(array.shape[:-1]))
    kt.set_params(masked, start)
    masked.compile("sgd", keras.losses.CategoricalCrossentropy(from_logits=True))
    return masked


def find(model: keras.Model, criterion: str, compression: float, **options) -> kt.Ticket:
    prune = kt.callbacks.PruneAtInitialization(criterion, 1 - 1 / compression, data=data(), **options)
    return prune.find(model)


def highest(model: keras.Model) -> float:
    """One weight per layer."""
    mask = kt.get_mask(model)
    return masks.total(mask) / len(mask)


@pytest.mark.same_on_every_backend  # the scores are tested on each; a hundred rounds of them take long on some
def test_synflow_reaches_the_highest_compression(model):
    """Masks are nested from round to round, so no layer was empty at any density before."""
    ticket = find(model, "synflow", highest(model), empty_layers="refuse")
    assert [int(array.sum()) for array in ticket.mask.values()] == [1] * 9
    scores = CRITERIA["synflow"](model, ticket.params, ticket.mask, None, None)
    assert [float(array.sum()) for array in scores.values()] == pytest.approx([1] * 9)  # on one path, which is left


@pytest.mark.slow
@pytest.mark.parametrize("compression", [10, 100, 1000])
def test_synflow_empties_no_layer_at_its_published_compressions(model, compression):
    ticket = find(model, "synflow", compression, empty_layers="refuse")
    assert ticket.kept == round(ticket.total / compression)
    assert all(array.any() for array in ticket.mask.values())


EMPTIED_BY = {"random": 100, "grasp": 300, "magnitude": 500, "snip": 1000}


@pytest.mark.same_on_every_backend
@pytest.mark.parametrize("criterion", EMPTIED_BY)
def test_one_shot_methods_empty_a_layer_long_before(model, criterion):
    assert EMPTIED_BY[criterion] < highest(model) / 4
    with pytest.warns(UserWarning, match="Pruning empties the layers"):
        ticket = find(model, criterion, EMPTIED_BY[criterion], empty_layers="warn")
    assert any(not array.any() for array in ticket.mask.values())
