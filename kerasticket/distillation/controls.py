"""What a distilled set's accuracy stands beside: controls at the same storage, all real images, DD-Ranking's score."""

import dataclasses
import math
from typing import TypeVar

import numpy as np

from kerasticket.data import ZCA, DistilledSet, ImageSet, mix, random_real

Images = TypeVar("Images", DistilledSet, ImageSet)
# Of networks trained on all images, by (data set, architecture, width of a ConvNet). CIFAR-10 as published (Zhao &
# Bilen 2021, arXiv 2102.08259, table 1); digits: mean of 3 networks, 300 passes, std .0013.
FULL_ACCURACY: dict[tuple[str, str, int | None], float] = {
    ("cifar10", "convnet3", 128): 0.848,
    ("digits", "convnet3", 32): 0.9975,
}


def controls(data: DistilledSet, real: ImageSet | None, zca: ZCA | None = None) -> dict[str, DistilledSet]:
    """What a set is measured against, at the same storage, in its own space.

    Random real images; for multi-formation 'mix', IDC's starting images (not in ZCA space); for soft labels the same
    images with hard ones.

    Args:
        data: the set; of classes that have different numbers of images, the controls have as many.
        real: the images that were distilled; None for the last control alone.
        zca: the whitening of a set in ZCA space; default: fitted anew.
    """
    found = {"hard_labels": hardened(data)} if data.is_soft else {}
    if real is None:
        return found
    counts = np.bincount(data.hard_labels, minlength=data.num_classes)
    most = int(counts.max())
    if data.space == "zca":
        zca = zca or ZCA.fit(real, data.zca["epsilon"])
        return found | {"random_real": zca.whiten(thinned(real.subset(most, 0), counts))}
    found["random_real"] = thinned(random_real(real, most, 0), counts)
    if data.factor > 1:
        found["mix"] = thinned(mix(real, most, data.factor), counts)
    return found


def thinned(images: Images, counts: np.ndarray) -> Images:
    """As many images of each class as `counts` says, at random; the set itself if those are all of them."""
    rng = np.random.default_rng(0)
    of = [np.flatnonzero(images.labels == label) for label in range(len(counts))]
    if all(len(positions) == count for positions, count in zip(of, counts, strict=True)):
        return images
    pairs = zip(of, counts, strict=True)
    chosen = np.sort(np.concatenate([rng.choice(positions, count, replace=False) for positions, count in pairs]))
    return dataclasses.replace(images, images=images.images[chosen], labels=images.labels[chosen])


def hardened(data: DistilledSet) -> DistilledSet:
    """The set with the most probable class of each image in place of its soft labels."""
    return dataclasses.replace(data, labels=data.hard_labels)


def label_robust_score(*, full: float, hard: float, distilled: float, random: float, weight: float = 0.5) -> float:
    """DD-Ranking's label-robust score (LRS), which takes from a set's accuracy what its soft labels do for any image.

    (e^a - e^-1) / (e - e^-1), a = weight * (distilled - random) - (1 - weight) * (full - hard), by Li et al. 2025,
    arXiv 2505.13300 ("DD-Ranking"): improvement over random, and hard-label recovery. Their leaderboard gives it
    in %; .269 means a = 0.

    Args:
        full: accuracy on all real images.
        hard: accuracy on the distilled images with hard labels.
        distilled, random: accuracies on the distilled and on random real images with the same kind of labels.
        weight: of the first part.

    Raises:
        ValueError: an accuracy or the weight is not in [0, 1]; percents are not.

    Example:

    >>> round(label_robust_score(full=0.848, hard=0.675, distilled=0.675, random=0.31), 4)
    0.3118
    """
    for name, value in {"full": full, "hard": hard, "distilled": distilled, "random": random, "weight": weight}.items():
        if not 0 <= value <= 1:
            raise ValueError(f"Expected {name} in [0, 1]. Received: {name}={value}")
    a = weight * (distilled - random) - (1 - weight) * (full - hard)
    return (math.exp(a) - math.exp(-1)) / (math.e - math.exp(-1))


def full_accuracy(source: str, architecture: str, width: int | None) -> float | None:
    """Of networks trained on all images of a source such as "cifar10:3.0.2/train"; None where nobody has said."""
    return FULL_ACCURACY.get((source.partition(":")[0], architecture, width))
