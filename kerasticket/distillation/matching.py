"""Gradient matching with multi-formation: IDC (Kim et al. 2022, "Dataset Condensation via Efficient
Synthetic-Data Parameterization"), with DC and DSA (Zhao et al. 2021, Zhao & Bilen 2021) as settings of it.

Images are optimized so that the gradient of a network's loss on them equals its gradient on real images of
the same class, along the path of networks that are trained: on real data (IDC), or on the images (DC, DSA).
"""

import dataclasses
from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops

from kerasticket.backend import autodiff
from kerasticket.data import IDC_TRAINING, MATCHING, Augmentation, DistilledSet, ImageSet, pipeline
from kerasticket.data.augmentation.presets import augment, cutmix, draw
from kerasticket.data.multi_formation import decode_cells
from kerasticket.distillation.initialization import INITIALIZATIONS, check_matching, starting_images
from kerasticket.distillation.method import Method, check_one_of, check_positive, check_rate
from kerasticket.distillation.networks import fresh_helper, network_state, restore_network
from kerasticket.distillation.objectives import DISTANCES, LOSS, OBJECTIVES
from kerasticket.params import Params
from kerasticket.tickets import masking, optimizer_state
from kerasticket.training.optimizers import SGD


@dataclasses.dataclass(frozen=True)
class GradientMatching(Method):
    """IDC's settings; the defaults are those of its authors' code for CIFAR-10 at 10 images per class.

    Attributes:
        factor: multi-formation: a stored image is decoded into factor x factor training images.
        initialization: "mix" (real images in the cells), "random" (real images), "noise".
        resize: how "mix" shrinks real images, "nearest" as IDC, "area" or "bilinear".
        networks: how many fresh networks the images are matched on, one after the other (outer loop).
        iterations: matching steps per network, each over all classes (inner loop).
        learning_rate: of the images, SGD. IDC's base rate for CIFAR (.005) times ipc / 10 times
            (side / 32)^2; in pixels of [0, 1].
        normalized_rate: whether `learning_rate` is of normalized pixels, as in DC and DSA.
        momentum: of the images' SGD.
        together: whether all classes step at once, as in DC and DSA; else one after the other, as in IDC.
        objective: what is compared, a name in `OBJECTIVES`: "gradients" of the loss in kernels, or the mean
            "features" that the last layer gets, which needs no second derivative.
        classifier: whether the gradient of the classifier's kernel is matched too; biases and norms never are.
        distance: a name in `DISTANCES`.
        real_batch: real images per class and step.
        decoded_batch: at most so many decoded images per class and step, chosen at random.
        early_images: real images that a fresh network is trained on before it is matched on: 10 passes in IDC
            on ImageNet-10.
        net_images: real images that the network is trained on after each matching step.
        synthetic_passes: passes over the synthetic images that it is trained on after each matching step.
        net_batch, net_learning_rate, net_momentum, net_l2: of that training.
        matching: augmentation of the matched images, one draw for real and synthetic.
        training: augmentation of the network's training.
        model, width: the network, a name in `kerasticket.models.MODELS`, or "module:function".

    Example:

    >>> import kerasticket as kt
    >>> method = GradientMatching(networks=1, iterations=2, real_batch=4, net_images=64, width=4)
    >>> method.distill(kt.data.load("digits"), ipc=1, seed=0).images.shape
    (10, 16, 16, 1)
    """

    name: ClassVar[str] = "idc"
    extends: ClassVar[str] = "networks"
    factor: int = 2
    initialization: str = "mix"
    resize: str = "nearest"
    networks: int = 2000
    iterations: int = 100
    learning_rate: float = 0.005
    normalized_rate: bool = False
    momentum: float = 0.5
    together: bool = False
    objective: str = "gradients"
    classifier: bool = False
    distance: str = "mse"
    real_batch: int = 64
    decoded_batch: int = 128
    early_images: int = 0
    net_images: int = 2000
    synthetic_passes: int = 0
    net_batch: int = 64
    net_learning_rate: float = 0.01
    net_momentum: float = 0.9
    net_l2: float = 5e-4
    matching: Augmentation = MATCHING
    training: Augmentation | None = IDC_TRAINING
    model: str = "convnet"
    width: int = 128

    def __post_init__(self):
        check_one_of(self, distance=DISTANCES, objective=OBJECTIVES, initialization=INITIALIZATIONS)
        check_rate(self)
        check_positive(self, "factor", "networks", "iterations", "real_batch", "decoded_batch", "net_batch")
        for name in ("net_images", "early_images"):
            if getattr(self, name) < self.net_batch and getattr(self, name) != 0:
                raise ValueError(
                    f"Expected {name} of 0, or at least net_batch={self.net_batch}. "
                    f"Received: {name}={getattr(self, name)}"
                )
        if self.synthetic_passes < 0:
            raise ValueError(f"Expected synthetic_passes >= 0. Received: {self.synthetic_passes}")
        check_matching(self.matching)
        if (self.distance, self.objective) == ("cosine", "features"):
            raise ValueError(
                "Expected distance 'mse' or 'l1' for features: 'cosine' compares the gradients of output units. "
                "Received: distance='cosine', objective='features'"
            )

    @property
    def steps(self) -> int:
        """How often `progress` is called: the matching steps in all."""
        return self.networks * self.iterations

    def start(self, images: ImageSet, ipc: int, seed: int) -> DistilledSet:
        """The images before the first step."""
        return starting_images(
            images, ipc, seed, initialization=self.initialization, factor=self.factor, resize=self.resize
        )

    def begin(self, images: ImageSet, ipc: int, seed: int) -> tuple[DistilledSet, "Matcher"]:
        start = self.start(images, ipc, seed)
        return start, Matcher(self, images, start.images.copy(), ipc, seed)


class Matcher:
    """The images, their momentum, and one network that is drawn anew, trained and matched on."""

    def __init__(self, settings: GradientMatching, real: ImageSet, images: np.ndarray, ipc: int, seed: int):
        self.settings, self.real, self.images, self.ipc, self.seed = settings, real, images, ipc, seed
        self.velocity = np.zeros_like(images)
        self.of_class = [np.flatnonzero(real.labels == label) for label in range(real.num_classes)]
        self.mean, self.std = np.asarray(real.mean, np.float32), np.asarray(real.std, np.float32)
        self.rate = settings.learning_rate * (self.std**2 if settings.normalized_rate else 1)
        self.network = self._fresh_network(0)
        if self.network.non_trainable_variables:
            raise ValueError(
                f"Expected a network without moving statistics, such as 'convnet'. Received: model={settings.model!r}"
            )
        optimizer = SGD(settings.net_learning_rate, momentum=settings.net_momentum, l2=settings.net_l2)
        self.network.compile(optimizer, LOSS)
        optimizer_state.build(self.network)
        self.fresh_optimizer = optimizer_state.fresh_state(self.network)
        self.compared = OBJECTIVES[settings.objective](self.network, settings.classifier)
        self.distance_and_gradient = autodiff.jit(self._distance_and_gradient)
        # Real batches are asked for by number, so that a resumed distillation sees the same.
        self.batches = pipeline(real, batch_size=settings.net_batch, seed=seed, augmentation=settings.training).stream

    def state(self) -> Params:
        return {"images": self.images, "velocity": self.velocity} | network_state(self.network)

    def restore(self, state: Params) -> None:
        self.images, self.velocity = state["images"], state["velocity"]
        restore_network(self.network, state)

    def step(self, index: int) -> float:
        """Matches all classes once, then trains the network; a fresh one every `iterations` steps."""
        number, iteration = divmod(index, self.settings.iterations)
        early = self.settings.early_images // self.settings.net_batch
        each = self.settings.net_images // self.settings.net_batch
        if iteration == 0:
            masking.set_params(self.network, masking.get_params(self._fresh_network(number)))
            optimizer_state.set_state(self.network, self.fresh_optimizer)
            np.clip(self.images, 0, 1, out=self.images)
            self._train_on_real(number * early + index * each, early)
        loss = self._match(np.random.default_rng([self.seed, number, iteration]))
        self._train_on_real((number + 1) * early + index * each, each)
        self._train_on_synthetic(np.random.default_rng([self.seed, number, iteration, 1]))
        return loss

    def _match(self, rng: np.random.Generator) -> float:
        """One step on the images of each class; the mean distance.

        In IDC classes take turns, and the others coast on their momentum meanwhile; in DC all step at once.
        """
        together, distances = np.zeros_like(self.images), []
        for label in range(self.real.num_classes):
            mine = slice(label * self.ipc, (label + 1) * self.ipc)
            distance, gradient = self._match_class(label, rng)
            distances.append(distance)
            if self.settings.together:
                together[mine] = gradient
            else:
                self.velocity *= self.settings.momentum
                self.velocity[mine] += gradient
                self.images -= self.rate * self.velocity
        if self.settings.together:
            self.velocity = self.settings.momentum * self.velocity + together
            self.images -= self.rate * self.velocity
        return float(np.mean(distances))

    def _match_class(self, label: int, rng: np.random.Generator) -> tuple[float, np.ndarray]:
        settings = self.settings
        count = min(settings.real_batch, len(self.of_class[label]))
        chosen = rng.choice(self.of_class[label], count, replace=False)
        decoded = self.ipc * settings.factor**2
        kept = np.sort(rng.choice(decoded, min(decoded, settings.decoded_batch), replace=False))
        parameters = draw(np, settings.matching, lambda *shape: rng.random(shape, np.float32), 1)
        images = self.images[label * self.ipc : (label + 1) * self.ipc]
        real = self.real.to_float(chosen)
        weights = [variable.value for variable in self.network.trainable_variables]
        one_hot = np.eye(self.real.num_classes, dtype=np.float32)[label]
        distance, gradient = self.distance_and_gradient(images, kept, weights, real, one_hot, parameters)
        return float(ops.convert_to_numpy(distance)), ops.convert_to_numpy(gradient)

    def _distance_and_gradient(self, images, kept, weights, real, one_hot, parameters):
        """Distance between what real and synthetic images of a class give, and its derivative in the stored images."""
        distance = DISTANCES[self.settings.distance]

        def of_class(pixels):
            prepared = augment(ops, self.settings.matching, self._normalized(pixels), parameters)
            return self.compared(weights, prepared, ops.broadcast_to(one_hot, (pixels.shape[0], one_hot.shape[0])))

        wanted = [ops.stop_gradient(each) for each in of_class(real)]

        def mismatch(stored):
            decoded = ops.take(decode_cells(ops, stored, self.settings.factor), kept, axis=0)
            pairs = zip(wanted, of_class(decoded), strict=True)
            return sum(distance(*pair) for pair in pairs)

        return autodiff.value_and_gradient(mismatch)(images)

    def _normalized(self, pixels):
        return ops.divide(ops.subtract(pixels, self.mean), self.std)  # torch tensors do not mix with NumPy arrays

    def _train_on_real(self, first: int, count: int) -> None:
        for number in range(first, first + count):
            images, labels = self.batches.batch(0, number, first + count)
            self.network.train_on_batch(images.numpy(), labels.numpy())

    def _train_on_synthetic(self, rng: np.random.Generator) -> None:
        """DC and DSA train the network on the synthetic images alone."""
        if not self.settings.synthetic_passes:
            return
        settings, classes = self.settings, self.real.num_classes
        images = decode_cells(np, np.clip(self.images, 0, 1), settings.factor).astype(np.float32, copy=False)
        images = (images - self.mean) / self.std
        labels = np.tile(np.repeat(np.eye(classes, dtype=np.float32), self.ipc, axis=0), (settings.factor**2, 1))
        for _ in range(settings.synthetic_passes):
            order = rng.permutation(len(images))
            for first in range(0, len(order), settings.net_batch):
                chosen = order[first : first + settings.net_batch]
                self.network.train_on_batch(*augmented(settings.training, images[chosen], labels[chosen], rng))

    def _fresh_network(self, number: int) -> keras.Model:
        network_seed = int(np.random.default_rng([self.seed, number, 1]).integers(2**31))
        return fresh_helper(self.settings.model, self.settings.width, self.real, network_seed)


def augmented(recipe: Augmentation | None, images: np.ndarray, labels: np.ndarray, rng: np.random.Generator):
    """Normalized images and labels of one batch after augmentation, drawn from `rng`."""
    if recipe is None:
        return images, labels
    parameters = draw(np, recipe, lambda *shape: rng.random(shape, np.float32), len(images))
    tensors: tuple[Any, Any] = augment(ops, recipe, ops.convert_to_tensor(images), parameters), labels
    if recipe.cutmix:
        tensors = cutmix(ops, recipe, tensors[0], ops.convert_to_tensor(labels), parameters)
    return tuple(ops.convert_to_numpy(each) for each in tensors)
