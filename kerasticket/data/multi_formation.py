"""Multi-formation (IDC, Kim et al. 2022, section 4): one stored image holds factor x factor smaller ones."""

import numpy as np

from kerasticket.data.augmentation.resize import resize

# What IDC puts around an image whose side is no multiple of the factor (distillation.md A.1).
PAD_VALUE = 0.5


def cell_size(side: int, factor: int) -> int:
    """Pixels of a cell's side: side / factor, rounded up.

    Raises:
        ValueError: if factor is below 1, or so large that the last row of cells would hold no pixel.
    """
    if factor < 1 or (factor - 1) * -(-side // factor) >= side:
        raise ValueError(
            f"factor must be at least 1 and leave pixels for every cell of {side} pixels. Received: {factor}"
        )
    return -(-side // factor)


def decode_cells(xp, images, factor: int):
    """Every cell of every image, enlarged to full size; differentiable in the array namespace `xp`.

    Cells are enlarged bilinearly with half-pixel centers (torch: align_corners=False), each by itself.
    Images whose sides are no multiple of the factor are first padded with .5 at the bottom and on the
    right.

    Args:
        xp: `numpy` or `keras.ops`.
        images: floating point, (n, height, width, channels), with static height and width.
        factor: cells per side.

    Returns:
        (factor * factor * n, height, width, channels), *cell-major*: first the top left cell of all n
        images, then the next cell of the same row, and so on. With one class as input this is IDC's order
        of that class; from several classes at once, reshape to (factor * factor, n, ...) to pick a class.

    Example:
        >>> images = np.zeros((3, 16, 16, 1), np.float32)
        >>> decode_cells(np, images, 2).shape
        (12, 16, 16, 1)
    """
    if factor == 1:
        return images
    height, width, channels = images.shape[1:]
    rows, columns = cell_size(height, factor), cell_size(width, factor)
    padding = ((0, 0), (0, rows * factor - height), (0, columns * factor - width), (0, 0))
    padded = xp.pad(images, padding, constant_values=PAD_VALUE) if np.any(padding) else images
    split = xp.reshape(padded, (-1, factor, rows, factor, columns, channels))
    cells = xp.reshape(xp.transpose(split, (1, 3, 0, 2, 4, 5)), (-1, rows, columns, channels))
    return resize(xp, cells, height, width)


def tile_cells(cells: np.ndarray, factor: int, method: str = "nearest") -> np.ndarray:
    """The reverse for starting values: factor * factor * n full images, shrunk and tiled into n.

    Args:
        cells: float32, (factor * factor * n, height, width, channels), cell-major as `decode_cells` returns
            them.
        factor: cells per side.
        method: how to shrink, a name of `RESIZE`; IDC uses "nearest".

    Returns:
        float32, (n, height, width, channels). Where the factor does not divide a side, the last cells are
        smaller.
    """
    height, width = cells.shape[1:3]
    rows, columns = cell_size(height, factor), cell_size(width, factor)
    groups = cells.reshape(factor, factor, -1, *cells.shape[1:])
    tiled = np.empty(groups.shape[2:], np.float32)
    for i, j in np.ndindex(factor, factor):
        window = tiled[:, i * rows : (i + 1) * rows, j * columns : (j + 1) * columns]
        window[...] = resize(np, groups[i, j], window.shape[1], window.shape[2], method)
    return tiled
