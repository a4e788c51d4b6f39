"""An augmentation recipe: the operations of `AUGMENTATIONS` that a batch passes through, then CutMix."""

import math
from dataclasses import dataclass
from typing import Any

from kerasticket.data.augmentation.transforms import AUGMENTATIONS, Uniform

COLOR = ("brightness", "saturation", "contrast")
MOVES = ("crop", "scale", "rotate")


@dataclass(frozen=True)
class Augmentation:
    """What happens to a training batch, in this order; `asdict` gives JSON.

    In [0, 1]: random resized crop, jitter, lighting. Then, normalized: flip, color, one of `one_of`,
    cutout (the order of DSA as IDC uses it). Last, on images and labels: CutMix.

    Attributes:
        flip: mirror with probability .5.
        color: brightness, saturation and contrast, all three.
        one_of: one of these is drawn per batch: "crop", "scale", "rotate".
        cutout: zero a box of half the side.
        random_resized_crop: least and greatest area as fractions, or None.
        jitter: greatest relative change of brightness, saturation and contrast in [0, 1]; 0: none.
        lighting: standard deviation of ImageNet's color noise; 0: none.
        cutmix: probability of CutMix per batch (Yun et al. 2019).
        siamese: one draw for the whole batch instead of one per image.

    Raises:
        ValueError: for a value out of range.

    Example:
        >>> Augmentation(flip=True, one_of=("crop",)).steps
        ('flip', 'crop')
    """

    flip: bool = False
    color: bool = False
    one_of: tuple[str, ...] = ()
    cutout: bool = False
    random_resized_crop: tuple[float, float] | None = None
    jitter: float = 0.0
    lighting: float = 0.0
    cutmix: float = 0.0
    siamese: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "one_of", tuple(self.one_of))  # JSON gives lists
        unknown = set(self.one_of) - set(MOVES)
        if unknown or len(set(self.one_of)) != len(self.one_of):
            raise ValueError(f"one_of must name some of {MOVES}, each once. Received: {self.one_of}")
        if not 0 <= self.cutmix <= 1:
            raise ValueError(f"cutmix is a probability, 0 to 1. Received: {self.cutmix}")
        if not (0 <= self.jitter < 1 and 0 <= self.lighting < math.inf):
            raise ValueError(
                f"jitter must lie in [0, 1), lighting be at least 0. Received: {self.jitter}, {self.lighting}"
            )
        if self.random_resized_crop is not None:
            object.__setattr__(self, "random_resized_crop", tuple(self.random_resized_crop))
            low, high = self.random_resized_crop
            if not 0 < low <= high <= 1:
                raise ValueError(f"random_resized_crop needs 0 < least <= greatest <= 1. Received: {(low, high)}")

    @property
    def unit_steps(self) -> tuple[str, ...]:
        """The operations on images in [0, 1], in order."""
        return tuple(name for name in ("random_resized_crop", "jitter", "lighting") if getattr(self, name))

    @property
    def steps(self) -> tuple[str, ...]:
        """The operations on normalized images, in order; of those in `one_of`, only one is applied."""
        return ("flip",) * self.flip + COLOR * self.color + self.one_of + ("cutout",) * self.cutout


def draw(xp, recipe: Augmentation, uniform: Uniform, count) -> dict[str, Any]:
    """All random numbers for one batch of `count` images.

    Args:
        xp: `numpy` with a NumPy generator's `random` as `uniform`, or the TensorFlow namespace with its own.
        recipe: what to draw for.
        uniform: shape -> independent uniform draws from [0, 1), float.
        count: images in the batch; may be a scalar tensor.

    Returns:
        operation -> parameters, with `count` rows, or 1 row if Siamese; "one_of" -> scalar, a position in
        `recipe.one_of`; "cutmix" -> (5,) and "partners" -> (count,), if the recipe has CutMix.
    """
    rows = 1 if recipe.siamese else count
    parameters = {}
    for name in recipe.unit_steps + recipe.steps:
        operation = AUGMENTATIONS[name]
        strength = getattr(recipe, name) if operation.strength is not None else None
        parameters[name] = operation.draw(xp, uniform, rows, strength)
    if recipe.one_of:
        parameters["one_of"] = xp.floor(uniform(1)[0] * len(recipe.one_of))
    if recipe.cutmix:
        parameters["cutmix"] = uniform(4)
        parameters["partners"] = xp.argsort(uniform(count))
    return parameters


def augment_unit(xp, recipe: Augmentation, images, parameters: dict[str, Any]):
    """The operations of `recipe` on images in [0, 1], (n, height, width, channels)."""
    for name in recipe.unit_steps:
        images = AUGMENTATIONS[name].apply(xp, images, parameters[name])
    return images


def augment(xp, recipe: Augmentation, images, parameters: dict[str, Any]):
    """The operations of `recipe` on normalized images, (n, height, width, channels), without CutMix.

    Differentiable with respect to the images. `parameters` are those of `draw`; with one row they apply to
    any number of images, which is how real and synthetic images share a draw (DSA's Siamese augmentation).

    Example:
        >>> import numpy as np
        >>> from keras import ops
        >>> images = ops.ones((4, 16, 16, 3))
        >>> rng = np.random.default_rng(0)
        >>> parameters = draw(np, MATCHING, lambda *shape: rng.random(shape, "float32"), 4)
        >>> tuple(augment(ops, MATCHING, images, parameters).shape)
        (4, 16, 16, 3)
    """
    for name in recipe.steps:
        if name not in recipe.one_of:
            images = AUGMENTATIONS[name].apply(xp, images, parameters[name])
        elif name == recipe.one_of[0]:
            images = _one_of(xp, recipe, images, parameters)
    return images


def _one_of(xp, recipe: Augmentation, images, parameters: dict[str, Any]):
    def branch(name):
        return lambda batch: AUGMENTATIONS[name].apply(xp, batch, parameters[name])

    if len(recipe.one_of) == 1:
        return branch(recipe.one_of[0])(images)
    return xp.switch(xp.cast(parameters["one_of"], "int32"), [branch(name) for name in recipe.one_of], images)


def cutmix(xp, recipe: Augmentation, images, labels, parameters: dict[str, Any]):
    """CutMix (Yun et al. 2019): with probability `recipe.cutmix`, a box of every image comes from a partner.

    The box has the area 1 - lambda with lambda ~ Beta(1, 1), its center is uniform, and it is cut where the
    image ends; labels are mixed by the area that it really has. One box and one lambda serve the whole
    batch.

    Args:
        xp: array namespace.
        recipe: for its probability.
        images: (n, height, width, channels).
        labels: (n, classes), one-hot or soft.
        parameters: those of `draw`, for exactly n images.

    Returns:
        images and labels, mixed or as they were.
    """
    height, width = images.shape[1:3]
    happens, mixed, down, right = (parameters["cutmix"][i] for i in range(4))
    side = xp.where(happens < recipe.cutmix, xp.sqrt(1.0 - mixed), 0.0)
    rows, columns = _interval(xp, side, down, height), _interval(xp, side, right, width)
    box = xp.reshape(rows, (1, height, 1, 1)) * xp.reshape(columns, (1, 1, width, 1))
    share = xp.cast(xp.sum(rows, axis=0) * xp.sum(columns, axis=0) / (height * width), labels.dtype)
    images = xp.where(box > 0.5, xp.take(images, parameters["partners"], axis=0), images)
    return images, labels * (1 - share) + xp.take(labels, parameters["partners"], axis=0) * share


def _interval(xp, side, center, length: int):
    """(length,): 1.0 where a pixel lies in an interval of `side` around `center` (fractions), else 0.0."""
    size = xp.floor(side * length)
    first = xp.floor(center * length) - xp.floor(size / 2)
    pixel = xp.cast(xp.arange(length), "float32")
    inside = xp.logical_and(pixel > first - 0.5, pixel < first + xp.floor(size / 2) * 2 - 0.5)
    return xp.cast(inside, "float32")


# What the paper's authors train CIFAR networks with, on real and on decoded distilled images (protocol.md).
PAPER_CIFAR = Augmentation(flip=True, color=True, one_of=MOVES, cutmix=0.5)
# The same for ImageNet-10.
PAPER_IMAGENET = Augmentation(flip=True, random_resized_crop=(0.5, 1.0), jitter=0.4, lighting=0.1, cutmix=1.0)
# Digits as IDC trains MNIST: a mirrored digit is no digit, and CutMix blurs small ones.
DIGITS = Augmentation(color=True, one_of=MOVES)
# IDC's matching set "color_crop_cutout": one draw for real and synthetic images together.
MATCHING = Augmentation(color=True, one_of=("crop",), cutout=True, siamese=True)
# What IDC trains the networks with that it matches on.
IDC_TRAINING = Augmentation(color=True, one_of=("crop",), cutmix=0.5)

RECIPES = {
    "paper-cifar": PAPER_CIFAR,
    "paper-imagenet": PAPER_IMAGENET,
    "digits": DIGITS,
    "matching": MATCHING,
    "idc-training": IDC_TRAINING,
}
