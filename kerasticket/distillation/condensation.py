"""DC and DSA (Zhao et al. 2021, Zhao & Bilen 2021) as settings of gradient matching."""

import dataclasses
from typing import Any

from kerasticket.data import Augmentation
from kerasticket.distillation.matching import GradientMatching


def dc(ipc: int, **changes: Any) -> GradientMatching:
    """DC, "Dataset Condensation with Gradient Matching" (Zhao et al. 2021), in its authors' settings but one.

    Noise becomes images without augmentation; a network is matched and trained on them in turns. Here images stay in
    [0, 1], cut after each step, where the authors let normalized pixels run free: their published set loses 2 points
    of accuracy when it is cut so.

    Args:
        ipc: images per class, which says how long each network is matched and trained.
        changes: fields of `GradientMatching` that shall differ.

    Raises:
        ValueError: `ipc` is below 1, or a change is out of range.

    Example:

    >>> dc(10).iterations, dc(10).synthetic_passes
    (10, 50)
    """
    if ipc < 1:
        raise ValueError(f"Expected ipc >= 1. Received: ipc={ipc}")
    matched, trained = LOOPS[max(known for known in LOOPS if known <= ipc)]
    settings: dict[str, Any] = {
        "factor": 1,
        "initialization": "noise",
        "networks": 1000,
        "iterations": matched,
        "learning_rate": 0.1,
        "normalized_rate": True,
        "together": True,
        "classifier": True,
        "distance": "cosine",
        "real_batch": 256,
        "decoded_batch": 10**9,
        "net_images": 0,
        "synthetic_passes": trained,
        "net_batch": 256,
        "net_momentum": 0.0,
        "net_l2": 0.0,
        "matching": Augmentation(siamese=True),
        "training": None,
    }
    return GradientMatching(**(settings | changes))


def dsa(ipc: int, **changes: Any) -> GradientMatching:
    """DSA, "Dataset Condensation with Differentiable Siamese Augmentation" (Zhao & Bilen 2021).

    DC that begins with real images and augments. Theirs draws one of six operations; here, all of IDC's
    matching augmentation and the mirror apply at once.

    Example:

    >>> dsa(1).initialization, dsa(1).matching.flip
    ('random', True)
    """
    training = Augmentation(flip=True, color=True, one_of=("crop",), cutout=True)
    matching = dataclasses.replace(training, siamese=True)
    return dc(ipc, **({"initialization": "random", "matching": matching, "training": training} | changes))


# DC's `get_loops`: from images per class to (matching steps per network, passes over the synthetic images after
# each of them).
LOOPS = {1: (1, 1), 10: (10, 50), 20: (20, 25), 30: (30, 20), 40: (40, 15), 50: (50, 10)}
