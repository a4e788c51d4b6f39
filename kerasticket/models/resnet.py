"""ResNets of basic blocks: CIFAR form, ImageNet form, and the pooled form that IDC distills with."""

import dataclasses
from collections.abc import Sequence

import keras
from keras import layers

from kerasticket.layers.normalization import BatchNormalization, InstanceNormalization
from kerasticket.models.checks import check_image_classifier
from kerasticket.models.initializers import he_fan_out, torch_default


@dataclasses.dataclass(frozen=True)
class _Form:
    """How the blocks of one network are built."""

    seed: int | None
    pooled: bool = False  # halve with average pooling behind a stride-1 convolution
    batch_norm: bool = True

    def convolution(self, x, filters: int, size: int, stride: int, name: str):
        """Convolution without bias, padded by size // 2 on every side as in torch ('same' differs)."""
        if stride > 1 and size > 1:
            x = layers.ZeroPadding2D(size // 2, name=f"{name}_pad")(x)
        return layers.Conv2D(
            filters,
            size,
            strides=stride,
            padding="same" if stride == 1 else "valid",
            use_bias=False,
            kernel_initializer=he_fan_out(size * size * filters, self.seed, name),
            name=name,
        )(x)

    def normalization(self, x, name: str):
        if self.batch_norm:
            return BatchNormalization(momentum=0.9, epsilon=1e-5, name=name)(x)
        return InstanceNormalization(name=name)(x)

    def stem(self, x, filters: int, size: int, stride: int):
        x = self.convolution(x, filters, size, stride, "stem_conv")
        return layers.ReLU(name="stem_relu")(self.normalization(x, "stem_norm"))

    def basic_block(self, x, filters: int, stride: int, name: str):
        """Two 3x3 convolutions beside a shortcut, which is a 1x1 convolution where the shape changes."""
        pool = self.pooled and stride > 1
        y = self.convolution(x, filters, 3, 1 if pool else stride, f"{name}_conv1")
        y = layers.ReLU(name=f"{name}_relu1")(self.normalization(y, f"{name}_norm1"))
        if pool:
            y = layers.AveragePooling2D(stride, name=f"{name}_pool")(y)
        y = self.normalization(self.convolution(y, filters, 3, 1, f"{name}_conv2"), f"{name}_norm2")
        if stride > 1 or x.shape[-1] != filters:
            x = self.convolution(x, filters, 1, 1 if pool else stride, f"{name}_shortcut_conv")
            if pool:
                x = layers.AveragePooling2D(stride, name=f"{name}_shortcut_pool")(x)
            x = self.normalization(x, f"{name}_shortcut_norm")
        return layers.ReLU(name=f"{name}_relu2")(layers.Add(name=f"{name}_add")([y, x]))

    def classifier(self, inputs, x, blocks: Sequence[int], num_classes: int, name: str) -> keras.Model:
        """Stages of basic blocks (filters doubled and image halved from the second on), mean, Dense."""
        width = x.shape[-1]
        for stage, count in enumerate(blocks, start=1):
            for block in range(1, count + 1):
                stride = 2 if stage > 1 and block == 1 else 1
                x = self.basic_block(x, width * 2 ** (stage - 1), stride, f"stage{stage}_block{block}")
        x = layers.GlobalAveragePooling2D(name="mean")(x)
        logits = layers.Dense(num_classes, name="logits", **torch_default(x.shape[-1], self.seed, "logits"))(x)
        return keras.Model(inputs, logits, name=name)


def _cifar_resnet(
    blocks: Sequence[int],
    input_shape: tuple[int, ...],
    num_classes: int,
    width: int,
    seed: int | None,
    name: str,
) -> keras.Model:
    check_image_classifier(input_shape, num_classes, 8, width=width)
    form = _Form(seed)
    inputs = keras.Input(input_shape, name="image")
    return form.classifier(inputs, form.stem(inputs, width, 3, 1), blocks, num_classes, name)


def _imagenet_resnet(
    blocks: Sequence[int],
    input_shape: tuple[int, ...],
    num_classes: int,
    width: int,
    seed: int | None,
    name: str,
) -> keras.Model:
    check_image_classifier(input_shape, num_classes, 32, width=width)
    form = _Form(seed)
    inputs = keras.Input(input_shape, name="image")
    # The zero border equals torch's -inf border, as what the pool sees is never negative.
    x = layers.ZeroPadding2D(1, name="stem_pool_pad")(form.stem(inputs, width, 7, 2))
    x = layers.MaxPooling2D(3, strides=2, name="stem_pool")(x)
    return form.classifier(inputs, x, blocks, num_classes, name)


def resnet10(
    input_shape: tuple[int, ...] = (32, 32, 3),
    num_classes: int = 10,
    *,
    width: int = 32,
    seed: int | None = None,
    name: str = "resnet10",
) -> keras.Model:
    """Builds ResNet-10 for CIFAR: conv 3x3, one basic block in each of four stages, mean, Dense.

    He et al. 2016 (arXiv 1512.03385) in the form of IDC (Kim et al. 2022, arXiv 2205.14959): filters `width`
    times 1, 2, 4, 8; stages 2 to 4 halve the image; 1x1 convolution shortcuts where the shape changes; no
    convolution has a bias. Kernels start at N(0, 2 / (k * k * filters)), Dense at U(+-1/sqrt(fan_in)). Batch
    norm as in torch (momentum .9, epsilon 1e-5), but for the moving variance: biased here, unbiased there.

    Args:
        input_shape: (height, width, channels).
        num_classes: number of logits.
        width: filters of the first stage.
        seed: makes the initial weights a pure function of (seed, layer name); None draws new ones.
        name: the model's name.

    Returns:
        A functional model from (batch, height, width, channels) to logits (batch, num_classes).

    Raises:
        ValueError: an image with less than 8 pixels a side, num_classes < 2 or width < 1.

    Example:

    >>> resnet10(width=4).output_shape
    (None, 10)
    """
    return _cifar_resnet((1, 1, 1, 1), input_shape, num_classes, width, seed, name)


def resnet18(
    input_shape: tuple[int, ...] = (32, 32, 3),
    num_classes: int = 10,
    *,
    width: int = 32,
    seed: int | None = None,
    name: str = "resnet18",
) -> keras.Model:
    """Builds ResNet-18 for CIFAR: `resnet10` with two basic blocks in each stage; same arguments and errors.

    Example:

    >>> resnet18(width=4).output_shape
    (None, 10)
    """
    return _cifar_resnet((2, 2, 2, 2), input_shape, num_classes, width, seed, name)


def resnet10_imagenet(
    input_shape: tuple[int, ...] = (224, 224, 3),
    num_classes: int = 10,
    *,
    width: int = 64,
    seed: int | None = None,
    name: str = "resnet10_imagenet",
) -> keras.Model:
    """Builds ResNet-10 for ImageNet: conv 7x7 stride 2, max pool 3 stride 2, then the stages of `resnet10`.

    The same arguments, initial weights and errors as `resnet10`; images have at least 32 pixels a side.

    Example:

    >>> resnet10_imagenet((64, 64, 3), width=4).output_shape
    (None, 10)
    """
    return _imagenet_resnet((1, 1, 1, 1), input_shape, num_classes, width, seed, name)


def resnet18_imagenet(
    input_shape: tuple[int, ...] = (224, 224, 3),
    num_classes: int = 10,
    *,
    width: int = 64,
    seed: int | None = None,
    name: str = "resnet18_imagenet",
) -> keras.Model:
    """Builds ResNet-18 for ImageNet: `resnet10_imagenet` with two basic blocks in each stage.

    Example:

    >>> resnet18_imagenet((64, 64, 3), width=4).output_shape
    (None, 10)
    """
    return _imagenet_resnet((2, 2, 2, 2), input_shape, num_classes, width, seed, name)


def resnet_ap10(
    input_shape: tuple[int, ...] = (224, 224, 3),
    num_classes: int = 10,
    *,
    width: int = 64,
    seed: int | None = None,
    name: str = "resnet_ap10",
) -> keras.Model:
    """Builds ResNetAP-10, which IDC distills ImageNet with: it halves by average pooling.

    Conv 7x7 stride 1, average pool 4, then the stages of `resnet10` with every stride-2 convolution replaced
    by a stride-1 convolution and an average pool 2, and instance norm (Kim et al. 2022, arXiv 2205.14959,
    section 5). IDC's smaller stems, for images of at most 64 and 128 pixels, are left out. The same
    arguments, initial weights and errors as `resnet10`; images have at least 32 pixels a side.

    Example:

    >>> resnet_ap10((64, 64, 3), width=4).output_shape
    (None, 10)
    """
    check_image_classifier(input_shape, num_classes, 32, width=width)
    form = _Form(seed, pooled=True, batch_norm=False)
    inputs = keras.Input(input_shape, name="image")
    x = layers.AveragePooling2D(4, name="stem_pool")(form.stem(inputs, width, 7, 1))
    return form.classifier(inputs, x, (1, 1, 1, 1), num_classes, name)
