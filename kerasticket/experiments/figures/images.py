"""Grids of images."""

import numpy as np
from matplotlib.figure import Figure


def image_grid(images: np.ndarray, columns: int) -> Figure:
    """Images in rows of `columns`, without axes.

    Args:
        images: (n, height, width, 1 or 3) in [0, 1].
        columns: images per row; a distilled set has one class per row if this is its images per class.
    """
    rows = -(-len(images) // columns)
    figure = Figure(figsize=(0.6 * columns, 0.6 * rows))
    for index, image in enumerate(images):
        row, column = divmod(index, columns)
        axes = figure.add_axes((column / columns, 1 - (row + 1) / rows, 0.97 / columns, 0.97 / rows))
        axes.imshow(image.squeeze(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        axes.axis("off")
    return figure
