"""Configurations of distilled pruning: one flat dataclass and one dict of presets.

Nothing here imports Keras, so `--help` is instant.
"""

import dataclasses
from typing import Any

# What may differ between two calls: none of it changes a result that is finished.
FREE = ("out", "data_dir", "force", "init_seeds", "data_orders", "rounds", "kinds", "train_rounds", "keep_trained")
SEARCHED = ("imp", "synthetic")  # kinds of ticket that iterative pruning finds, in the order of the searches


@dataclasses.dataclass(frozen=True)
class Config:
    """What decides the results of a run; every field is a flag."""

    dataset: str = "digits"
    """Name for kerasticket.data.load, folder:PATH with a folder per class, or npz:FILE with arrays."""
    distilled: str = "assets/distilled/digits_ipc10.h5"
    """Distilled set (HDF5) for the inner loop."""
    out: str = "runs/digits"
    """Folder of the run; the same command again continues it."""
    data_dir: str | None = None
    """TensorFlow Datasets folder; default: TFDS_DATA_DIR, then TFDS' own."""
    images_per_class: int | None = None
    """Real training images per class; default: all."""
    image_size: int | None = None
    """Side of the images; default: the data set's."""
    model: str = "convnet"
    """A name in kerasticket.models.MODELS, or module:function of a function that gives a built Keras model."""
    width: int | None = 16
    """Filters of a ConvNet; other networks have none to choose."""
    init_seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds of the initial weights."""
    data_orders: tuple[int, ...] = (1,)
    """Seeds of order, augmentation and CutMix; each ticket is trained once per data order."""
    rounds: int = 10
    """Rounds of pruning, counted from the dense network."""
    fraction: float = 0.2
    """Share of the remaining weights that a round prunes."""
    rewind_epoch: int = 0
    """IMP rewinds to this epoch of the real training; synthetic tickets always to initialization."""
    rewind_scope: str = "all"
    """"all", or "kernels" as in the code of the paper's authors."""
    scope: str = "global"
    criterion: str = "magnitude"
    start: str | None = None
    """Ticket file to start everything from (the paper's syn8, then IMP); takes one init seed. Random masks are then
    drawn within it, and images used count from there."""
    kinds: tuple[str, ...] = ("imp", "synthetic", "random")
    """Kinds of subnetwork to find and compare."""
    train_rounds: tuple[int, ...] | None = None
    """Rounds whose tickets are trained on real data; default: all. The network at the start always is."""
    epochs: int = 12
    """Passes over the real data per training."""
    distilled_epochs: int = 40
    """Passes over the distilled data per round."""
    batch_size: int = 64
    learning_rate: float = 0.03
    distilled_learning_rate: float = 0.03
    momentum: float = 0.9
    l2: float = 5e-4
    augmentation: str = "digits"
    """none, or a name in kerasticket.data.RECIPES."""
    precision: str = "float32"
    """Keras' dtype policy: "float32" or "mixed_bfloat16", which is faster on CPUs with AMX and on GPUs."""
    keep_trained: bool = True
    """Keep the trained networks too (for instability analysis), not just their metrics."""
    force: bool = False
    """Delete the run in --out and start again."""

    def replace(self, **changes: Any) -> "Config":
        """The same with other values.

        >>> Config().replace(rounds=3).rounds
        3
        """
        return dataclasses.replace(self, **changes)


_CIFAR = Config(
    dataset="cifar10",
    distilled="assets/distilled/cifar10_ipc10.h5",
    out="runs/cifar10-paper",
    width=128,
    init_seeds=(0, 1, 2, 3),
    data_orders=(1, 2),
    epochs=300,
    distilled_epochs=1000,
    learning_rate=0.01,
    distilled_learning_rate=0.01,
    augmentation="paper-cifar",
)

_CIFAR_CPU = dataclasses.replace(
    _CIFAR,
    out="runs/cifar10-cpu",
    images_per_class=1000,
    width=32,
    init_seeds=(0,),
    data_orders=(1,),
    rounds=9,
    train_rounds=(4, 9),
    epochs=20,
    distilled_epochs=300,
)

CONFIGS: dict[str, Config] = {
    "digits": Config(),
    "cifar10-cpu": _CIFAR_CPU,
    # At this rate the dense network and IMP's tickets are unstable after 20 epochs too, and all still learn.
    "cifar10-cpu-stability": dataclasses.replace(
        _CIFAR_CPU, out="runs/cifar10-cpu-stability", learning_rate=0.1, init_seeds=(0, 1), data_orders=(1, 2, 3)
    ),
    "cifar10-paper": _CIFAR,
    "cifar10-resnet18-paper": dataclasses.replace(
        _CIFAR, out="runs/cifar10-resnet18-paper", model="resnet18", width=None, data_orders=(1,)
    ),
    "imagenette": dataclasses.replace(
        _CIFAR,
        dataset="imagenette",
        distilled="runs/distilled/imagenette_ipc10.h5",
        out="runs/imagenette",
        model="resnet10_imagenet",
        width=None,
        image_size=128,
        distilled_epochs=1500,
        augmentation="paper-imagenet",
    ),
}

_TENTH = 1 - 0.1**0.1  # of which 7, 10 and 17 rounds prune 80.05, 90.00 and 98.00%

CRITERIA_CONFIGS: dict[str, Config] = {
    name: CONFIGS[name].replace(
        out=f"runs/criteria-{name}",
        rounds=17,
        train_rounds=(7, 10, 17),
        fraction=_TENTH,
        rewind_epoch=1,
        init_seeds=(0, 1, 2),
        kinds=("imp",),
        distilled="none",
        keep_trained=False,
    )
    for name in ("digits", "cifar10-cpu")
}
