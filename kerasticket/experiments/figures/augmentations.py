"""Every augmentation on a few images, so that one can look at what a network sees."""

import dataclasses

import numpy as np
from keras import ops
from matplotlib.figure import Figure

from kerasticket.data import MATCHING, PAPER_CIFAR, Augmentation, ImageSet
from kerasticket.data.augmentation import presets
from kerasticket.data.augmentation.transforms import AUGMENTATIONS

# Whole strategies, after the single operations; the last one mixes labels.
STRATEGIES = {
    "all of\nPAPER_CIFAR": PAPER_CIFAR,
    "siamese:\nMATCHING": MATCHING,
    "CutMix": Augmentation(cutmix=1.0),
}


def augmentations(images: ImageSet, *, rows: int = 8, seed: int = 0) -> Figure:
    """A grid of images: a row for each image, a column for each operation of `data.augmentation`.

    Each image has a draw of its own, as in training; "siamese" has one draw for all. Captions of the last column are
    the labels that CutMix gives.

    Args:
        images: the first `rows` of them are drawn.
        rows: how many.
        seed: of the draws.

    Example:
        >>> import kerasticket as kt
        >>> digits = kt.data.load("digits", "test", images_per_class=1)
        >>> figure = kt.figures.augmentations(digits, rows=3)
    """
    count = min(rows, len(images))
    chosen = dataclasses.replace(images, images=images.images[:count], labels=images.labels[:count])
    columns = _operations(chosen, seed)
    for title, strategy in STRATEGIES.items():
        columns[title], labels = _strategy(chosen, strategy, seed)
    captions = [_caption(row, chosen.class_names) for row in labels]  # the last strategy mixes them
    figure = Figure(figsize=(0.95 * len(columns) + 0.8, 0.98 * count + 0.5))
    axes = figure.subplots(count, len(columns), squeeze=False)
    for (title, column), line in zip(columns.items(), axes.T, strict=True):
        line[0].set_title(title, fontsize=8)
        for axis, image in zip(line, column, strict=True):
            axis.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_linewidth(0.4)
    for row in range(count):
        axes[row, 0].set_ylabel(chosen.class_names[chosen.labels[row]], fontsize=8)
        axes[row, -1].yaxis.set_label_position("right")
        axes[row, -1].set_ylabel(captions[row], fontsize=7, rotation=0, ha="left", va="center", labelpad=4)
    figure.subplots_adjust(left=0.045, right=0.93, top=0.93, bottom=0.01, wspace=0.04, hspace=0.04)
    return figure


def _operations(images: ImageSet, seed: int) -> dict[str, np.ndarray]:
    """Title -> images in [0, 1]: as they are, then after each operation alone."""
    names = [name for name in AUGMENTATIONS if name != "lighting" or images.input_shape[-1] == 3]
    drawn = {"original": images.to_float()}
    return drawn | {name.replace("_", "\n"): _operation(images, name, seed + i) for i, name in enumerate(names)}


def _operation(images: ImageSet, name: str, seed: int) -> np.ndarray:
    """One operation with its own draw per image, back in [0, 1]."""
    chosen, rng = AUGMENTATIONS[name], np.random.default_rng(seed)
    drawn = chosen.draw(np, lambda *shape: rng.random(shape, "float32"), len(images), chosen.strength)
    mean, std = (0.0, 1.0) if chosen.unit_space else (images.mean, images.std)
    batch = ops.convert_to_tensor((images.to_float() - mean) / std, "float32")
    batch = chosen.apply(ops, batch, ops.convert_to_tensor(drawn, "float32"))
    return np.clip(ops.convert_to_numpy(batch) * std + mean, 0, 1)


def _strategy(images: ImageSet, strategy: Augmentation, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Augmented images, back in [0, 1], and labels."""
    rng = np.random.default_rng(seed)
    parameters = presets.draw(np, strategy, lambda *shape: rng.random(shape, "float32"), len(images))
    unit = presets.augment_unit(ops, strategy, ops.convert_to_tensor(images.to_float()), parameters)
    mean, std = (np.asarray(each, np.float32) for each in (images.mean, images.std))
    batch = presets.augment(ops, strategy, (unit - mean) / std, parameters)
    labels = ops.one_hot(images.labels, images.num_classes)
    if strategy.cutmix:
        batch, labels = presets.cutmix(ops, strategy, batch, labels, parameters)
    return np.clip(ops.convert_to_numpy(batch) * std + mean, 0, 1), ops.convert_to_numpy(labels)


def _caption(label: np.ndarray, class_names: tuple[str, ...]) -> str:
    """The one or two classes of a mixed label, the larger share first."""
    return "\n".join(f"{100 * label[c]:.0f}% {class_names[c]}" for c in np.argsort(-label)[:2] if label[c] > 0)
