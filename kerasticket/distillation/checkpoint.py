"""What a killed evaluation goes on from: the accuracies of finished networks, and the one in training.

<folder>/identity.json  network_0.json  network_1.json  training.npz
"""

import dataclasses
import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kerasticket.data import DistilledSet, ImageSet
from kerasticket.data.digest import digest
from kerasticket.distillation.networks import network_state, restore_network
from kerasticket.files import json_text, typed
from kerasticket.files.arrays import Arrays, with_manifest
from kerasticket.files.atomic import atomic, check_writable
from kerasticket.files.json_files import read_json, write_json
from kerasticket.files.members import BROKEN
from kerasticket.tickets import masking
from kerasticket.training.recipe import Recipe

SECONDS_BETWEEN_CHECKPOINTS = 60.0
_STATE = {"seed": int, "epoch": int, "minutes": float}


def identity(data: DistilledSet | ImageSet, test, fresh: keras.Model, recipe: Recipe) -> dict[str, Any]:
    """All that decides the accuracies: data, first network, training, and what computes."""
    weights = hashlib.sha256()
    for path, array in masking.get_params(fresh).items():
        weights.update(path.encode() + array.tobytes())
    about = {"data_sha256": digest(data), "factor": getattr(data, "factor", 1), "test_sha256": digest(test)}
    about |= {"mean": data.mean, "std": data.std, "test_mean": test.mean, "test_std": test.std}
    about |= {"network": fresh.name, "fresh_sha256": weights.hexdigest(), "recipe": dataclasses.asdict(recipe)}
    about |= {"backend": keras.config.backend(), "precision": keras.config.dtype_policy().name}
    return json.loads(json.dumps(about))


class Unfinished:
    """A folder that one evaluation owns.

    Raises:
        ValueError: the folder is of another evaluation (the fields are named), or cannot be written to.
    """

    def __init__(self, folder: Path, identity: dict[str, Any]):
        self.folder = folder
        check_writable(folder)
        known = folder / "identity.json"
        before = read_json(known) if known.exists() else identity
        changed = [key for key in sorted({*before, *identity}) if before.get(key) != identity.get(key)]
        if changed:
            raise ValueError(
                f"'{folder}' holds an unfinished evaluation that differs in {changed}. Finish that one first, or "
                "delete the folder."
            )
        write_json(known, identity)

    def result(self, seed: int) -> tuple[float, float] | None:
        """Accuracy and minutes of a finished network."""
        path = self.folder / f"network_{seed}.json"
        if not path.exists():
            return None
        found = read_json(path)
        typed.check(found, {"accuracy": float, "minutes": float}, f"'{path}'")
        return found["accuracy"], found["minutes"]

    def finish(self, seed: int, accuracy: float, minutes: float) -> None:
        write_json(self.folder / f"network_{seed}.json", {"accuracy": accuracy, "minutes": minutes})

    def save(self, model: keras.Model, about: dict[str, Any]) -> None:
        """Weights and the optimizer's state, of the one network in training."""
        arrays: dict[str, Any] = dict(network_state(model))
        with atomic(self.folder / "training.npz") as temporary, open(temporary, "wb") as file:
            np.savez(file, **with_manifest({"about": np.array(json.dumps(about)), **arrays}))  # type: ignore[arg-type]

    def load(self, model: keras.Model, seed: int) -> dict[str, Any] | None:
        """What `save` was given, if it was of this network, whose state the model then has."""
        path = self.folder / "training.npz"
        if not path.exists():
            return None
        try:
            with Arrays(path) as file:
                arrays = file.all()
            about = json_text.loads(str(arrays.pop("about")))
            typed.check({"about": about}, {"about": dict[str, Any]}, f"'{path}'")
            typed.check({name: about.get(name) for name in _STATE}, _STATE, f"'{path}'")
        except BROKEN as error:
            raise ValueError(f"'{path}' is no state of a training, or damaged: {error}. Delete it.") from error
        if about["seed"] != seed:
            return None
        try:
            if any(array.dtype.kind in "SU" for array in arrays.values()):
                raise ValueError("text in the place of numbers")
            restore_network(model, arrays)
        except (ValueError, KeyError) as error:
            raise ValueError(f"'{path}' is the state of another network, or damaged: {error}. Delete it.") from error
        return about


class Checkpoint(keras.callbacks.Callback):
    """Saves the state of one network in training each minute, if it is to be kept, and tells how far it is."""

    def __init__(self, recipe: Recipe, seed: int, kept: Unfinished | None, told: Callable[[int], None]):
        super().__init__()
        self.recipe, self.seed, self.kept, self.told = recipe, seed, kept, told
        self.result = kept.result(seed) if kept else None
        self.started = self.saved = time.monotonic()

    def restore(self, model: keras.Model) -> int:
        """Puts back the state of a killed training; how many Keras epochs lie behind it."""
        about = self.kept.load(model, self.seed) if self.kept else None
        if about is None:
            return 0
        self.started -= 60 * about["minutes"]
        self.told(about["epoch"] * self.recipe.passes_per_epoch)
        return about["epoch"]

    def on_epoch_end(self, epoch, logs=None):
        if self.kept and time.monotonic() - self.saved >= SECONDS_BETWEEN_CHECKPOINTS:
            self.kept.save(self.model, {"seed": self.seed, "epoch": epoch + 1, "minutes": self._minutes()})
            self.saved = time.monotonic()
        self.told((epoch + 1) * self.recipe.passes_per_epoch)

    def finish(self, accuracy: float) -> tuple[float, float]:
        minutes = self._minutes()
        if self.kept:
            self.kept.finish(self.seed, accuracy, minutes)
        return accuracy, minutes

    def _minutes(self) -> float:
        return (time.monotonic() - self.started) / 60
