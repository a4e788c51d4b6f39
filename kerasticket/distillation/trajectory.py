"""Trajectory matching: MTT (Cazenavette et al. 2022, "Dataset Distillation by Matching Training Trajectories") and
TESLA, its form of constant memory (Cui et al. 2023, "Scaling Up Dataset Distillation to ImageNet-1K").

Images are optimized so that a few SGD steps on them take a network from where an expert, trained on real images, was
after some epochs to where it was epochs later. The rate of these steps is learned as well.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops

from kerasticket.backend import autodiff
from kerasticket.data import ZCA, Augmentation, DistilledSet, ImageSet
from kerasticket.data.augmentation.presets import augment, draw
from kerasticket.data.multi_formation import decode_cells
from kerasticket.distillation.experts import Expert, record_experts
from kerasticket.distillation.initialization import INITIALIZATIONS, check_matching, starting_images
from kerasticket.distillation.method import Method, check_one_of, check_positive
from kerasticket.distillation.networks import fresh_helper
from kerasticket.distillation.objectives import LOSS
from kerasticket.distillation.student import FORMS, Student
from kerasticket.models.paths import named_variables
from kerasticket.params import Params

# As DSA, with one operation of each kind in a draw; for digits: no flip.
AUGMENTATION = Augmentation(flip=True, color=True, one_of=("crop",), cutout=True)
MATCHING = dataclasses.replace(AUGMENTATION, siamese=True)


@dataclasses.dataclass(frozen=True)
class TrajectoryMatching(Method):
    """MTT's settings; the defaults are those of its authors' for CIFAR-10 at 10 images per class.

    It differs from their code: images that are not whitened stay in [0, 1] (cut after each step), all operations of the
    augmentation apply at once (theirs draws one of six), and batches that do not divide the images leave the rest of a
    pass out.

    Attributes:
        zca: whether all of it happens on whitened images (`kerasticket.data.ZCA`), which networks are then to be
            trained and tested on.
        form: "unrolled" (MTT: the exact gradient) or "constant-memory" (TESLA), a name in `FORMS`.
        factor: multi-formation: a stored image is decoded into factor x factor training images.
        initialization: "random" (real images), "mix" (real images in the cells), "noise".
        resize: how "mix" shrinks real images, "nearest", "area" or "bilinear".
        iterations: steps on the images.
        student_steps: SGD steps of the student in each (N).
        expert_epochs: how far the expert's weights to arrive at are ahead of those to start from (M).
        start_epochs: a student starts where an expert was after one of 0..start_epochs - 1 epochs (T+).
        student_batch: decoded images per step of the student; None: all.
        learning_rate: of the images, SGD, in normalized or whitened pixels.
        momentum: of the images' SGD and of the rate's.
        student_learning_rate: of the student at first. The learned one is in the set's settings as
            "learned_student_rate": networks should be trained on the images with it.
        rate_learning_rate: of that rate; 0: it stays.
        matching: augmentation of the student's steps, drawn for each of them.
        experts: how many networks are trained on real images.
        epochs: of each.
        expert_learning_rate, expert_batch, expert_augmentation, expert_seed: of their training.
        folder: keeps the experts; None: they are trained anew in each call and held in memory. It does not change
            the images, and is not in the set's settings.
        model, width: the network, a name in `kerasticket.models.MODELS`, or "module:function".

    Experts have a seed of their own, so that many sets can be made with them. The loss is below 1 where students end
    nearer to the target than they began; `progress` is not called while experts are recorded, see `record`.

    Raises:
        FloatingPointError: in `distill` also where the student's rate has fallen to 0.

    Example:

    >>> import kerasticket as kt
    >>> method = TrajectoryMatching(
    ...     zca=False, iterations=2, student_steps=2, start_epochs=1, experts=1, epochs=2, width=4,
    ...     matching=kt.data.Augmentation(color=True), expert_augmentation=None,
    ... )
    >>> made = method.distill(kt.data.load("digits", images_per_class=20), ipc=1, seed=0)
    >>> made.images.shape, made.settings["learned_student_rate"] > 0
    ((10, 16, 16, 1), True)
    """

    name: ClassVar[str] = "mtt"
    extends: ClassVar[str] = "iterations"
    zca: bool = True
    form: str = "unrolled"
    factor: int = 1
    initialization: str = "random"
    resize: str = "nearest"
    iterations: int = 5000
    student_steps: int = 30
    expert_epochs: int = 2
    start_epochs: int = 20
    student_batch: int | None = None
    learning_rate: float = 100.0
    momentum: float = 0.5
    student_learning_rate: float = 0.001
    rate_learning_rate: float = 1e-5
    matching: Augmentation = MATCHING
    experts: int = 100
    epochs: int = 50
    expert_learning_rate: float = 0.01
    expert_batch: int = 256
    expert_augmentation: Augmentation | None = AUGMENTATION
    expert_seed: int = 0
    folder: str | None = None
    model: str = "convnet"
    width: int = 128

    def __post_init__(self):
        check_one_of(self, form=FORMS, initialization=INITIALIZATIONS)
        for name in ("learning_rate", "student_learning_rate", "expert_learning_rate"):
            if not getattr(self, name) > 0:
                raise ValueError(f"Expected {name} > 0. Received: {name}={getattr(self, name)}")
        if not (self.rate_learning_rate >= 0 and 0 <= self.momentum < 1):
            raise ValueError(
                "Expected rate_learning_rate >= 0 and momentum in [0, 1). Received: "
                f"rate_learning_rate={self.rate_learning_rate}, momentum={self.momentum}"
            )
        counts = ("factor", "iterations", "student_steps", "expert_epochs", "start_epochs", "experts", "expert_batch")
        check_positive(self, *counts, *(("student_batch",) if self.student_batch is not None else ()))
        self._check_epochs()
        if self.zca and self.factor > 1:
            raise ValueError(
                "Whitened images cannot be taken apart into cells: pass zca=False. "
                f"Received: zca=True, factor={self.factor}"
            )
        check_matching(self.matching, siamese=False)

    def _check_epochs(self) -> None:
        needed = self.start_epochs - 1 + self.expert_epochs
        if needed > self.epochs:
            raise ValueError(
                f"Expected epochs >= {needed}: the last start is after {self.start_epochs - 1} epochs, its target "
                f"expert_epochs={self.expert_epochs} later. Received: epochs={self.epochs}"
            )

    @property
    def settings(self) -> dict[str, Any]:
        """Where experts are kept decides nothing: a folder may be moved between two calls."""
        return dataclasses.asdict(dataclasses.replace(self, folder=None))

    @property
    def steps(self) -> int:
        """How often `progress` is called."""
        return self.iterations

    def start(self, images: ImageSet, ipc: int, seed: int) -> DistilledSet:
        """The images before the first step."""
        return self._start(images, ipc, seed, self._whitening(images))

    def begin(self, images: ImageSet, ipc: int, seed: int) -> tuple[DistilledSet, "_Matcher"]:
        zca = self._whitening(images)
        start = self._start(images, ipc, seed, zca)
        matcher = _Matcher(self, start, seed)
        matcher.experts = self._record(images, zca, None)
        return start, matcher

    def finish(self, made: DistilledSet, stepper: "_Matcher") -> DistilledSet:
        """The set with the learned rate of the student."""
        learned = {"learned_student_rate": float(stepper.rate)}
        return dataclasses.replace(made, settings=made.settings | learned)

    def record(self, images: ImageSet, progress: Callable[[int], None] | None = None) -> list[Expert]:
        """The experts: those in the folder, and new ones where it has none yet.

        Args:
            images: real training images.
            progress: called with the number of experts that there are.
        """
        return self._record(images, self._whitening(images), progress)

    def _whitening(self, images: ImageSet) -> ZCA | None:
        return ZCA.fit(images) if self.zca else None

    def _start(self, images: ImageSet, ipc: int, seed: int, zca: ZCA | None) -> DistilledSet:
        start = starting_images(
            images, ipc, seed, initialization=self.initialization, factor=self.factor, resize=self.resize
        )
        if zca is None:
            return start
        whitened = zca.whitened(start.images)
        return dataclasses.replace(start, images=whitened, mean=(), std=(), space="zca", zca=zca.described)

    def _record(self, images: ImageSet, zca: ZCA | None, progress: Callable[[int], None] | None) -> list[Expert]:
        return record_experts(
            images,
            self.folder,
            count=self.experts,
            epochs=self.epochs,
            zca=zca,
            learning_rate=self.expert_learning_rate,
            batch_size=self.expert_batch,
            model=self.model,
            width=self.width,
            augmentation=self.expert_augmentation,
            seed=self.expert_seed,
            progress=progress,
        )


class _Matcher:
    """The state of one distillation: the images, the student's rate, and the momentum of both."""

    experts: list[Expert]

    def __init__(self, settings: TrajectoryMatching, start: DistilledSet, seed: int):
        self.settings, self.seed, self.images = settings, seed, start.images.copy()
        self.velocity = np.zeros_like(self.images)
        self.rate, self.rate_velocity = settings.student_learning_rate, 0.0
        # Whitened images are as networks take them.
        self.mean, self.std = np.asarray(start.mean or (0,), np.float32), np.asarray(start.std or (1,), np.float32)
        # Cell by cell, as `decode_cells` gives the images.
        self.labels = np.tile(np.eye(start.num_classes, dtype=np.float32)[start.labels], (settings.factor**2, 1))
        if (settings.student_batch or 1) > len(self.labels):
            raise ValueError(
                f"Expected student_batch <= {len(self.labels)}, the decoded images, or None for all of them. "
                f"Received: student_batch={settings.student_batch}"
            )
        network = fresh_helper(settings.model, settings.width, start, seed=0)
        if network.non_trainable_variables:
            raise ValueError(
                f"Expected a network without moving statistics, such as 'convnet'. Received: model={settings.model!r}"
            )
        path_of = {id(variable): path for path, variable in named_variables(network).items()}
        self.paths = [path_of[id(variable)] for variable in network.trainable_variables]
        self.network_loss = autodiff.functional_loss(network, LOSS, training=True)
        self.student = Student(self._loss, settings.form)

    def state(self) -> Params:
        velocities = {"velocity": self.velocity, "rate_velocity": np.asarray(self.rate_velocity)}
        return {"images": self.images, "rate": np.asarray(self.rate)} | velocities

    def restore(self, state: Params) -> None:
        self.images, self.velocity = state["images"], state["velocity"]
        self.rate, self.rate_velocity = float(state["rate"]), float(state["rate_velocity"])

    def step(self, index: int) -> float:
        """One step on images and rate; the loss before it."""
        settings, rng = self.settings, np.random.default_rng([self.seed, index])
        expert = self.experts[rng.integers(settings.experts)]
        epoch = int(rng.integers(settings.start_epochs))
        start, target = (self._ordered(expert[each]) for each in (epoch, epoch + settings.expert_epochs))
        rate = self.images.dtype.type(self.rate)
        loss, *slopes = self.student.match(start, target, self.images, rate, self._batches(rng))
        in_images, in_rate = (ops.convert_to_numpy(slope) for slope in slopes)
        self.velocity = settings.momentum * self.velocity + in_images
        # The rate is of normalized pixels; a gradient in them is std times as large, and so is a step.
        self.images = self.images - settings.learning_rate * self.std**2 * self.velocity
        if not settings.zca:
            self.images = np.clip(self.images, 0, 1)
        self._step_rate(float(in_rate), index)
        return float(ops.convert_to_numpy(loss))

    def _step_rate(self, slope: float, index: int) -> None:
        settings = self.settings
        self.rate_velocity = settings.momentum * self.rate_velocity + slope
        self.rate = self.rate - settings.rate_learning_rate * self.rate_velocity
        if self.rate <= 0:
            raise FloatingPointError(
                f"The student's learning rate is {self.rate} after step {index}: lower "
                f"rate_learning_rate={settings.rate_learning_rate}."
            )

    def _ordered(self, params: Params) -> list:
        return [ops.convert_to_tensor(params[path]) for path in self.paths]

    def _batches(self, rng: np.random.Generator) -> list[dict]:
        """For each step of the student, which images it sees and how they are augmented."""
        count = self.settings.student_batch or len(self.labels)
        positions: list[np.ndarray] = []
        while len(positions) < self.settings.student_steps:
            order = rng.permutation(len(self.labels)).astype(np.int32)
            positions += [order[first : first + count] for first in range(0, len(order) - count + 1, count)]

        def parameters() -> dict:
            return draw(np, self.settings.matching, lambda *shape: rng.random(shape, np.float32), count)

        return [{"chosen": chosen, "parameters": parameters()} for chosen in positions[: self.settings.student_steps]]

    def _loss(self, weights, images, batch):
        """The student's loss on one batch of the decoded images, augmented."""
        decoded = ops.take(decode_cells(ops, images, self.settings.factor), batch["chosen"], axis=0)
        normal = ops.divide(ops.subtract(decoded, self.mean), self.std)
        prepared = augment(ops, self.settings.matching, normal, batch["parameters"])
        targets = ops.take(ops.convert_to_tensor(self.labels), batch["chosen"], axis=0)
        return self.network_loss(weights, prepared, keras.ops.cast(targets, prepared.dtype))
