"""Masks in `.npz` files, bit-packed, that any program with NumPy reads and writes.

For each masked weight the file has two arrays: `mask|<path>`, uint8, the bits of the mask in row-major order, the
first in the highest bit of the first byte (`numpy.packbits`), and `shape|<path>`, int64. Kernels have Keras' layout:
(in, out) and (height, width, in, out). True is kept. `manifest` tells what was changed since (`files.arrays`). Without
this package:

>>> import tempfile; file = tempfile.mkdtemp() + "/masks.npz"
>>> save_masks(file, {"dense/kernel": np.array([[True, False, True], [False, True, True]])})
>>> masks = {}
>>> with np.load(file) as archive:
...     for path in [name[6:] for name in archive.files if name.startswith("shape|")]:
...         bits, shape = archive["mask|" + path], archive["shape|" + path]
...         masks[path] = np.unpackbits(bits, count=shape.prod()).reshape(shape).astype(bool)
>>> masks["dense/kernel"].astype(int)
array([[1, 0, 1],
       [0, 1, 1]])
"""

from pathlib import Path
from typing import Any

import keras
import numpy as np

from kerasticket.files import limits
from kerasticket.files.arrays import Arrays, with_manifest
from kerasticket.files.atomic import atomic
from kerasticket.masks import Mask, check_masks, pack, unpack
from kerasticket.tickets import masking

BITS, SHAPE = "mask|", "shape|"
MOST_SIDES = 64  # as many as NumPy knows


def save_masks(path: str | Path, source: Any) -> None:
    """Writes masks as an `.npz` file of a bit per weight; format above.

    Args:
        path: ends in `.npz`.
        source: a mask, a ticket or a masked model.

    Raises:
        ValueError: another ending, a source without masks, or a folder that cannot be written to.
    """
    path = checked_path(path)
    mask = mask_of(source)
    arrays = {BITS + name: pack(array) for name, array in mask.items()}
    arrays |= {SHAPE + name: np.array(array.shape, np.int64) for name, array in mask.items()}
    write_arrays(path, arrays)


def load_masks(path: str | Path, *, most_bytes: int | None = None) -> Mask:
    """The masks of an `.npz` file: those that `save_masks` wrote, or one plain array per path, of booleans or 0 and 1.

    `kerasticket.set_mask(model, load_masks(path))` holds a model to them. Python objects in a file are never loaded.

    Args:
        most_bytes: of memory that the masks may take, a byte per weight; default: 768 MiB and four times the file.

    Raises:
        ValueError: no such file, a damaged one, another kind of file, an array that is missing or was changed, or
            values that are no masks.

    >>> import tempfile; file = tempfile.mkdtemp() + "/theirs.npz"
    >>> np.savez(file, **{"dense/kernel": np.array([1.0, 0.0])})
    >>> load_masks(file)
    {'dense/kernel': array([ True, False])}
    """
    arrays = read_arrays(path)
    bits, shapes = (
        {name.removeprefix(prefix) for name in arrays if name.startswith(prefix)} for prefix in (BITS, SHAPE)
    )
    if not bits | shapes:
        return {name: as_mask(array, name) for name, array in _plain(arrays, path).items()}
    check_decoded(path, sum(8 * arrays[BITS + name].size for name in bits), most_bytes)
    return {
        name: unpacked(arrays.get(BITS + name), arrays.get(SHAPE + name), f"mask '{name}' of '{path}'")
        for name in _names(arrays, bits | shapes)
    }


def _names(arrays: dict[str, np.ndarray], paths: set[str]) -> list[str]:
    """Paths in the order of the file."""
    return list(dict.fromkeys(rest for name in arrays if (rest := name.partition("|")[2]) in paths))


def check_decoded(path: str | Path, asked: int, most_bytes: int | None = None) -> None:
    """Raises ValueError where what the packed bits of a file become takes more memory than is believed.

    Args:
        asked: bytes that it takes.
        most_bytes: that are believed; default: 768 MiB and four times the file.
    """
    size = limits.size_of(path)
    believed = 4 * size + limits.DECODED if most_bytes is None else most_bytes
    if asked > believed:
        raise ValueError(
            f"Expected arrays of at most {believed:,} bytes in a file of {size:,}. Received: '{path}', which claims "
            f"{asked:,}. If you trust it, pass most_bytes={asked}."
        )


def checked_path(path: str | Path) -> Path:
    """The path; raises ValueError unless it ends in `.npz`."""
    path = Path(path)
    if path.suffix != ".npz":
        raise ValueError(f"Expected a path that ends in .npz. Received: '{path}'.")
    return path


def write_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Writes an `.npz` file of these arrays and their manifest, compressed, to a temporary name first."""
    with atomic(path) as temporary, open(temporary, "wb") as file:  # given a name, savez may add an ending to it
        np.savez_compressed(file, **with_manifest(arrays))  # type: ignore[arg-type]


def read_arrays(path: str | Path) -> dict[str, np.ndarray]:
    """All arrays of an `.npz` file by name; raises ValueError if there is none, or not one of plain arrays."""
    try:
        with Arrays(path) as archive:
            return archive.all()
    except Exception as error:  # zlib, zipfile and NumPy have their own each
        raise ValueError(
            f"Expected an .npz file of plain arrays. Received: '{path}' ({type(error).__name__}: {error}). It is "
            "absent, damaged, another kind of file, or has Python objects in it, which are never loaded."
        ) from error


def read_plain(path: str | Path) -> dict[str, np.ndarray]:
    """The arrays of another program's `.npz` file; raises ValueError for one of `save_masks` or `save_sparse`."""
    return _plain(read_arrays(path), path)


def _plain(arrays: dict[str, np.ndarray], path: str | Path) -> dict[str, np.ndarray]:
    if any("|" in name for name in arrays):
        raise ValueError(
            f"Expected an .npz file with one array per weight, under its path. Received: '{path}', a file of "
            "kerasticket.save_sparse or save_masks. Pass load_sparse(path).params, or load_masks(path) as the mask."
        )
    return arrays


def as_mask(array: np.ndarray, name: str) -> np.ndarray:
    """Booleans, or numbers that are all 0 or 1, as booleans; raises ValueError for others."""
    array = np.asarray(array)
    if array.dtype == bool:
        return array
    odd = array[~np.isin(array, (0, 1))] if array.dtype.kind in "iuf" else array
    if odd.size or array.dtype.kind not in "iuf":
        raise ValueError(
            f"Expected a mask of booleans, or of 0 and 1, at '{name}'. Received: dtype {array.dtype} with the values "
            f"{np.unique(odd)[:3].tolist()}."
        )
    return array != 0


def mask_of(source: Any) -> Mask:
    """The mask of a ticket or model, or the mask itself."""
    if isinstance(source, keras.Model):
        masking.require_masked(source)
        return masking.get_mask(source)
    mask = getattr(source, "mask", source)
    if not isinstance(mask, dict):
        raise ValueError(f"Expected a mask, a ticket or a masked model. Received: {type(source).__name__}.")
    check_masks(source=mask)
    return mask


def unpacked(bits: np.ndarray | None, shape: np.ndarray | None, where: str) -> np.ndarray:
    """Packed bits as booleans of a shape.

    Args:
        bits, shape: as a file has them; None: it has none.
        where: what they are and of which file, for the message.
    """
    if bits is None or shape is None or shape.ndim != 1 or shape.dtype.kind not in "iu" or len(shape) > MOST_SIDES:
        received = f"shape {None if shape is None else shape.tolist()}, {bits=}"
        raise ValueError(f"Expected bits and a shape for the {where}. Received: {received}; the file is damaged.")
    try:
        return unpack(bits, shape.tolist())
    except ValueError as error:
        raise ValueError(f"{error} That is the {where}, which is damaged.") from error
