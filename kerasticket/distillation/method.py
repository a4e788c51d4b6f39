"""What every distillation method is: a record of settings, and one frame in which its steps make a set."""

import abc
import dataclasses
import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, ClassVar, Protocol

import keras
import numpy as np

from kerasticket.checks import check_choice
from kerasticket.data import DistilledSet, ImageSet
from kerasticket.data.digest import digest
from kerasticket.files.checkpoint import Checkpoint
from kerasticket.models.own import builder_of
from kerasticket.params import Params

# Called after each step with (steps done, the images, the loss of the step).
Progress = Callable[[int, np.ndarray, float], None]
STATE = "state:"  # how the names of arrays begin in a checkpoint


class Stepper(Protocol):
    """The state of one distillation, which a step advances; `state` and `restore` say all that steps depend on."""

    images: np.ndarray

    def step(self, index: int) -> float:
        """Step `index`, counted from 0, of the images; the loss before it. A pure function of state and index."""

    def state(self) -> Params:
        """Arrays by name."""

    def restore(self, state: Params) -> None:
        """Puts back what `state` gave."""


@dataclasses.dataclass(frozen=True)
class Method(abc.ABC):
    """The settings of one method, which makes a `DistilledSet` of real images.

    Attributes:
        name: of the method, as it is written into the set.
        extends: the field that may grow between two calls that share a checkpoint, as the first steps of a longer
            distillation are those of a shorter one; "": none.
    """

    name: ClassVar[str]
    extends: ClassVar[str] = ""

    @property
    @abc.abstractmethod
    def steps(self) -> int:
        """How often `progress` is called."""

    @abc.abstractmethod
    def start(self, images: ImageSet, ipc: int, seed: int) -> DistilledSet:
        """The images before the first step, or those that the set is compared with."""

    @abc.abstractmethod
    def begin(self, images: ImageSet, ipc: int, seed: int) -> tuple[DistilledSet, Any]:
        """The images before the first step, and the `Stepper` that does the steps.

        Raises:
            ValueError: the settings and these images do not fit.
        """

    def finish(self, made: DistilledSet, stepper: Any) -> DistilledSet:
        """The set with what the method adds to its images."""
        return made

    @property
    def settings(self) -> dict[str, Any]:
        """All that decides the images, as it is written into the set."""
        return dataclasses.asdict(self)

    def distill(
        self,
        images: ImageSet,
        *,
        ipc: int,
        seed: int,
        progress: Progress | None = None,
        checkpoint: str | Path | None = None,
    ) -> DistilledSet:
        """Distills real images into `ipc` stored images per class; a pure function of the first three arguments.

        Args:
            images: real training images.
            ipc: stored images per class.
            seed: of all that is random: starting images, batches, augmentation, networks.
            progress: called after each of `steps` with (steps done, the images, the loss before the step).
            checkpoint: a file that is written every minute, and that a later call with the same arguments goes on
                from, to the same images bit for bit. It is left in place at the end.

        Raises:
            ValueError: a class has too few images, the settings do not fit the images, or the checkpoint is of another
                distillation (the fields are named) or damaged, or cannot be written.
            FloatingPointError: a loss is not finite. The checkpoint holds a state from before that.
        """
        start, stepper = self.begin(images, ipc, seed)
        kept = None
        if checkpoint:
            identity = self._identity(start, images, seed)
            kept = Checkpoint(checkpoint, identity, what="distillation", state={"steps_done": int})
        for index in range(_resumed(kept, stepper, self.steps), self.steps):
            loss = stepper.step(index)
            self._check_finite(loss, stepper.images, index, kept)
            if kept and (kept.due or index + 1 == self.steps):
                kept.save({f"{STATE}{key}": array for key, array in stepper.state().items()}, {"steps_done": index + 1})
            if progress:
                progress(index + 1, stepper.images.copy(), loss)
        return self.finish(self._made(start, stepper.images, seed), stepper)

    def _made(self, start: DistilledSet, images: np.ndarray, seed: int) -> DistilledSet:
        """The images, cut to [0, 1] unless whitened, and what they were made with."""
        whitened = start.space == "zca"
        images = images.astype(np.float32, copy=False) if whitened else np.clip(images, 0, 1, dtype=np.float32)
        about: dict[str, Any] = {"method": self.name, "settings": self.settings, "seeds": {"distillation": seed}}
        return dataclasses.replace(start, images=images, **about)

    def _identity(self, start: DistilledSet, real: ImageSet, seed: int) -> dict[str, Any]:
        """All that decides the images but what may grow."""
        of_start = hashlib.sha256(start.images.tobytes() + start.labels.tobytes()).hexdigest()
        about = {"method": self.name, "seed": seed, "source": start.source, "start_sha256": of_start}
        about |= {"mean": start.mean, "std": start.std, "data_sha256": digest(real)}
        about |= {"backend": keras.config.backend(), "precision": keras.config.dtype_policy().name}
        return about | {key: value for key, value in self.settings.items() if key != self.extends}

    def _check_finite(self, loss: float, images: np.ndarray, index: int, kept: Checkpoint | None) -> None:
        if not (np.isfinite(loss) and np.isfinite(images).all()):
            raise FloatingPointError(
                f"The matching loss is {loss} at step {index} of {self.steps}, or the images are not finite: lower "
                f"learning_rate={getattr(self, 'learning_rate', None)}."
                + (f" '{kept.path}' holds the last good state that was saved." if kept else "")
            )


def _resumed(kept: Checkpoint | None, stepper: Stepper, steps: int) -> int:
    """Restores the stepper from the checkpoint, if there is one; how many steps lie behind it."""
    saved = kept.load() if kept else None
    if kept is None or saved is None:
        return 0
    try:
        stepper.restore({key.removeprefix(STATE): array for key, array in saved.arrays.items()})
    except (ValueError, KeyError, TypeError) as error:
        raise kept.damaged(error) from error
    done = saved.state["steps_done"]
    if done > steps:
        raise ValueError(f"Expected at least the {done} steps that '{kept.path}' has behind it. Received: {steps}.")
    return done


def check_one_of(settings: Any, **tables: Iterable[str]) -> None:
    """Raises ValueError unless the fields of these names are in the tables, and `model` names a network."""
    for name, known in tables.items():
        check_choice(getattr(settings, name), known, name)
    builder_of(settings.model)


def check_positive(settings: Any, *names: str) -> None:
    """Raises ValueError unless the fields of these names are at least 1."""
    for name in names:
        if getattr(settings, name) < 1:
            raise ValueError(f"Expected {name} >= 1. Received: {name}={getattr(settings, name)}")


def check_rate(settings: Any) -> None:
    """Raises ValueError unless `learning_rate` and `momentum` are those of an SGD that moves."""
    if not (settings.learning_rate > 0 and 0 <= settings.momentum < 1):
        raise ValueError(
            "Expected learning_rate > 0 and momentum in [0, 1). Received: "
            f"learning_rate={settings.learning_rate}, momentum={settings.momentum}"
        )
