"""What a distillation begins with: real images, IDC's tiles of small real images, or noise."""

import dataclasses

import numpy as np

from kerasticket.checks import check_choice
from kerasticket.data import Augmentation, DistilledSet, ImageSet, mix, random_real

INITIALIZATIONS = ("mix", "random", "noise")


def check_matching(augmentation: Augmentation, *, siamese: bool = True) -> None:
    """Raises ValueError unless real and synthetic images can pass through this augmentation in the same way.

    They are normalized and differentiated: what acts on images in [0, 1], and CutMix, would be left out in silence.
    """
    if augmentation.cutmix or augmentation.unit_steps:
        raise ValueError(
            "Expected a matching augmentation of flip, color, moves and cutout, the operations on normalized "
            f"images. Received: {augmentation}"
        )
    if siamese and not augmentation.siamese:
        raise ValueError("Matching needs one draw for real and synthetic images: pass siamese=True.")


def starting_images(
    images: ImageSet, ipc: int, seed: int, *, initialization: str = "mix", factor: int = 1, resize: str = "nearest"
) -> DistilledSet:
    """The images before the first step.

    Args:
        images: real training images.
        ipc: stored images per class.
        seed: of the choice ("random") or of the noise; "mix" takes the first images of each class, as IDC.
        initialization: "mix" (factor x factor shrunk real images in each stored one), "random" (real images), or
            "noise" (N(.5, .25^2), cut to [0, 1]).
        factor: multi-formation cells per side.
        resize: how "mix" shrinks real images, "nearest" as IDC, "area" or "bilinear".

    Raises:
        ValueError: a class has too few images, or the factor does not fit the image size.
    """
    check_choice(initialization, INITIALIZATIONS, "initialization")
    if initialization == "mix":
        return mix(images, ipc, factor, method=resize)
    real = dataclasses.replace(random_real(images, ipc, seed), factor=factor)
    if initialization == "random":
        return real
    noise = np.random.default_rng([seed, 0]).normal(0.5, 0.25, real.images.shape)
    return dataclasses.replace(real, method="noise", images=np.clip(noise, 0, 1).astype(np.float32))
