"""Settings of the studies that follow distilled pruning: what each one measures, and where its results go.

Nothing here imports Keras, so `--help` is instant. A field without a default is named without a flag.
"""

import dataclasses
from pathlib import Path

METHODS = ("idc", "dc", "dsa", "dm", "mtt", "tesla", "rded", "selection")


@dataclasses.dataclass(frozen=True)
class PathSettings:
    """Lines between networks of a run: which ones, and how they are walked."""

    run: str
    """Folder of a run of distilled_pruning.py with at least two --data-orders."""
    kinds: tuple[str, ...] = ()
    """imp, synthetic, random; default: all that the run has trained. The dense network always is."""
    rounds: tuple[int, ...] = ()
    """Rounds of pruning; default: all that the run has trained."""
    init_seeds: tuple[int, ...] = ()
    """Seeds of the initial weights; default: all of the run."""
    alphas: int = 11
    """Points on the line between two networks, the ends among them; 11 in the paper, 30 in Frankle et al. 2020."""
    statistics: str = "interpolate"
    """Of batch normalization: "interpolate" as the paper's code, or "reestimate" at each point."""
    out: str | None = None
    """Folder of the results; default: RUN/instability."""


@dataclasses.dataclass(frozen=True)
class RatioSettings:
    """Synthetic over IMP tickets: of which runs."""

    runs: tuple[str, ...]
    """Folders of runs of distilled_pruning.py that instability.py has analyzed."""
    rounds: tuple[int, ...] = ()
    """Rounds of pruning; default: all that have both kinds."""
    statistics: str | None = None
    """Of batch normalization: "interpolate" or "reestimate", where instability.py was run with both."""
    out: str = "runs/ratios"
    """Folder of the results."""


@dataclasses.dataclass(frozen=True)
class PlaneSettings:
    """Surfaces of the loss: through which networks, and how they are drawn."""

    paths: tuple[str, ...]
    """Folder of a run of distilled_pruning.py with four --data-orders; or trained networks (.keras) of one model."""
    kinds: tuple[str, ...] = ()
    """Of a run: imp, synthetic, random; default: all that the run has trained. The dense network always is."""
    rounds: tuple[int, ...] = ()
    """Of a run: rounds of pruning; default: the last one that was trained."""
    init_seeds: tuple[int, ...] = ()
    """Of a run: seeds of the initial weights; default: all."""
    data_orders: tuple[int, ...] = ()
    """Of a run: the trainings w0, w1, ... of each ticket; default: all, in increasing order."""
    plane: str = "paper"
    """"paper" takes four networks, "through_three" three, "random" (two random directions) one."""
    points: int = 2500
    """10,000 in the paper; for a grid a square number."""
    layout: str = "uniform"
    """"uniform" draws the points, as the paper does; "grid"."""
    filter_normalize: bool = True
    """Of random directions: each filter as long as the network's own."""
    statistics: str = "interpolate"
    """Of batch normalization: "interpolate" as the paper's code, or "reestimate" at each point."""
    seed: int = 0
    """Of the points and of random directions."""
    images_per_class: int | None = 100
    """Training images, without augmentation, that the loss is of."""
    dataset: str = "digits"
    """Of .keras files: the data that they were trained on; a run knows its own."""
    image_size: int | None = None
    """Of .keras files: side of the images; default: the data set's."""
    data_dir: str | None = None
    """Of .keras files: TensorFlow Datasets folder; default: TFDS_DATA_DIR, then TFDS' own."""
    out: str | None = None
    """Folder of the results; default: RUN/landscape/PLANE. Needed with .keras files."""
    force: bool = False
    """Delete what is in --out and start again."""


@dataclasses.dataclass(frozen=True)
class CurvatureSettings:
    """Diagonals of the Hessian: of which networks, at how many weights."""

    run: str
    """Folder of a run of distilled_pruning.py."""
    kinds: tuple[str, ...] = ()
    """imp, synthetic, random; default: all that the run has trained. The dense network always is."""
    rounds: tuple[int, ...] = ()
    """Rounds of pruning; default: all that the run has trained."""
    init_seeds: tuple[int, ...] = ()
    """Seeds of the initial weights; default: all of the run."""
    data_orders: tuple[int, ...] = ()
    """Which trainings of each ticket; default: the first."""
    coordinates: int = 2000
    """Surviving weights per network, drawn at random; all of a network that has fewer."""
    images: int = 512
    """Training images, drawn at random; the paper's code takes 64."""
    seed: int = 0
    """Of these draws."""
    out: str | None = None
    """Folder of the results; default: RUN/hessian."""


@dataclasses.dataclass(frozen=True)
class MaskSettings:
    """Masks that are compared with each other."""

    paths: tuple[Path, ...]
    """A run folder of distilled_pruning.py, or two or more ticket files."""
    out: Path | None = None
    """Folder for tables and figures; default: mask_statistics in the run. Ticket files need one."""
    rounds: tuple[int, ...] | None = None
    """Rounds of a run; default: all that have two kinds of ticket."""
    start: Path | None = None
    """The ticket, usually dense, that ticket files were pruned from; a run has its own. Magnitudes need it."""
    trained: bool = True
    """Whether the distances between a run's trained networks are measured."""
    bins: int = 30
    """Of the histograms."""


@dataclasses.dataclass(frozen=True)
class EvaluationSettings:
    """Distilled sets that are measured, and the training that measures them."""

    paths: tuple[str, ...]
    """Files (or folders) of distilled sets."""
    format: str = "kerasticket"
    """Of the files: kerasticket (HDF5), idc, mtt, tesla, dc, dsa, dm, rded, arrays, folder."""
    space: str | None = None
    """Of other projects' files: unit, normalized, zca; default: the format's usual one."""
    factor: int | None = None
    """Of other projects' files: multi-formation cells per side; default: the format's usual one."""
    index: int = -1
    """Of other projects' files: which of the sets of a dc, dsa or dm file."""
    temperature: float | None = None
    """Of other projects' soft labels that are stored as logits; default: they are probabilities."""
    dataset: str = "digits"
    """The real data that were distilled."""
    data_dir: str | None = None
    """TensorFlow Datasets folder; default: TFDS_DATA_DIR, then TFDS' own."""
    image_size: int | None = None
    """Side of the real images; default: the data set's."""
    architectures: tuple[str, ...] = ("convnet3",)
    """Names in kerasticket.distillation.evaluation.ARCHITECTURES, such as convnet3 alexnet resnet10 resnet18."""
    width: int = 32
    """Filters of ConvNets."""
    epochs: int = 300
    """Passes over the decoded set."""
    batch_size: int = 64
    learning_rate: float = 0.01
    augmentation: str = "digits"
    """digits (no mirror, no CutMix), paper-cifar, paper-imagenet, or none."""
    nets: int = 3
    """Fresh networks per row."""
    controls: bool = True
    """Whether random real images are measured too."""
    full_accuracy: float | None = None
    """In [0, 1], of networks trained on all real images, for DD-Ranking's score; default: where we know it."""
    csv: str | None = None
    """File for the results; rows in it stay. Unfinished ones are kept in a folder of its name beside it."""


@dataclasses.dataclass(frozen=True)
class DistillationSettings:
    """What decides a distilled set, and how it is measured; the method has settings of its own."""

    dataset: str = "digits"
    """Name for kerasticket.data.load, or folder:PATH."""
    out: str = "assets/distilled/{dataset}_ipc{ipc}.h5"
    """File to write; {dataset} and {ipc} are filled in. One made from other data or settings is not overwritten."""
    overwrite: bool = False
    """Overwrite --out whatever it was made from."""
    state: str = "runs/distill"
    """Folder for what a killed run goes on from, and for previews on the way."""
    data_dir: str | None = None
    """TensorFlow Datasets folder; default: TFDS_DATA_DIR, then TFDS' own."""
    image_size: int | None = None
    """Side of the images; default: the data set's."""
    images_per_class: int | None = None
    """Real images of each class that are distilled; default: all."""
    ipc: int = 10
    """Stored images per class."""
    seed: int = 0
    precision: str = "float32"
    """Keras' dtype policy of the networks: float32 or mixed_bfloat16."""
    soft_labels: float | None = None
    """Temperature of soft labels by a network trained on the real data; default: the images' classes."""
    teacher_epochs: int = 12
    """Passes over the real data of that network, a ConvNet-3 of 128 filters."""
    nets: int = 5
    """Fresh networks per measured accuracy."""
    test_width: int = 32
    """Filters of the ConvNet-3 that tests."""
    test_epochs: int = 300
    """Passes over the decoded set per test network."""
    test_learning_rate: float = 0.01
    test_precision: str = "float32"
    """Keras' dtype policy of test networks and teacher."""
    augmentation: str = "digits"
    """Of test networks and teacher: digits (no mirror, no CutMix), paper-cifar or paper-imagenet."""


DISTILLATIONS: dict[str, DistillationSettings] = {
    "digits": DistillationSettings(),
    "cifar10-cpu": DistillationSettings(
        dataset="cifar10",
        nets=3,
        test_width=128,
        test_epochs=1000,
        test_precision="mixed_bfloat16",
        augmentation="paper-cifar",
    ),
    "cifar10-paper": DistillationSettings(
        dataset="cifar10",
        out="runs/distilled/{dataset}_paper_ipc{ipc}.h5",
        nets=3,
        test_width=128,
        test_epochs=1000,
        augmentation="paper-cifar",
    ),
}
