"""What the presets of a distillation change in a method's published settings."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import kerasticket as kt
from kerasticket.distillation.method import Method


def method_of(preset: str, method: str, ipc: int) -> Method:
    """A method of `experiments.settings.METHODS` with the settings of a preset; DC and DSA choose loops by `ipc`."""
    makers: dict[str, Callable[..., Any]] = dict(kt.distillation.METHODS)
    makers |= {each.__name__: functools.partial(each, ipc) for each in (kt.distillation.dc, kt.distillation.dsa)}
    makers["tesla"] = functools.partial(kt.distillation.TrajectoryMatching, form="constant-memory")
    return dataclasses.replace(makers[method](), **tuned(preset, method, ipc))


def tuned(preset: str, method: str, ipc: int) -> dict[str, Any]:
    """What a preset changes in a method's published settings; nothing for "cifar10-paper"."""
    matching = kt.data.Augmentation(color=True, one_of=("crop",), siamese=True)  # no cutout on small digits
    digits: dict[str, Any] = {"width": 32}
    small = {"factor": 2, "initialization": "mix", "resize": "area"}
    rounds = {"networks": 20, "iterations": 25, "net_images": 512, "distance": "l1", "learning_rate": 3e-4}
    settings: dict[tuple[str, str], dict[str, Any]] = {
        ("digits", "idc"): digits | small | rounds | {"matching": matching, "training": kt.data.DIGITS},
        ("digits", "dm"): digits | small | {"iterations": 1000, "real_batch": 128, "matching": matching},
        ("digits", "mtt"): digits
        | {
            "zca": False,
            "iterations": 200,
            "student_steps": 20,
            "start_epochs": 8,
            "student_learning_rate": 0.05,
            "learning_rate": 30.0,
            "rate_learning_rate": 1e-4,
            "matching": matching,
            "experts": 20,
            "epochs": 15,
            "expert_learning_rate": 0.05,
            "expert_batch": 64,
            "expert_augmentation": dataclasses.replace(matching, siamese=False),
        },
        ("digits", "rded"): digits | {"factor": 2, "candidates": 50, "smallest_crop": 0.8, "training": kt.data.DIGITS},
        ("digits", "selection"): digits | {"by": "k_center", "networks": 5},
        ("cifar10-cpu", "idc"): {
            "width": 32,
            "networks": 24,
            "iterations": 200,
            "learning_rate": 0.005 * ipc,
            "real_batch": 32,
            "net_images": 512,
            "training": kt.data.PAPER_CIFAR,
        },
    }
    if (preset, method) == ("cifar10-paper", "idc"):
        return {"learning_rate": 0.005 * ipc / 10}
    return settings.get((preset, "mtt" if method == "tesla" else method), {})
