"""`save_weights` and `load_weights` of masked models: files of the dense network, with the masks beside its weights.

Keras finds a layer's weights in a file by its class, so it would look for those of a masked layer under another name
than the dense network's. Masked models are therefore plain while their files are written and read.
"""

import contextlib
import functools
import io
import os
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import keras
import numpy as np

from kerasticket.backend.keras_internals import all_layers, hidden
from kerasticket.layers.composite import plain_kind
from kerasticket.layers.masked import Masked
from kerasticket.masks import Mask
from kerasticket.models.paths import masked_weights
from kerasticket.tickets import masking

MASKS = "kerasticket_masks"  # the group of a file; Keras reads only what it has layers for


def save_weights(write: Callable, model: keras.Model, filepath, *args, **options) -> None:
    """Writes a `.weights.h5` file that the dense network reads as its own; sharded files keep Keras' layout."""
    if (
        not masked_weights(model)
        or not str(filepath).endswith(".weights.h5")
        or args[1:]
        or "max_shard_size" in options
    ):
        write(model, filepath, *args, **options)
        return
    before = _changed(filepath)
    with _plain(model):
        write(model, filepath, *args, **options)
    if _changed(filepath) != before:  # Keras asks whether a file may be overwritten
        with h5py.File(filepath, "a") as file:
            for path, mask in masking.get_mask(model).items():
                file.create_dataset(f"{MASKS}/{path}", data=mask)


def load_weights(read: Callable, model: keras.Model, filepath, *args, **options) -> None:
    """Reads the weights of the masked or the dense network; pruned ones are exactly zero afterwards.

    A file with masks brings them; under one of the dense network the model keeps its own.

    Raises:
        ValueError: a file with masks for weights that have none in the model, or another one's.
    """
    held = masked_weights(model)
    names, masks = _names_and_masks(filepath) if held else ([], {})
    if masks.keys() - held.keys():
        raise ValueError(
            f"Expected masks on the weights that are masked in the model. Received: '{filepath}' with masks for "
            f"{sorted(masks.keys() - held.keys())[:4]}, which are dense here. Mask the model as that one was."
        )
    if not held or (not masks and _by_masked_class(names)):
        read(model, filepath, *args, **options)
    else:
        with _plain(model):
            read(model, filepath, *args, **options)
    if held:
        masking.set_mask(model, masks or masking.get_mask(model))


@contextlib.contextmanager
def _plain(model: keras.Model) -> Iterator[None]:
    """The model without masked classes and masks, for Keras' readers and writers; nothing else may happen inside."""
    layers = [layer for layer in all_layers(model) if plain_kind(layer) is not type(layer)]
    before = [(layer, type(layer)) for layer in layers]
    with contextlib.ExitStack() as masks:
        try:
            for layer in layers:
                held = layer.held if isinstance(layer, Masked) else ()
                masks.enter_context(hidden(layer, [one.mask for one in held]))
                object.__setattr__(layer, "__class__", plain_kind(layer))
            yield
        finally:
            for layer, kind in before:
                object.__setattr__(layer, "__class__", kind)


def _changed(filepath) -> tuple[int, int] | None:
    if not Path(filepath).exists():
        return None
    status = os.stat(filepath)
    return status.st_mtime_ns, status.st_ino


def _names_and_masks(filepath) -> tuple[list[str], Mask]:
    """What an HDF5 file of weights holds, also that in a `.keras` file; nothing of files of other kinds."""
    names: list[str] = []
    with contextlib.ExitStack() as stack:
        if str(filepath).endswith(".keras"):
            archive = stack.enter_context(zipfile.ZipFile(filepath))
            source = io.BytesIO(archive.read("model.weights.h5"))
        elif str(filepath).endswith(".weights.h5") and Path(filepath).is_file():
            source = filepath
        else:
            return [], {}
        file = stack.enter_context(h5py.File(source, "r"))
        file.visit(names.append)
        ours = [name for name in names if name.startswith(f"{MASKS}/") and isinstance(file[name], h5py.Dataset)]
        return names, {name.removeprefix(f"{MASKS}/"): np.array(file[name]) for name in ours}


def _by_masked_class(names: list[str]) -> bool:
    """True for `.keras` files of masked models, and files of weights that were written before they were plain."""
    parts = {part for name in names for part in name.split("/")}
    return any(part.startswith("masked_") or part == "mask" or part.endswith("_mask") for part in parts)


def _knowing_masks(method: Callable, instead: Callable) -> Callable:
    @functools.wraps(method)
    def call(model, filepath, *args, **options):
        return instead(method, model, filepath, *args, **options)

    return call


# Any model may hold masked layers, one from a file or clone too, and Keras has no hook for a layer's place in a file.
keras.Model.save_weights = _knowing_masks(keras.Model.save_weights, save_weights)
keras.Model.load_weights = _knowing_masks(keras.Model.load_weights, load_weights)
