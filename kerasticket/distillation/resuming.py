"""What a killed training of one network goes on from: its state each minute, and its accuracy at the end."""

import dataclasses
import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from kerasticket.data import DistilledSet, ImageSet
from kerasticket.data.digest import digest
from kerasticket.distillation.networks import network_state, restore_network
from kerasticket.files.checkpoint import Checkpoint
from kerasticket.tickets import masking
from kerasticket.training.recipe import Recipe

STATE = {"epoch": int, "minutes": float, "accuracy": float | None}


def identity(data: DistilledSet | ImageSet, test, fresh: keras.Model, recipe: Recipe) -> dict[str, Any]:
    """All that decides the accuracies but a network's seed: data, first network, training, and what computes."""
    weights = hashlib.sha256()
    for path, array in masking.get_params(fresh).items():
        weights.update(path.encode() + array.tobytes())
    about = {"data_sha256": digest(data), "factor": getattr(data, "factor", 1), "test_sha256": digest(test)}
    about |= {"mean": data.mean, "std": data.std, "test_mean": test.mean, "test_std": test.std}
    about |= {"network": fresh.name, "fresh_sha256": weights.hexdigest(), "recipe": dataclasses.asdict(recipe)}
    return about | {"backend": keras.config.backend(), "precision": keras.config.dtype_policy().name}


class ResumedTraining(keras.callbacks.Callback):
    """Saves the state of one network in training each minute, if it is to be kept, and tells how far it is.

    Args:
        recipe: of the training.
        seed: of the network.
        identity: of all networks, see `identity`.
        folder: has a file for each network; None: nothing is kept.
        told: called with the passes behind.

    Raises:
        ValueError: the folder is of another training, or of an earlier version.
    """

    def __init__(
        self,
        recipe: Recipe,
        seed: int,
        identity: dict[str, Any],
        folder: str | Path | None = None,
        told: Callable[[int], None] = lambda passes: None,
    ):
        super().__init__()
        self.recipe, self.told = recipe, told
        self.checkpoint = None if folder is None else _checkpoint(Path(folder), identity | {"seed": seed})
        self.saved = None if self.checkpoint is None else self.checkpoint.load()
        self.started = time.monotonic()

    @property
    def result(self) -> tuple[float, float] | None:
        """Accuracy and minutes of a finished network."""
        if self.saved is None or self.saved.state["accuracy"] is None:
            return None
        return self.saved.state["accuracy"], self.saved.state["minutes"]

    def restore(self, model: keras.Model) -> int:
        """Puts back the state of a killed training; how many Keras epochs lie behind it."""
        if self.checkpoint is None or self.saved is None:
            return 0
        try:
            restore_network(model, self.saved.arrays)
        except (ValueError, KeyError) as error:
            raise self.checkpoint.damaged(error) from error
        self.started -= 60 * self.saved.state["minutes"]
        epoch = self.saved.state["epoch"]
        self.told(epoch * self.recipe.passes_per_epoch)
        return epoch

    def on_epoch_end(self, epoch, logs=None):
        if self.checkpoint and self.checkpoint.due:
            state = {"epoch": epoch + 1, "minutes": self._minutes(), "accuracy": None}
            self.checkpoint.save(network_state(self.model), state)
        self.told((epoch + 1) * self.recipe.passes_per_epoch)

    def finish(self, accuracy: float) -> tuple[float, float]:
        """Keeps the accuracy in place of the state; accuracy and minutes."""
        minutes = self._minutes()
        if self.checkpoint:
            self.checkpoint.save({}, {"epoch": self.recipe.keras_epochs, "minutes": minutes, "accuracy": accuracy})
        return accuracy, minutes

    def _minutes(self) -> float:
        return (time.monotonic() - self.started) / 60


def _checkpoint(folder: Path, identity: dict[str, Any]) -> Checkpoint:
    if (folder / "identity.json").exists():
        raise ValueError(
            f"Expected a folder of this version's trainings. Received: '{folder}', of an earlier version, which "
            "cannot be gone on with. Delete it."
        )
    return Checkpoint(folder / f"network_{identity['seed']}.npz", identity, what="training", state=STATE)
