"""Every entry of MODELS: parameter goldens, stable names, initial weights, and equality with torch nets."""

import math

import keras
import numpy as np
import pytest
from architectures import SMALL, small
from keras import ops

import kerasticket as kt
from kerasticket.models import MODELS

# (builder, arguments, prunable weights, trainable weights)
GOLDENS = [
    ("convnet", {}, 318_848, 320_010),
    ("convnet", {"num_classes": 100}, 503_168, 504_420),
    ("convnet", {"width": 64}, 85_696, 86_282),
    ("convnet", {"width": 32}, 24_416, 24_714),
    ("alexnet", {}, 1_871_232, 1_872_202),
    ("resnet10", {}, 1_226_080, 1_228_970),
    ("resnet18", {}, 2_792_800, 2_797_610),
    ("resnet10_imagenet", {}, 4_905_152, 4_910_922),
    ("resnet18_imagenet", {}, 11_172_032, 11_181_642),
    ("resnet_ap10", {}, 4_905_152, 4_910_922),
    ("lenet_300_100", {}, 266_200, 266_610),
]
# Arguments that make each model small enough for numerical work.


def size(variables) -> int:
    return sum(math.prod(variable.shape) for variable in variables)


def kernels(model: keras.Model) -> list[keras.Variable]:
    return [variable for variable in model.trainable_variables if variable.name == "kernel"]


def test_every_model_has_a_golden_and_a_small_form():
    """A new entry of MODELS is refused until both tables know it."""
    assert {name for name, *_ in GOLDENS} == set(MODELS) == set(SMALL)


@pytest.mark.parametrize(("name", "arguments", "prunable", "trainable"), GOLDENS)
def test_parameter_counts_are_those_of_the_papers(name, arguments, prunable, trainable):
    """Kernels are prunable; biases and norms are not."""
    model = MODELS[name](**arguments)
    assert size(kernels(model)) == prunable
    assert size(model.trainable_variables) == trainable


@pytest.mark.parametrize("name", MODELS)
class TestEveryModel:
    def test_gives_one_logit_per_class(self, name):
        """Outputs are (batch, classes) without an activation."""
        model = small(name)
        assert model.output_shape == (None, 3)
        assert model.name == name
        logits = ops.convert_to_numpy(model(np.ones((2, *model.input_shape[1:]), "float32")))
        assert logits.shape == (2, 3)
        assert not np.allclose(logits.sum(-1), 1)

    def test_two_builds_have_the_same_paths(self, name):
        """Masks keyed by path fit the second build and a clone."""
        first = small(name)
        paths = [variable.path for variable in first.variables]
        assert len(set(paths)) == len(paths)
        for other in (small(name), keras.models.clone_model(first)):
            assert [variable.path for variable in other.variables] == paths

    def test_a_seed_fixes_every_weight(self, name):
        """The same seed gives the same weights, another seed others, no two layers the same draws."""
        first, second, third = small(name), small(name), small(name, seed=1)
        for a, b, c in zip(kernels(first), kernels(second), kernels(third), strict=True):
            np.testing.assert_array_equal(ops.convert_to_numpy(a), ops.convert_to_numpy(b))
            assert not np.allclose(ops.convert_to_numpy(a), ops.convert_to_numpy(c))
        starts = [ops.convert_to_numpy(kernel).ravel()[:4].tobytes() for kernel in kernels(first)]
        assert len(set(starts)) == len(starts)

    def test_without_a_seed_set_random_seed_governs(self, name):
        """Draws differ from build to build, and repeat after keras.utils.set_random_seed."""

        def draw():
            return ops.convert_to_numpy(kernels(small(name, seed=None))[0])

        keras.utils.set_random_seed(7)
        first, second = draw(), draw()
        keras.utils.set_random_seed(7)
        np.testing.assert_array_equal(first, draw())
        assert not np.allclose(first, second)

    def test_is_saved_and_loaded(self, name, tmp_path):
        """The initializers are registered, so that a model file opens without custom objects."""
        model = small(name)
        model.save(tmp_path / "model.keras")
        loaded = keras.saving.load_model(tmp_path / "model.keras")
        for a, b in zip(model.variables, loaded.variables, strict=True):
            np.testing.assert_array_equal(ops.convert_to_numpy(a), ops.convert_to_numpy(b))

    def test_refuses_one_class(self, name):
        """A classifier needs two."""
        with pytest.raises(ValueError, match="num_classes >= 2"):
            small(name, num_classes=1)

    def test_refuses_unknown_sizes(self, name):
        """Every axis of the input is known."""
        with pytest.raises(ValueError, match="positive integers"):
            small(name, input_shape=(None, 32, 3))

    def test_runs_under_mixed_precision(self, name):
        """Weights stay float32 while logits are half."""
        keras.config.set_dtype_policy("mixed_bfloat16")
        try:
            model = small(name)
            logits = model(np.ones((2, *model.input_shape[1:]), "float32"))
        finally:
            keras.config.set_dtype_policy("float32")
        assert {variable.dtype for variable in model.variables} == {"float32"}
        assert keras.backend.standardize_dtype(logits.dtype) == "bfloat16"


@pytest.mark.parametrize("name", [name for name in MODELS if name != "lenet_300_100"])
def test_images_too_small_for_the_depth_are_refused(name):
    """The error names the smallest size."""
    with pytest.raises(ValueError, match="at least"):
        small(name, input_shape=(4, 32, 3))


def torch_spread(fan_in: int) -> float:
    """Standard deviation of U(+-1/sqrt(fan_in))."""
    return 1 / math.sqrt(3 * fan_in)


@pytest.mark.parametrize("name", ["convnet", "alexnet"])
def test_torch_default_initialization(name):
    """Kernels and biases are uniform in +-1/sqrt(fan_in) of their layer."""
    model = MODELS[name](seed=0)
    for layer in model.layers:
        if not hasattr(layer, "kernel"):
            continue
        kernel, bias = (ops.convert_to_numpy(weight) for weight in (layer.kernel, layer.bias))
        fan_in = math.prod(kernel.shape[:-1])
        for values in (kernel, bias):
            assert np.abs(values).max() <= 1 / math.sqrt(fan_in)
            assert np.abs(values).max() > 0.7 / math.sqrt(fan_in)
        assert kernel.std() == pytest.approx(torch_spread(fan_in), rel=0.03)


# Equality with torch: the same nets, written with torch's layers in the order of our weights.


def torch_convnet(nn, width, channels, pixels, classes):
    blocks = []
    for block in range(3):
        blocks += [nn.Conv2d(width if block else channels, width, 3, padding=1), nn.GroupNorm(width, width)]
        blocks += [nn.ReLU(), nn.AvgPool2d(2)]
    return nn.Sequential(*blocks, nn.Flatten(), nn.Linear(width * (pixels // 8) ** 2, classes))


def torch_alexnet(nn, channels, pixels, classes):
    def conv(before, after, size):
        return [nn.Conv2d(before, after, size, padding=size // 2), nn.ReLU()]

    features = [*conv(channels, 128, 5), nn.MaxPool2d(2), *conv(128, 192, 5), nn.MaxPool2d(2)]
    features += [*conv(192, 256, 3), *conv(256, 192, 3), *conv(192, 192, 3), nn.MaxPool2d(2), nn.Flatten()]
    return nn.Sequential(*features, nn.Linear(192 * (pixels // 8) ** 2, classes))


def torch_resnet10(nn, stem, width, classes, norm, pooled=False):
    """`stem` ends with `width` channels; its modules come first in the order of our weights."""

    class Block(nn.Module):
        def __init__(self, before, after, stride):
            super().__init__()
            strides = 1 if pooled else stride
            pool = [nn.AvgPool2d(stride)] if pooled and stride > 1 else []
            self.left = nn.Sequential(
                *[nn.Conv2d(before, after, 3, strides, 1, bias=False), norm(after), nn.ReLU(), *pool],
                *[nn.Conv2d(after, after, 3, 1, 1, bias=False), norm(after)],
            )
            shortcut = [nn.Conv2d(before, after, 1, strides, bias=False), *pool, norm(after)]
            self.right = nn.Sequential(*(shortcut if stride > 1 or before != after else []))

        def forward(self, x):
            return nn.functional.relu(self.left(x) + self.right(x))

    stages = [Block(width * max(1, 2 ** (s - 1)), width * 2**s, 2 if s else 1) for s in range(4)]
    return nn.Sequential(*stem, *stages, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8 * width, classes))


def torch_twins(name, nn):
    """The torch net that `small(name)` should equal, at the sizes of SMALL and 3 classes."""
    if name == "convnet":
        return torch_convnet(nn, 4, 2, 8, 3)
    if name == "alexnet":
        return torch_alexnet(nn, 2, 8, 3)
    if name == "resnet10":
        stem = [nn.Conv2d(2, 2, 3, 1, 1, bias=False), nn.BatchNorm2d(2), nn.ReLU()]
        return torch_resnet10(nn, stem, 2, 3, nn.BatchNorm2d)
    if name == "resnet10_imagenet":
        stem = [nn.Conv2d(2, 2, 7, 2, 3, bias=False), nn.BatchNorm2d(2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
        return torch_resnet10(nn, stem, 2, 3, nn.BatchNorm2d)

    def instance_norm(channels):
        return nn.GroupNorm(channels, channels)

    stem = [nn.Conv2d(2, 2, 7, 1, 3, bias=False), instance_norm(2), nn.ReLU(), nn.AvgPool2d(4)]
    return torch_resnet10(nn, stem, 2, 3, instance_norm, pooled=True)


def block_name(layer: keras.layers.Layer) -> str:
    return layer.name.split("_block")[0]


def ordered_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """Layers with weights in the order in which torch's modules are written: main path, then shortcut."""
    layers = [layer for layer in model.layers if layer.weights]
    blocks = list(dict.fromkeys(block_name(layer) for layer in layers))
    return sorted(layers, key=lambda layer: (blocks.index(block_name(layer)), "shortcut" in layer.name))


def random_weight(rng: np.random.Generator, weight: keras.Variable) -> np.ndarray:
    """Kernels that keep the scale of their input; gamma, beta and statistics between .3 and .9."""
    if len(weight.shape) > 1:
        return rng.normal(0, 1.5 / math.sqrt(math.prod(weight.shape[:-1])), weight.shape)
    return rng.uniform(0.3, 0.9, weight.shape)


def copy_weights(model: keras.Model, twin, torch) -> None:
    """Writes random weights into both; a Dense behind Flatten has its rows in torch's channel-first order."""
    modules = [module for module in twin.modules() if hasattr(module, "weight")]
    rng = np.random.default_rng(1)
    for layer, module in zip(ordered_layers(model), modules, strict=True):
        values = [random_weight(rng, weight) for weight in layer.weights]
        layer.set_weights([value.astype("float32") for value in values])
        first = values[0]
        if first.ndim == 4:
            values[0] = first.transpose(3, 2, 0, 1)
        elif first.ndim == 2 and "flatten" in [other.name for other in model.layers]:
            shape = model.get_layer("flatten").input.shape[1:]
            values[0] = first.reshape(*shape, -1).transpose(3, 2, 0, 1).reshape(first.shape[1], -1)
        elif first.ndim == 2:
            values[0] = first.T
        names = ["weight", "bias", "running_mean", "running_var"][: len(values)]
        for target, value in zip(names, values, strict=True):
            getattr(module, target).data.copy_(torch.from_numpy(value))


@pytest.mark.parametrize("name", ["convnet", "alexnet", "resnet10", "resnet10_imagenet", "resnet_ap10"])
def test_equals_the_torch_net(name):
    """With equal weights, logits agree with a net of torch's own layers (padding, pooling, norms)."""
    torch = pytest.importorskip("torch")
    model, twin = small(name), torch_twins(name, torch.nn).eval()
    copy_weights(model, twin, torch)
    x = np.random.default_rng(2).normal(size=(4, *model.input_shape[1:])).astype("float32")
    with torch.no_grad():
        expected = twin(torch.from_numpy(x.transpose(0, 3, 1, 2)).contiguous()).numpy()
    np.testing.assert_allclose(ops.convert_to_numpy(model(x)), expected, atol=1e-4)
    assert np.abs(expected).max() > 0.1


@pytest.mark.parametrize("name", MODELS)
def test_every_model_can_be_masked_and_made_a_ticket(name):
    model = kt.masked(small(name))
    assert set(kt.get_mask(model)) == {path for path in kt.get_params(model) if path.endswith("/kernel")}
    kt.Ticket.dense(model).verify(model)
