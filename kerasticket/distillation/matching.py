"""Gradient matching with multi-formation: IDC (Kim et al. 2022, "Dataset Condensation via Efficient
Synthetic-Data Parameterization").

Images are optimised so that the gradient of a network's loss on them equals its gradient on real images of
the same class, along the path of networks that are trained on real data.
"""

import dataclasses
import itertools
from collections.abc import Callable, Iterator

import keras
import numpy as np
from keras import ops

from kerasticket import autodiff, masking, optimizer_state
from kerasticket.data import (
    IDC_TRAINING,
    MATCHING,
    Augmentation,
    DistilledSet,
    ImageSet,
    pipeline,
    seek,
)
from kerasticket.data.multi_formation import decode_cells
from kerasticket.data.recipes import augment, draw
from kerasticket.distillation.networks import fresh_network
from kerasticket.distillation.starts import INITIALISATIONS, starting_images
from kerasticket.models import MODELS
from kerasticket.optimizers import SGD


def squared(real, synthetic):
    """Sum of squared differences: IDC on CIFAR and SVHN."""
    return ops.sum(ops.square(real - synthetic))


def absolute(real, synthetic):
    """Sum of absolute differences: IDC on MNIST and ImageNet."""
    return ops.sum(ops.abs(real - synthetic))


DISTANCES: dict[str, Callable] = {"mse": squared, "l1": absolute}
Progress = Callable[[int, np.ndarray, float], None]


@dataclasses.dataclass(frozen=True)
class GradientMatching:
    """IDC's settings; the defaults are those of its authors' code for CIFAR-10 at 10 images per class.

    Attributes:
        factor: multi-formation: a stored image is decoded into factor x factor training images.
        initialisation: "mix" (real images in the cells), "random" (real images), "noise".
        resize: how "mix" shrinks real images, "nearest" as IDC, "area" or "bilinear".
        networks: how many fresh networks the images are matched on, one after the other (outer loop).
        iterations: matching steps per network, each over all classes (inner loop).
        learning_rate: of the images, SGD. IDC's base rate for CIFAR (.005) times ipc / 10 times
            (side / 32)^2; in pixels of [0, 1].
        momentum: of the images' SGD.
        distance: between gradients of convolution kernels, a name in `DISTANCES`; biases, norms and the
            classifier are not matched.
        real_batch: real images per class and step.
        decoded_batch: at most so many decoded images per class and step, chosen at random.
        net_images: real images that the network is trained on after each matching step.
        net_batch, net_learning_rate, net_momentum, net_l2: of that training.
        matching: augmentation of the matched images, one draw for real and synthetic.
        training: augmentation of the network's training.
        model, width: the network, a name in `kerasticket.models.MODELS`.
    """

    factor: int = 2
    initialisation: str = "mix"
    resize: str = "nearest"
    networks: int = 2000
    iterations: int = 100
    learning_rate: float = 0.005
    momentum: float = 0.5
    distance: str = "mse"
    real_batch: int = 64
    decoded_batch: int = 128
    net_images: int = 2000
    net_batch: int = 64
    net_learning_rate: float = 0.01
    net_momentum: float = 0.9
    net_l2: float = 5e-4
    matching: Augmentation = MATCHING
    training: Augmentation = IDC_TRAINING
    model: str = "convnet"
    width: int = 128

    def __post_init__(self):
        for name, known in (
            ("distance", list(DISTANCES)),
            ("initialisation", list(INITIALISATIONS)),
            ("model", list(MODELS)),
        ):
            if getattr(self, name) not in known:
                raise ValueError(f"Expected {name} among {known}. Received: {name}={getattr(self, name)!r}")
        if not (self.learning_rate > 0 and self.net_images >= self.net_batch):
            raise ValueError(
                "Expected learning_rate > 0 and net_images >= net_batch. Received: "
                f"learning_rate={self.learning_rate}, net_images={self.net_images}, net_batch={self.net_batch}"
            )
        for name in ("factor", "networks", "iterations", "real_batch", "decoded_batch", "net_batch"):
            if getattr(self, name) < 1:
                raise ValueError(f"Expected {name} >= 1. Received: {name}={getattr(self, name)}")
        if not self.matching.siamese:
            raise ValueError("Matching needs one draw for real and synthetic images: pass siamese=True.")

    def distill(self, images: ImageSet, *, ipc: int, seed: int, progress: Progress | None = None) -> DistilledSet:
        """Distils real images into `ipc` stored images per class; a pure function of its arguments.

        Args:
            images: real training images.
            ipc: stored images per class.
            seed: of batches, augmentation and networks. The starting images of "mix" are the first of each
                class, as in IDC.
            progress: called after each network with (networks done, the images, mean matching loss).

        Raises:
            ValueError: a class has too few images, the factor does not fit the image size, or the network has no
                convolutions or keeps statistics.
            FloatingPointError: the matching loss is not finite.
        """
        start = self.start(images, ipc, seed)
        matcher = _Matcher(self, images, start.images.copy(), ipc, seed)
        for index in range(self.networks):
            loss = matcher.match_one_network(index)
            if progress:
                progress(index + 1, matcher.images, loss)
        return dataclasses.replace(
            start,
            images=np.clip(matcher.images, 0, 1),
            method="idc",
            settings=dataclasses.asdict(self),
            seeds={"distillation": seed},
        )

    def start(self, images: ImageSet, ipc: int, seed: int) -> DistilledSet:
        """The images before the first step."""
        return starting_images(
            images, ipc, seed, initialisation=self.initialisation, factor=self.factor, resize=self.resize
        )


class _Matcher:
    """The state of one distillation: the images, their momentum, one network that is re-initialised."""

    def __init__(self, settings: GradientMatching, real: ImageSet, images: np.ndarray, ipc: int, seed: int):
        self.settings, self.real, self.images, self.ipc, self.seed = settings, real, images, ipc, seed
        self.velocity = np.zeros_like(images)
        self.of_class = [np.flatnonzero(real.labels == label) for label in range(real.num_classes)]
        self.normalise = (np.asarray(real.mean, np.float32), np.asarray(real.std, np.float32))
        self.network = self._fresh_network(0)
        optimizer = SGD(settings.net_learning_rate, momentum=settings.net_momentum, l2=settings.net_l2)
        self.loss = keras.losses.CategoricalCrossentropy(from_logits=True)
        self.network.compile(optimizer, self.loss)
        optimizer_state.build(self.network)
        self.fresh_optimizer = optimizer_state.fresh_state(self.network)
        self.matched = [i for i, v in enumerate(self.network.trainable_variables) if len(v.shape) > 3]
        if self.network.non_trainable_variables or not self.matched:
            raise ValueError(
                f"Expected a network with convolutions and without moving statistics, such as 'convnet'. "
                f"Received: model={settings.model!r}"
            )
        self.step = autodiff.jit(self._distance_and_gradient)
        self.batches = self._real_batches()

    def match_one_network(self, index: int) -> float:
        """One outer iteration: a fresh network, then matching and training in turns; mean matching loss."""
        masking.set_params(self.network, masking.get_params(self._fresh_network(index)))
        optimizer_state.set_state(self.network, self.fresh_optimizer)
        np.clip(self.images, 0, 1, out=self.images)
        losses = []
        for iteration in range(self.settings.iterations):
            rng = np.random.default_rng([self.seed, index, iteration])
            losses.append(np.mean([self._match(label, rng) for label in range(self.real.num_classes)]))
            if not np.isfinite(losses[-1]):
                raise FloatingPointError(
                    f"The matching loss is {losses[-1]} at network {index}, iteration {iteration}: "
                    f"lower learning_rate={self.settings.learning_rate}."
                )
            self._train_network()
        return float(np.mean(losses))

    def _match(self, label: int, rng: np.random.Generator) -> float:
        """One step on the images of one class; as in IDC, the other classes coast on their momentum meanwhile."""
        settings = self.settings
        count = min(settings.real_batch, len(self.of_class[label]))
        chosen = rng.choice(self.of_class[label], count, replace=False)
        decoded = self.ipc * settings.factor**2
        kept = np.sort(rng.choice(decoded, min(decoded, settings.decoded_batch), replace=False))
        parameters = draw(np, settings.matching, lambda *shape: rng.random(shape, np.float32), 1)
        mine = slice(label * self.ipc, (label + 1) * self.ipc)
        real = self.real.images[chosen].astype(np.float32) / np.float32(255)
        weights = [variable.value for variable in self.network.trainable_variables]
        one_hot = np.eye(self.real.num_classes, dtype=np.float32)[label]
        distance, gradient = self.step(self.images[mine], kept, weights, real, one_hot, parameters)
        self.velocity *= settings.momentum
        self.velocity[mine] += ops.convert_to_numpy(gradient)
        self.images -= settings.learning_rate * self.velocity
        return float(ops.convert_to_numpy(distance))

    def _distance_and_gradient(self, images, kept, weights, real, one_hot, parameters):
        """Distance between the gradients of real and synthetic images, and its derivative in the images."""
        slope = autodiff.gradient(autodiff.functional_loss(self.network, self.loss))
        distance = DISTANCES[self.settings.distance]

        def of_class(pixels):
            prepared = augment(ops, self.settings.matching, self._normalised(pixels), parameters)
            targets = ops.broadcast_to(one_hot, (pixels.shape[0], one_hot.shape[0]))
            gradients = slope(weights, prepared, targets)
            return [gradients[i] for i in self.matched]

        wanted = [ops.stop_gradient(gradient) for gradient in of_class(real)]

        def mismatch(stored):
            decoded = ops.take(decode_cells(ops, stored, self.settings.factor), kept, axis=0)
            pairs = zip(wanted, of_class(decoded), strict=True)
            return sum(distance(*pair) for pair in pairs)

        return autodiff.value_and_gradient(mismatch)(images)

    def _normalised(self, pixels):
        mean, std = self.normalise
        return ops.divide(ops.subtract(pixels, mean), std)  # torch tensors do not mix with NumPy arrays

    def _train_network(self) -> None:
        for _ in range(self.settings.net_images // self.settings.net_batch):
            images, labels = next(self.batches)
            self.network.train_on_batch(images.numpy(), labels.numpy())

    def _real_batches(self) -> Iterator:
        settings = self.settings
        batches = pipeline(
            self.real, batch_size=settings.net_batch, seed=self.seed, augmentation=settings.training, passes=64
        )
        for epoch in itertools.count():
            seek(round=0, epoch=epoch, only=batches)  # what else is trained meanwhile may have moved it
            yield from batches

    def _fresh_network(self, index: int) -> keras.Model:
        network_seed = int(np.random.default_rng([self.seed, index, 1]).integers(2**31))
        return fresh_network(self.settings.model, self.settings.width, self.real, network_seed)
