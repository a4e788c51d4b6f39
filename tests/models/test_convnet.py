"""ConvNet-d: one block by hand, what each depth leaves of an image, and what is refused."""

import keras
import numpy as np
import pytest
from keras import ops
from scipy.signal import correlate2d

import kerasticket as kt
from kerasticket.models import convnet


def test_a_block_is_convolution_norm_relu_and_mean_of_four():
    model = convnet((4, 4, 2), 3, width=2, depth=1, seed=0)
    rng = np.random.default_rng(0)
    net = {path: rng.normal(0, 1, array.shape).astype("float32") for path, array in kt.get_params(model).items()}
    kt.set_params(model, net)
    image = rng.normal(size=(4, 4, 2)).astype("float32")
    maps = []
    for filter in range(2):
        kernel = net["conv_1/kernel"][..., filter]
        x = sum(correlate2d(image[..., c], kernel[..., c], "same") for c in range(2)) + net["conv_1/bias"][filter]
        x = (x - x.mean()) / np.sqrt(x.var() + 1e-5) * net["norm_1/gamma"][filter] + net["norm_1/beta"][filter]
        maps.append(np.maximum(x, 0).reshape(2, 2, 2, 2).mean((1, 3)))
    expected = np.stack(maps, -1).ravel() @ net["logits/kernel"] + net["logits/bias"]
    np.testing.assert_allclose(ops.convert_to_numpy(model(image[None]))[0], expected, rtol=1e-4, atol=1e-5)


def test_each_block_halves_the_image_rounding_down():
    model = convnet((14, 9, 1), width=2, depth=3)
    assert [model.get_layer(f"norm_{block}").output.shape[1:3] for block in (1, 2, 3)] == [(7, 4), (3, 2), (1, 1)]
    assert sum(isinstance(layer, keras.layers.Conv2D) for layer in model.layers) == 3


def test_convnet_takes_the_smallest_image_that_its_depth_allows():
    """digits are 8x8: three halvings leave one pixel."""
    assert convnet((8, 8, 1), width=2, depth=3).get_layer("flatten").output.shape == (None, 2)


@pytest.mark.parametrize("arguments", [{"width": 0}, {"depth": 0}])
def test_convnet_refuses_sizes_below_one(arguments):
    """The error names the argument."""
    with pytest.raises(ValueError, match=f"{next(iter(arguments))} >= 1"):
        convnet(**arguments)
