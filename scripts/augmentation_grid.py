"""Draws every augmentation on a few real images, so that one can look at what a network sees.

    python scripts/augmentation_grid.py                    # CIFAR-10 where it is present, else digits; 10 seconds
    python scripts/augmentation_grid.py --dataset digits --out digits.png

Each column is one operation with its own draw per image, as training has it; "siamese" has one draw for all.
"""

import argparse
import os

from door import door, program

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf

from kerasticket import data
from kerasticket.data import Augmentation, ImageSet
from kerasticket.data.augmentation import presets
from kerasticket.data.augmentation.transforms import AUGMENTATIONS
from kerasticket.data.tensorflow_ops import tensorflow_namespace

COUNT = 8
# Whole recipes after the single operations.
RECIPES = {
    "all of\nPAPER_CIFAR": data.PAPER_CIFAR,
    "siamese:\nMATCHING": data.MATCHING,
    "CutMix": Augmentation(cutmix=1.0),
}


def load(name: str | None) -> ImageSet:
    """Eight images of different classes from the named set; without a name, the best that needs no download."""
    if name is None:
        try:
            return load("cifar10")
        except ValueError:
            return load("digits")
    whole = data.load(name, "test", images_per_class=1, seed=6, download=False)
    assert isinstance(whole, ImageSet)  # ten images are never streamed
    return ImageSet(whole.images[:COUNT], whole.labels[:COUNT], whole.class_names, whole.source, whole.mean, whole.std)


def apply(images: ImageSet, recipe: Augmentation, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Augmented images, back in [0, 1], and labels."""
    xp, rng = tensorflow_namespace(), np.random.default_rng(seed)
    parameters = presets.draw(np, recipe, lambda *shape: rng.random(shape, "float32"), len(images))
    parameters = {name: tf.constant(np.asarray(value)) for name, value in parameters.items()}
    unit = presets.augment_unit(xp, recipe, tf.constant(images.to_float()), parameters)
    batch = presets.augment(xp, recipe, (unit - images.mean) / images.std, parameters)
    labels = tf.one_hot(images.labels, images.num_classes)
    if recipe.cutmix:
        batch, labels = presets.cutmix(xp, recipe, batch, labels, parameters)
    return np.clip(batch.numpy() * images.std + images.mean, 0, 1), labels.numpy()


def operation(images: ImageSet, name: str, seed: int) -> np.ndarray:
    """One operation with its own draw per image, back in [0, 1]."""
    chosen, rng = AUGMENTATIONS[name], np.random.default_rng(seed)
    drawn = chosen.draw(np, lambda *shape: rng.random(shape, "float32"), len(images), chosen.strength)
    mean, std = (0.0, 1.0) if chosen.unit_space else (images.mean, images.std)
    batch = tf.constant(((images.to_float() - mean) / std).astype(np.float32))
    batch = chosen.apply(tensorflow_namespace(), batch, tf.constant(np.asarray(drawn, np.float32)))
    return np.clip(batch.numpy() * std + mean, 0, 1)


def columns(images: ImageSet, seed: int) -> dict[str, np.ndarray]:
    """Title -> images of each column."""
    names = [name for name in AUGMENTATIONS if name != "lighting" or images.input_shape[-1] == 3]
    drawn = {"original": images.to_float()}
    drawn |= {name.replace("_", "\n"): operation(images, name, seed + i) for i, name in enumerate(names)}
    return drawn | {title: apply(images, recipe, seed)[0] for title, recipe in RECIPES.items()}


def cutmix_captions(images: ImageSet, seed: int) -> list[str]:
    """The mixed label of each image in the last column."""
    labels = apply(images, RECIPES["CutMix"], seed)[1]
    return [
        "\n".join(f"{100 * row[c]:.0f}% {images.class_names[c]}" for c in np.argsort(-row)[:2] if row[c] > 0)
        for row in labels
    ]


def draw(images: ImageSet, seed: int) -> plt.Figure:
    """The grid: a row per image, a column per operation."""
    grid, captions = columns(images, seed), cutmix_captions(images, seed)
    figure, axes = plt.subplots(COUNT, len(grid), figsize=(0.95 * len(grid) + 0.8, 0.98 * COUNT + 0.5))
    for (title, column), line in zip(grid.items(), axes.T, strict=True):
        line[0].set_title(title, fontsize=8)
        for axis, image in zip(line, column, strict=True):
            axis.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_linewidth(0.4)
    for row in range(COUNT):
        axes[row, 0].set_ylabel(images.class_names[images.labels[row]], fontsize=8)
        axes[row, -1].yaxis.set_label_position("right")
        axes[row, -1].set_ylabel(captions[row], fontsize=7, rotation=0, ha="left", va="center", labelpad=4)
    figure.subplots_adjust(left=0.045, right=0.93, top=0.93, bottom=0.01, wspace=0.04, hspace=0.04)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(
        prog=program(), description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", help="a name for kerasticket.data.load; default: cifar10, else digits")
    parser.add_argument("--seed", type=int, default=0, help="of the draws")
    parser.add_argument("--out", default="assets/figures/augmentations.png", help="picture to write")
    arguments = parser.parse_args()
    images = load(arguments.dataset)
    draw(images, arguments.seed).savefig(arguments.out, dpi=110)
    print(f"{arguments.out}: {images.source}")


if __name__ == "__main__":
    with door():
        main()
