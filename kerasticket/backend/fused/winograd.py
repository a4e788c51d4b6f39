"""Convolutions of 3x3 kernels on TensorFlow's CPUs by Winograd's algorithm F(4x4, 3x3) (Lavin & Gray 2016, section 4).

Windows of 6x6 pixels, 4 apart, and the kernels are transformed, so that 36 multiplications give the 4x4 outputs of a
window that take 144 otherwise: 36 matrix products, which oneDNN does. The transforms are element-wise clusters
(see `xla.py`). All are linear, so the gradient of each is its transposed one, and derivatives of any order follow.
"""

import numpy as np
import tensorflow as tf

from kerasticket.backend.fused.xla import cluster

SIDE, STEP = 6, 4  # of the windows
# Those of the literature, 0, 1, -1, 2 and -2, round twice as much. Multiples of 1/8, so that `_WINDOW` is exact.
POINTS = (0, 5 / 8, -5 / 8, 3 / 2, -3 / 2)


def _matrices() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Toom-Cook's matrices W, K and O: O @ ((K @ kernel) * (W @ window)) are the 4 outputs along one axis.

    The last of the six evaluations is at infinity.
    """
    powers = np.vander(POINTS, STEP, increasing=True)
    differences = np.subtract.outer(POINTS, POINTS) + np.eye(len(POINTS))
    window = np.zeros((SIDE, SIDE))
    for i in range(len(POINTS)):
        window[i, :-1] = np.poly(np.delete(POINTS, i))[::-1]
    window[-1] = np.poly(POINTS)[::-1]
    kernel = np.vstack([powers[:, :3] / differences.prod(1)[:, None], np.eye(3)[2]])
    return window, kernel, np.vstack([powers, np.eye(STEP)[-1]]).T


_WINDOW, _KERNEL, _OUTPUT = _matrices()


def convolution(x, kernel):
    """Stride 1, padding "same".

    Args:
        x: (batch, height, width, channels), both sides known multiples of 4; float32.
        kernel: (3, 3, channels, filters); float32.
    """
    windows, height = _transformed_windows(x), x.shape[1] // STEP
    products = tf.matmul(tf.reshape(windows, (SIDE**2, -1, x.shape[3])), _transformed_kernel(kernel))
    shape = (SIDE, SIDE, -1, height, x.shape[2] // STEP, kernel.shape[3])
    return _outputs(tf.reshape(products, shape))


def _transformed_kernel(kernel):
    """(36, channels, filters)."""
    both = tf.constant(np.kron(_KERNEL, _KERNEL), kernel.dtype)
    return tf.reshape(both @ tf.reshape(kernel, (9, -1)), (SIDE**2, *kernel.shape[2:]))


def _transformed_windows(x):
    """(6, 6, batch, height / 4, width / 4, channels)."""
    return _linear(x, _windows, _windows_transposed)


def _outputs(products):
    """(batch, height, width, filters)."""
    return _linear(products, _tiles, _tiles_transposed)


def _linear(x, function, transposed):
    """function(x), whose gradient is transposed(gradient), whose gradient is function(gradient), and so on."""

    @tf.custom_gradient
    def apply(x):
        y = function(x)
        return y, lambda slope: _linear(tf.ensure_shape(slope, y.shape), transposed, function)

    return apply(x)


def _windows(x):
    padded = tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]])
    return _window_columns(_window_rows(padded))


@cluster
def _window_rows(padded):
    last = padded.shape[1] - SIDE
    return _combined(_WINDOW, [padded[:, i : last + i + 1 : STEP] for i in range(SIDE)], 0)


@cluster
def _window_columns(rows):
    last = rows.shape[3] - SIDE
    return _combined(_WINDOW, [rows[:, :, :, i : last + i + 1 : STEP] for i in range(SIDE)], 1)


def _windows_transposed(windows):
    rows = _merged(_pixel_columns(windows), 3)
    return _merged(_pixel_rows(rows), 1)


@cluster
def _pixel_columns(windows):
    return _overlaid(tf.unstack(windows, axis=1), 3)


@cluster
def _pixel_rows(rows):
    return _overlaid(tf.unstack(rows), 1)


def _overlaid(terms, axis: int):
    """Sums over the windows that hold each pixel: the four of a window's own tile on a new axis behind `axis`."""
    before, *own, behind = _combinations(_WINDOW.T, terms)
    own[0] += _moved(behind, axis, 1)
    own[-1] += _moved(before, axis, -1)
    return tf.stack(own, axis + 1)


def _moved(x, axis: int, by: int):
    """Each tile's values at the next tile (1) or the one before (-1), zeros at the edge."""
    others = x.shape[axis] - 1
    if by > 0:
        rest, last = tf.split(x, [others, 1], axis)
        return tf.concat([tf.zeros_like(last), rest], axis)
    first, rest = tf.split(x, [1, others], axis)
    return tf.concat([rest, tf.zeros_like(first)], axis)


def _tiles(products):
    rows = _merged(_tile_columns(products), 3)
    return _merged(_tile_rows(rows), 1)


@cluster
def _tile_columns(products):
    return _combined(_OUTPUT, tf.unstack(products, axis=1), 4)


@cluster
def _tile_rows(rows):
    return _combined(_OUTPUT, tf.unstack(rows), 2)


def _tiles_transposed(slope):
    return _spread_columns(_split(_spread_rows(_split(slope, 1)), 3))


@cluster
def _spread_rows(slope):
    return _combined(_OUTPUT.T, tf.unstack(slope, axis=2), 0)


@cluster
def _spread_columns(rows):
    return _combined(_OUTPUT.T, tf.unstack(rows, axis=4), 1)


def _combined(matrix: np.ndarray, terms, axis: int):
    """matrix @ terms as one loop, on a new axis."""
    shape = [-1 if each == axis else 1 for each in range(len(terms[0].shape) + 1)]
    columns = [tf.constant(column.reshape(shape), terms[0].dtype) for column in matrix.T]
    return tf.add_n([column * tf.expand_dims(term, axis) for column, term in zip(columns, terms, strict=True)])


def _combinations(matrix: np.ndarray, terms) -> list:
    """The same, each row by itself, without the zeros."""
    pairs = [[(factor, term) for factor, term in zip(row, terms, strict=True) if factor] for row in matrix]
    return [tf.add_n([tf.constant(factor, term.dtype) * term for factor, term in row]) for row in pairs]


def _split(x, axis: int):
    """`axis` as tiles of four."""
    shape = [-1 if size is None else size for size in x.shape]
    return tf.reshape(x, [*shape[:axis], shape[axis] // STEP, STEP, *shape[axis + 1 :]])


def _merged(x, axis: int):
    """`axis` and the one behind it as one."""
    shape = [-1 if size is None else size for size in x.shape]
    return tf.reshape(x, [*shape[:axis], shape[axis] * shape[axis + 1], *shape[axis + 2 :]])
