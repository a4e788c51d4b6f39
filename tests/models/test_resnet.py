"""ResNets: the shapes of their stages, the shortcut of a block, and where each form halves."""

import math

import keras
import numpy as np
import pytest
from keras import ops

from kerasticket.models import MODELS, resnet10, resnet10_imagenet, resnet18, resnet_ap10

pytestmark = pytest.mark.same_on_every_backend


def strided(model: keras.Model) -> set[str]:
    return {layer.name for layer in model.layers if isinstance(layer, keras.layers.Conv2D) and layer.strides != (1, 1)}


def ends_of_stages(model: keras.Model, blocks: int = 1) -> list[tuple[int, ...]]:
    return [model.get_layer(f"stage{stage}_block{blocks}_relu2").output.shape[1:] for stage in (1, 2, 3, 4)]


def test_stages_double_the_filters_and_halve_the_image():
    expected = [(16, 16, 2), (8, 8, 4), (4, 4, 8), (2, 2, 16)]
    assert ends_of_stages(resnet10((16, 16, 3), width=2)) == expected
    assert ends_of_stages(resnet18((16, 16, 3), width=2), blocks=2) == expected
    assert ends_of_stages(resnet10_imagenet((64, 64, 3), width=2)) == expected  # after a stride and a pool of 2
    assert ends_of_stages(resnet_ap10((64, 64, 3), width=2)) == expected  # after a pool of 4


def test_the_forms_halve_by_strides_or_by_means():
    halving = {f"stage{stage}_block1_{name}" for stage in (2, 3, 4) for name in ("conv1", "shortcut_conv")}
    assert strided(resnet10((8, 8, 3), width=2)) == halving
    assert strided(resnet18((8, 8, 3), width=2)) == halving
    assert strided(resnet10_imagenet((32, 32, 3), width=2)) == {"stem_conv", *halving}
    pooled = resnet_ap10((32, 32, 3), width=2)
    assert strided(pooled) == set()
    pools = [layer.name for layer in pooled.layers if isinstance(layer, keras.layers.AveragePooling2D)]
    assert len(pools) == 1 + 2 * 3
    assert not any("moving" in variable.name for variable in pooled.variables)


def test_a_block_whose_branch_is_zero_is_relu_of_its_shortcut():
    model = resnet10((8, 8, 3), width=2, seed=0)
    for stage in (1, 2):
        norm = model.get_layer(f"stage{stage}_block1_norm2")
        norm.gamma.assign(ops.zeros_like(norm.gamma))
    names = ["stem_relu", "stage1_block1_relu2", "stage2_block1_shortcut_norm", "stage2_block1_relu2"]
    seen = keras.Model(model.inputs, [model.get_layer(name).output for name in names])
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype("float32")
    stem, first, shortcut, second = (ops.convert_to_numpy(each) for each in seen(x, training=False))
    np.testing.assert_array_equal(first, stem)  # already positive, and no convolution on the way
    np.testing.assert_allclose(second, np.maximum(shortcut, 0), atol=1e-6)
    assert (shortcut < 0).any()


@pytest.mark.parametrize("name", ["resnet10", "resnet_ap10"])
def test_resnet_initialization(name):
    """Convolutions are N(0, 2 / fan_out), not truncated; the classifier is torch's default."""
    model = MODELS[name](seed=0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D):
            kernel = ops.convert_to_numpy(layer.kernel)
            std = math.sqrt(2 / (kernel.shape[0] * kernel.shape[1] * kernel.shape[3]))
            assert kernel.std() == pytest.approx(std, rel=0.05)
            if kernel.size > 10_000:
                assert np.abs(kernel).max() > 2.5 * std
    logits = model.get_layer("logits")
    spread = ops.convert_to_numpy(logits.kernel).std()
    assert spread == pytest.approx(1 / math.sqrt(3 * logits.kernel.shape[0]), rel=0.05)
    assert np.abs(ops.convert_to_numpy(logits.bias)).max() > 0
