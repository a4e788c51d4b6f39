"""The loop of every method that optimizes images: steps, progress, and a file to go on from after a kill."""

import dataclasses
import hashlib
import json
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import keras
import numpy as np

from kerasticket.data import DistilledSet, ImageSet
from kerasticket.data.digest import digest
from kerasticket.files import json_text, typed
from kerasticket.files.arrays import Arrays, with_manifest
from kerasticket.files.atomic import atomic, check_writable
from kerasticket.files.members import BROKEN
from kerasticket.params import Params

# Called after each step with (steps done, the images, the loss of the step).
Progress = Callable[[int, np.ndarray, float], None]
SECONDS_BETWEEN_CHECKPOINTS = 60.0
LATER = "data_sha256"  # which checkpoints of earlier versions lack


class Stepper(Protocol):
    """The state of one distillation, which a step advances; `state` and `restore` say all that steps depend on."""

    images: np.ndarray

    def step(self, index: int) -> float:
        """Step `index`, counted from 0, of the images; the loss before it. A pure function of state and index."""

    def state(self) -> Params:
        """Arrays by name."""

    def restore(self, state: Params) -> None:
        """Puts back what `state` gave."""


def run(
    method: Any,
    start: DistilledSet,
    stepper: Stepper,
    *,
    real: ImageSet,
    steps: int,
    seed: int,
    extends: str,
    progress: Progress | None = None,
    checkpoint: str | Path | None = None,
) -> None:
    """Does all steps.

    Args:
        method: a frozen dataclass of settings.
        start: the images before the first step.
        stepper: does the steps; its images go into the set.
        real: the images that are distilled, whose digest a checkpoint keeps.
        steps: how many there are in all.
        seed: of the distillation, as it is written into the set.
        extends: the field of `method` that may grow between two calls that share a checkpoint, as the first
            steps of a longer distillation are those of a shorter one.
        progress: called after each step.
        checkpoint: a file that is written every minute, and that a later call with the same arguments goes on
            from, to the same images bit for bit. It is left in place at the end.

    Raises:
        ValueError: the checkpoint is of another distillation (the fields are named) or damaged, or cannot be
            written.
        FloatingPointError: a loss is not finite. The checkpoint holds a state from before that.
    """
    identity = _identity(method, start, real, seed, extends) if checkpoint else {}
    first = _resumed(checkpoint, identity, stepper) if checkpoint else 0
    if first > steps:
        raise ValueError(f"Expected at least the {first} steps that '{checkpoint}' has behind it. Received: {steps}.")
    saved = time.monotonic()
    for index in range(first, steps):
        loss = stepper.step(index)
        if not (np.isfinite(loss) and np.isfinite(stepper.images).all()):
            raise FloatingPointError(
                f"The matching loss is {loss} at step {index} of {steps}, or the images are not finite: lower "
                f"learning_rate={getattr(method, 'learning_rate', None)}."
                + (f" '{checkpoint}' holds the last good state that was saved." if checkpoint else "")
            )
        if checkpoint and (time.monotonic() - saved >= SECONDS_BETWEEN_CHECKPOINTS or index + 1 == steps):
            _save(Path(checkpoint), identity, index + 1, stepper)
            saved = time.monotonic()
        if progress:
            progress(index + 1, stepper.images.copy(), loss)


def finished(method: Any, start: DistilledSet, images: np.ndarray, seed: int) -> DistilledSet:
    """The set that a method made: its images, cut to [0, 1] unless whitened, and what they were made with."""
    images = images.astype(np.float32, copy=False) if start.space == "zca" else np.clip(images, 0, 1, dtype=np.float32)
    settings, seeds = dataclasses.asdict(method), {"distillation": seed}
    return dataclasses.replace(start, images=images, method=method.name, settings=settings, seeds=seeds)


def _identity(method: Any, start: DistilledSet, real: ImageSet, seed: int, extends: str) -> dict[str, Any]:
    """All that decides the images."""
    of_start = hashlib.sha256(start.images.tobytes() + start.labels.tobytes()).hexdigest()
    settings = {key: value for key, value in dataclasses.asdict(method).items() if key != extends}
    about = {"method": method.name, "seed": seed, "source": start.source, "start_sha256": of_start}
    about |= {"mean": start.mean, "std": start.std, LATER: digest(real)}
    about |= {"backend": keras.config.backend(), "precision": keras.config.dtype_policy().name}
    return json.loads(json.dumps(about | settings))


def _save(path: Path, identity: dict[str, Any], done: int, stepper: Stepper) -> None:
    arrays: dict[str, Any] = {f"state:{key}": array for key, array in stepper.state().items()}
    about = np.array(json.dumps(identity | {"steps_done": done}))
    with atomic(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, **with_manifest({"about": about, **arrays}))  # type: ignore[arg-type]


def _resumed(checkpoint: str | Path, identity: dict[str, Any], stepper: Stepper) -> int:
    """Restores the stepper from the checkpoint, if there is one; how many steps lie behind it."""
    path = Path(checkpoint)
    check_writable(path.parent)
    if not path.exists():
        return 0
    try:
        with Arrays(path) as file:
            about, arrays = json_text.loads(str(file["about"])), file.all()
        state = {key.removeprefix("state:"): array for key, array in arrays.items() if key != "about"}
        typed.check({"about": about}, {"about": dict[str, Any]}, f"'{path}'")
        done = about.pop("steps_done")
        typed.check({"steps_done": done}, {"steps_done": int}, f"'{path}'")
    except BROKEN as error:
        raise ValueError(f"'{path}' is no checkpoint of a distillation, or damaged: {error}. Delete it.") from error
    if LATER not in about:
        warnings.warn(
            f"'{path}' was written before checkpoints kept a digest of the real data: that they are the same cannot be "
            "checked.",
            stacklevel=2,
        )
        about[LATER] = identity[LATER]
    changed = [key for key in sorted({*about, *identity}) if about.get(key) != identity.get(key)]
    if changed:
        fields = "; ".join(f"{key} was {about.get(key)!r}, is now {identity.get(key)!r}" for key in changed)
        raise ValueError(
            f"'{path}' is of another distillation: {fields}. Go back to the old values, or delete the file."
        )
    try:
        stepper.restore(state)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"'{path}' is the state of another distillation, or damaged: {error}. Delete it.") from error
    return done
