"""Distribution matching: DM (Zhao & Bilen 2023, "Dataset Condensation with Distribution Matching").

Images are optimized so that networks with random weights give each class the same mean features as its real
images. No network is trained and no second derivative taken, which makes it the cheapest method that optimizes.
"""

import dataclasses
from typing import ClassVar

import numpy as np
from keras import ops

from kerasticket.backend import autodiff
from kerasticket.backend.precision import at_least_float32
from kerasticket.data import MATCHING, Augmentation, DistilledSet, ImageSet
from kerasticket.data.augmentation.presets import augment, draw
from kerasticket.data.multi_formation import decode_cells
from kerasticket.distillation.initialization import INITIALIZATIONS, check_matching, starting_images
from kerasticket.distillation.method import Method, check_one_of, check_positive, check_rate
from kerasticket.distillation.networks import features_of, fresh_helper, fresh_weights
from kerasticket.models import MODELS
from kerasticket.params import Params


@dataclasses.dataclass(frozen=True)
class DistributionMatching(Method):
    """DM's settings; the defaults are those of its authors' code for CIFAR-10 at 10 images per class.

    It differs from their code: images stay in [0, 1] (cut after each step), one draw of IDC's matching augmentation
    serves all classes of a step (theirs is one of six operations), every class has as many real images in it, at most
    those of the smallest, and with `factor` above 1 what is matched are the decoded images.

    Attributes:
        factor: multi-formation: a stored image is decoded into factor x factor training images.
        initialization: "random" (real images), "mix" (real images in the cells), "noise".
        resize: how "mix" shrinks real images, "nearest", "area" or "bilinear".
        iterations: steps, each on a network with fresh weights.
        learning_rate: of the images, SGD, in normalized pixels; the loss is the sum over classes.
        momentum: of the images' SGD.
        real_batch: real images per class and step.
        matching: augmentation, one draw for real and synthetic images.
        model, width: the network, a name in `kerasticket.models.MODELS`, or "module:function"; its features are what
            its last layer gets.

    Example:

    >>> import kerasticket as kt
    >>> method = DistributionMatching(iterations=2, real_batch=4, width=4)
    >>> method.distill(kt.data.load("digits"), ipc=1, seed=0).images.shape
    (10, 16, 16, 1)
    """

    name: ClassVar[str] = "dm"
    extends: ClassVar[str] = "iterations"
    factor: int = 1
    initialization: str = "random"
    resize: str = "nearest"
    iterations: int = 20_000
    learning_rate: float = 1.0
    momentum: float = 0.5
    real_batch: int = 256
    matching: Augmentation = MATCHING
    model: str = "convnet"
    width: int = 128

    def __post_init__(self):
        check_one_of(self, initialization=INITIALIZATIONS)
        check_rate(self)
        check_positive(self, "factor", "iterations", "real_batch")
        check_matching(self.matching)

    @property
    def steps(self) -> int:
        """How often `progress` is called."""
        return self.iterations

    def start(self, images: ImageSet, ipc: int, seed: int) -> DistilledSet:
        """The images before the first step."""
        return starting_images(
            images, ipc, seed, initialization=self.initialization, factor=self.factor, resize=self.resize
        )

    def begin(self, images: ImageSet, ipc: int, seed: int) -> tuple[DistilledSet, "_Matcher"]:
        start = self.start(images, ipc, seed)
        return start, _Matcher(self, images, start.images.copy(), ipc, seed)


class _Matcher:
    """The state of one distillation: the images and their momentum."""

    def __init__(self, settings: DistributionMatching, real: ImageSet, images: np.ndarray, ipc: int, seed: int):
        self.settings, self.real, self.images, self.ipc, self.seed = settings, real, images, ipc, seed
        self.velocity = np.zeros_like(images)
        self.mean, self.std = np.asarray(real.mean, np.float32), np.asarray(real.std, np.float32)
        self.of_class = [np.flatnonzero(real.labels == label) for label in range(real.num_classes)]
        # As many of each class, so that class means are means over an axis.
        self.count = min(settings.real_batch, *(len(positions) for positions in self.of_class))
        network = fresh_helper(settings.model, settings.width, real, seed=0)
        self.features = features_of(network)
        if self.features.non_trainable_variables:
            raise ValueError(
                f"Expected a network without moving statistics, such as 'convnet'. Received: model={settings.model!r}"
            )
        self.loss_and_gradient = autodiff.jit(autodiff.value_and_gradient(self._mismatch))

    def state(self) -> Params:
        return {"images": self.images, "velocity": self.velocity}

    def restore(self, state: Params) -> None:
        self.images, self.velocity = state["images"], state["velocity"]

    def step(self, index: int) -> float:
        """One step on all images; the loss before it."""
        settings, rng = self.settings, np.random.default_rng([self.seed, index])
        chosen = np.concatenate([rng.choice(positions, self.count, replace=False) for positions in self.of_class])
        parameters = draw(np, settings.matching, lambda *shape: rng.random(shape, np.float32), 1)
        weights = self._weights(int(rng.integers(2**31)))
        real = self.real.to_float(chosen)
        loss, gradient = self.loss_and_gradient(self.images, weights, real, parameters)
        self.velocity = settings.momentum * self.velocity + ops.convert_to_numpy(gradient)
        # The rate is of normalized pixels; a gradient in them is std times as large, and so is a step.
        self.images = np.clip(self.images - settings.learning_rate * self.std**2 * self.velocity, 0, 1)
        return float(ops.convert_to_numpy(loss))

    def _weights(self, seed: int) -> list:
        """Of the features of a fresh network; one of ours need not be built for that."""
        settings = self.settings
        if settings.model in MODELS:
            return fresh_weights(self.features, seed)
        network = fresh_helper(settings.model, settings.width, self.real, seed)
        return [variable.value for variable in features_of(network).trainable_variables]

    def _mismatch(self, images, weights, real, parameters):
        """Squared distance between class means of features, summed over classes."""
        decoded = decode_cells(ops, images, self.settings.factor)
        wanted = ops.stop_gradient(self._class_means(weights, real, parameters, (self.real.num_classes, -1), (1,)))
        cells = (self.settings.factor**2, self.real.num_classes, self.ipc)
        received = self._class_means(weights, decoded, parameters, cells, (0, 2))
        return ops.sum(ops.square(wanted - received))

    def _class_means(self, weights, pixels, parameters, groups: tuple[int, ...], axes: tuple[int, ...]):
        """(classes, features); the images come in the order of `groups`, means are over its `axes`."""
        normal = ops.divide(ops.subtract(pixels, self.mean), self.std)
        prepared = augment(ops, self.settings.matching, normal, parameters)
        features, _ = self.features.stateless_call(weights, [], prepared, training=True)
        features = ops.reshape(at_least_float32(features), (*groups, int(np.prod(features.shape[1:]))))
        return ops.mean(features, axis=axes)
