"""Files of weights fit the masked and the dense network alike; masks are in them, and files from before are read."""

import keras
import nets
import numpy as np
import pytest
from keras import layers

import kerasticket as kt
from kerasticket.models.paths import raw_params
from kerasticket.params import differing

pytestmark = pytest.mark.same_on_every_backend


def stack() -> keras.Model:
    """Every way in which Keras finds a layer in a file: by class, attribute and container; two layers of each size."""
    frames = keras.Input((4, 6))
    x = layers.Bidirectional(layers.GRU(3, return_sequences=True))(frames)
    x = layers.SeparableConv1D(6, 2)(x)
    x = layers.RNN([layers.LSTMCell(6), layers.GRUCell(6)])(x)
    x = keras.Sequential([keras.Input((6,)), layers.Dense(6), layers.Dense(6)])(x)
    return keras.Model(frames, layers.Dense(6)(layers.Dense(6)(x)))


def half_pruned(**chosen) -> keras.Model:
    model = kt.masked(stack(), **chosen)
    kt.set_mask(model, nets.half_mask(model))
    return model


def weights(model) -> dict[str, np.ndarray]:
    return {path: array for path, array in raw_params(model).items() if "seed_generator" not in path}


@pytest.mark.parametrize("chosen", [{}, {"keep_dense": "last"}], ids=str)
def test_weights_go_from_the_masked_network_to_the_dense_one_and_back(chosen, tmp_path):
    masked, dense, fresh = half_pruned(**chosen), stack(), kt.masked(stack(), **chosen)
    kinds = [type(layer) for layer in masked._flatten_layers()]
    names = [variable.path for variable in masked.weights]
    masked.save_weights(tmp_path / "masked.weights.h5")
    assert [type(layer) for layer in masked._flatten_layers()] == kinds
    assert [variable.path for variable in masked.weights] == names
    dense.load_weights(tmp_path / "masked.weights.h5")
    assert not differing(weights(dense), weights(masked))
    fresh.load_weights(tmp_path / "masked.weights.h5")
    assert not differing(weights(fresh), weights(masked))
    assert not differing(kt.get_mask(fresh), kt.get_mask(masked))
    other = stack()
    other.save_weights(tmp_path / "dense.weights.h5")
    masked.load_weights(tmp_path / "dense.weights.h5")
    expected = {path: array.copy() for path, array in weights(other).items()}
    for path, kept in kt.get_mask(fresh).items():
        expected[path][~kept] = 0
    assert not differing(weights(masked), expected)
    assert not differing(kt.get_mask(masked), kt.get_mask(fresh))  # of its own


def test_files_written_by_masked_class_are_still_read(tmp_path):
    masked, fresh = half_pruned(), kt.masked(stack())
    keras_own = keras.Model.save_weights.__wrapped__
    keras_own(masked, tmp_path / "before.weights.h5")
    masked.save(tmp_path / "model.keras")
    for name in ("before.weights.h5", "model.keras"):
        fresh = kt.masked(stack())
        fresh.load_weights(tmp_path / name)
        assert not differing(weights(fresh), weights(masked))
        assert not differing(kt.get_mask(fresh), kt.get_mask(masked))


def test_models_from_files_and_their_parts_read_dense_weights(tmp_path):
    half_pruned().save(tmp_path / "model.keras")
    loaded, dense = keras.saving.load_model(tmp_path / "model.keras"), stack()
    inner = next(layer for layer in loaded.layers if isinstance(layer, keras.Sequential))
    other = next(layer for layer in dense.layers if isinstance(layer, keras.Sequential))
    other.save_weights(tmp_path / "part.weights.h5")
    inner.load_weights(tmp_path / "part.weights.h5")
    mask = kt.get_mask(inner)
    for path, array in weights(inner).items():
        kept = mask.get(path, np.ones(array.shape, bool))
        np.testing.assert_array_equal(array, np.where(kept, weights(other)[path], 0))


def test_masks_for_weights_that_are_dense_here_are_refused_and_nothing_is_changed(tmp_path):
    half_pruned().save_weights(tmp_path / "masked.weights.h5")
    less = kt.masked(stack(), keep_dense="last")
    before = weights(less)
    with pytest.raises(ValueError, match=r"masks for \['dense_1/kernel'\], which are dense here. Mask the model as"):
        less.load_weights(tmp_path / "masked.weights.h5")
    assert not differing(weights(less), before)


def test_a_model_is_masked_again_when_writing_fails(tmp_path):
    model = half_pruned()
    names, kinds = [v.path for v in model.weights], [type(layer) for layer in model._flatten_layers()]
    with pytest.raises(OSError, match="no folder"):
        model.save_weights(tmp_path / "no folder" / "x.weights.h5")
    assert names == [v.path for v in model.weights]
    assert kinds == [type(layer) for layer in model._flatten_layers()]
