"""The file of a distilled set: where it is written, and whether it may take the place of one that is there."""

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import keras

import kerasticket as kt
from kerasticket.data.images import ImageSet
from kerasticket.distillation.method import Method
from kerasticket.experiments.settings import DistillationSettings

# What may grow between two calls, as a longer distillation begins with a shorter one.
EXTENDS = {"idc": ("networks",), "dm": ("iterations",), "mtt": ("iterations",), "selection": ("networks",)}


def named(dataset: str) -> str:
    """A data set's name as part of a file's."""
    return re.sub(r"[^\w.-]+", "_", dataset)


def path_of(settings: DistillationSettings) -> Path:
    """The file to write."""
    return Path(settings.out.replace("{dataset}", named(settings.dataset)).replace("{ipc}", str(settings.ipc)))


def check_replaceable(
    path: Path, settings: DistillationSettings, method: Method, train: ImageSet, data_sha256: str
) -> None:
    """Raises ValueError if there is a file that these settings would not make again.

    A longer run of the same distillation may replace a shorter one. What files of earlier versions do not say counts as
    the same.
    """
    if not path.exists():
        return
    remedy = "Choose another --out, or pass --overwrite to replace it."
    try:
        old = kt.data.DistilledSet.load(path)
    except ValueError as error:
        raise ValueError(f"'{path}' exists and is no distilled set ({error}). {remedy}") from error
    ours = json.loads(json.dumps(dataclasses.asdict(method)))
    ours |= {"precision": settings.precision, "data_sha256": data_sha256, "backend": keras.config.backend()}
    before = {name: old.settings.get(name, ours[name]) for name in ours}
    before |= {"method": old.method, "source": old.source, "seeds": old.seeds, "stored images": len(old)}
    ours |= {"method": method.name, "source": train.source, "seeds": {"distillation": settings.seed}}
    ours |= {"stored images": settings.ipc * train.num_classes}
    grows = [name for name in ("networks", "iterations") if name in EXTENDS.get(method.name, ())]
    for name in grows:
        if isinstance(before[name], int) and before[name] <= ours[name]:
            before[name] = ours[name]
    labels = old.settings.get("labels") or {}
    before["soft_labels"], ours["soft_labels"] = labels.get("temperature"), softness(settings, method)
    changed = [name for name in ours if name != "folder" and before[name] != ours[name]]
    if changed:
        told = "; ".join(f"{name} was {_short(before[name])}, is now {_short(ours[name])}" for name in changed[:4])
        more = f"; and {len(changed) - 4} more" if len(changed) > 4 else ""
        raise ValueError(f"'{path}' was made from other data or settings: {told}{more}. {remedy}")


def softness(settings: DistillationSettings, method: Method) -> float | None:
    """The temperature that a set will say of its labels, or None."""
    own = getattr(method, "temperature", None)
    return own if settings.soft_labels is None else settings.soft_labels


def _short(value: Any) -> str:
    return text if len(text := repr(value)) < 60 else f"{text[:57]}..."
