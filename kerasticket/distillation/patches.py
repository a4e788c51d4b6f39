"""RDED (Sun et al. 2024, "On the Diversity and Realism of Distilled Dataset"): crops that a trained network knows.

Nothing is optimized: of random crops of real images, those that a network is surest of are tiled into images, and
get that network's outputs as labels.
"""

import dataclasses
import functools
from typing import ClassVar

import keras
import numpy as np
from keras import ops

from kerasticket.backend import autodiff
from kerasticket.data import Augmentation, DistilledSet, ImageSet, random_real
from kerasticket.data.augmentation.resize import resize
from kerasticket.data.augmentation.transforms import random_resized_crop
from kerasticket.data.images import choose_per_class
from kerasticket.data.multi_formation import cell_size, tile_cells
from kerasticket.data.positions import move
from kerasticket.distillation.method import Method, check_one_of, check_positive
from kerasticket.distillation.networks import fresh_helper, network_state, restore_network
from kerasticket.distillation.soft_labels import soft_labels
from kerasticket.params import Params
from kerasticket.tickets import optimizer_state
from kerasticket.training.recipe import Recipe

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction=None)


@dataclasses.dataclass(frozen=True)
class RealisticPatches(Method):
    """RDED's settings; the defaults are those of its authors' code for CIFAR, but for labels and training.

    It differs from their code: crops are judged as they will be decoded (enlarged to full size), where theirs are
    padded with zeros and never enlarged; soft labels are softmax outputs of each decoded image, computed once,
    where theirs are computed anew for each augmented batch and learned by a divergence at temperature 20.

    Attributes:
        factor: multi-formation: a stored image holds factor x factor crops. 1 in RDED on CIFAR, 2 on ImageNet.
        candidates: real images per class that are looked at, at most those of the smallest class.
        crops: random crops of each; the best one stays.
        smallest_crop: least area of a square crop, as a fraction; the greatest is 1.
        temperature: of the soft labels; None: classes.
        net_epochs, net_learning_rate, training: of the network that judges; passes, SGD, augmentation.
        model, width: that network, a name in `kerasticket.models.MODELS`, or "module:function".

    Steps are the passes of the network's training, and the choice, whose loss is 0. `ipc` * factor^2 is at
    most the candidates of the smallest class.

    Example:

    >>> import kerasticket as kt
    >>> method = RealisticPatches(candidates=10, net_epochs=1, width=4)
    >>> method.distill(kt.data.load("digits"), ipc=2, seed=0).labels.shape
    (20, 10)
    """

    name: ClassVar[str] = "rded"
    factor: int = 1
    candidates: int = 300
    crops: int = 5
    smallest_crop: float = 0.08
    temperature: float | None = 1.0
    net_epochs: int = 12
    net_learning_rate: float = 0.01
    training: Augmentation | None = None
    model: str = "convnet"
    width: int = 128

    def __post_init__(self):
        check_one_of(self)
        check_positive(self, "factor", "candidates", "crops", "net_epochs")
        if not 0 < self.smallest_crop <= 1:
            raise ValueError(f"Expected smallest_crop in (0, 1]. Received: smallest_crop={self.smallest_crop}")
        if self.temperature is not None and not self.temperature > 0:
            raise ValueError(f"Expected temperature > 0, or None for classes. Received: {self.temperature}")

    @property
    def steps(self) -> int:
        """How often `progress` is called."""
        return self.net_epochs + 1

    def start(self, images: ImageSet, ipc: int, seed: int) -> DistilledSet:
        """What it is compared with: random real images."""
        return random_real(images, ipc, seed)

    def begin(self, images: ImageSet, ipc: int, seed: int) -> tuple[DistilledSet, "_Judge"]:
        cell_size(images.input_shape[0], self.factor)
        start = dataclasses.replace(self.start(images, ipc, seed), factor=self.factor)
        smallest = int(np.bincount(images.labels, minlength=images.num_classes).min())
        available, wanted = min(self.candidates, smallest), ipc * self.factor**2
        if not 1 <= wanted <= available:
            raise ValueError(
                f"Expected ipc * factor^2 in 1..{available}, the candidates of the smallest class. "
                f"Received: ipc={ipc}, factor={self.factor}, so {wanted} crops."
            )
        return start, _Judge(self, images, ipc, seed)

    def finish(self, made: DistilledSet, stepper: "_Judge") -> DistilledSet:
        """The set with the network's soft labels, or as it is."""
        return made if self.temperature is None else soft_labels(made, stepper.network, self.temperature)


class _Judge:
    """A network that is trained for some passes and then chooses the crops."""

    def __init__(self, settings: RealisticPatches, real: ImageSet, ipc: int, seed: int):
        self.settings, self.real, self.ipc, self.seed = settings, real, ipc, seed
        self.images = np.zeros((ipc * real.num_classes, *real.input_shape), np.float32)
        self.network = fresh_helper(settings.model, settings.width, real, seed)
        recipe = Recipe(settings.net_epochs, learning_rate=settings.net_learning_rate, augmentation=settings.training)
        self.batches = recipe.pipeline(real, seed)
        recipe.compile(self.network, self.batches)
        optimizer_state.build(self.network)
        count = min(settings.candidates, int(np.bincount(real.labels).min()))
        self.candidates = choose_per_class(real.labels, real.class_names, count, seed)

    def state(self) -> Params:
        return {"images": self.images} | network_state(self.network)

    def restore(self, state: Params) -> None:
        self.images = state["images"]
        restore_network(self.network, state)

    def step(self, index: int) -> float:
        """One pass of training, or the choice."""
        if index == self.settings.net_epochs:
            chosen = [self._best_crops(label) for label in range(self.real.num_classes)]
            self.images = np.concatenate([tile_cells(best, self.settings.factor, "area") for best in chosen])
            return 0.0
        # Not before: on some backends, the first fit of a process takes a batch to build its step.
        guide = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: move(self.batches, 0, epoch))
        done = self.network.fit(
            self.batches, initial_epoch=index, epochs=index + 1, verbose=0, shuffle=False, callbacks=[guide]
        )
        return float(done.history["loss"][0])

    def _best_crops(self, label: int) -> np.ndarray:
        """The ipc * factor^2 crops of lowest loss, of different images, full size, best first."""
        of_class = self.candidates[self.real.labels[self.candidates] == label]
        images = self.real.to_float(of_class)
        rng = np.random.default_rng([self.seed, label])
        losses = np.full(len(images), np.inf)
        best = images
        for _ in range(self.settings.crops):
            crops = self._crops(images, rng)
            loss = self._losses(crops, label)
            better = loss < losses
            best = np.where(better[:, None, None, None], crops, best)
            losses = np.minimum(loss, losses)
        return best[np.argsort(losses, kind="stable")[: self.ipc * self.settings.factor**2]]

    def _crops(self, images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """One random square of each image, enlarged to full size."""
        area = rng.uniform(self.settings.smallest_crop, 1, len(images))
        places = rng.uniform(size=(2, len(images)))
        boxes = np.stack([area, np.zeros(len(images)), *places], axis=1).astype(np.float32)
        return ops.convert_to_numpy(random_resized_crop(ops, ops.convert_to_tensor(images), boxes))

    def _losses(self, crops: np.ndarray, label: int) -> np.ndarray:
        """Cross-entropy of each crop as it will be decoded: shrunk to its cell and enlarged again."""
        height, width = crops.shape[1:3]
        if self.settings.factor > 1:
            rows, columns = (cell_size(side, self.settings.factor) for side in (height, width))
            crops = resize(np, resize(np, crops, rows, columns, "area"), height, width)
        normalized = (crops - np.asarray(self.real.mean, np.float32)) / np.asarray(self.real.std, np.float32)
        return ops.convert_to_numpy(LOSS(np.full(len(crops), label), self._logits(normalized)))

    def _logits(self, images: np.ndarray) -> np.ndarray:
        """The network's outputs in float32. `predict` would take longer to begin than for the few images of a class."""
        variables = self.network.trainable_variables, self.network.non_trainable_variables
        values = [[variable.value for variable in each] for each in variables]
        batches = [images[start : start + 256] for start in range(0, len(images), 256)]
        return np.concatenate([ops.convert_to_numpy(self._forward(*values, batch)) for batch in batches])

    @functools.cached_property
    def _forward(self):
        call = self.network.stateless_call
        return autodiff.jit(lambda *arguments: ops.cast(call(*arguments, training=False)[0], "float32"))
