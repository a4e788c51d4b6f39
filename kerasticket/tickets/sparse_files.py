"""Weights in `.npz` files whose size falls with sparsity: a bit per weight that says whether it is there, and the rest.

For each masked weight the file has `mask|<path>` and `shape|<path>`, as `kerasticket.save_masks` writes them, and
`kept|<path>`, the weights that the mask keeps, in row-major order. Weights without a mask of which many are zero, as
those of stripped models are, have the same with `nonzero|` for `mask|`; all others are whole, as `dense|<path>`.
`paths` names all of them, and `manifest` tells what was changed since. Any program with NumPy reads it, and
`kerasticket.load_masks` reads the masks of it.
"""

from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

from kerasticket.files.arrays import with_manifest
from kerasticket.masks import Mask, pack, zeroed
from kerasticket.params import Params, same_bits
from kerasticket.tickets.mask_files import BITS, SHAPE, check_decoded, checked_path, read_arrays, unpacked, write_arrays
from kerasticket.tickets.masking import check_built, get_mask, get_params

FORMAT, NAME = "format", "kerasticket sparse weights 1"
KEPT, NONZERO, DENSE = "kept|", "nonzero|", "dense|"
_PREFIXES = (DENSE, KEPT, BITS, SHAPE, NONZERO, f"{NONZERO}{SHAPE}")
_MEMBER = 350  # bytes at most that ZIP and NumPy add to an array, without its name


class SparseWeights(NamedTuple):
    """What a sparse weight file holds.

    Attributes:
        params: all weights by path, pruned ones exactly zero; for `kerasticket.set_params`.
        mask: the masks, for `kerasticket.set_mask`; empty if the file is of a model without.
    """

    params: Params
    mask: Mask


def save_sparse(path: str | Path, source: Any) -> None:
    """Writes weights and masks to the bit, without the weights that are pruned; format above.

    Optimizer state and architecture are not in it: `Ticket.save` and `model.save` write those.

    Args:
        path: ends in `.npz`.
        source: a model, masked or not (a stripped or compacted one), of any kind; a ticket; or (params, mask).

    Raises:
        ValueError: another ending or source, a model that is not built, masks or pruned weights that do not fit the
            params, a type of number that NumPy files lack, or a folder that cannot be written to.

    >>> import tempfile; file = tempfile.mkdtemp() + "/weights.npz"
    >>> mask = {"out/kernel": np.array([[True, False], [False, False]])}
    >>> save_sparse(file, ({"out/kernel": np.array([[0.5, 0], [0, 0]]), "out/bias": np.ones(2)}, mask))
    >>> load_sparse(file).params["out/kernel"]
    array([[0.5, 0. ],
           [0. , 0. ]])
    """
    path = checked_path(path)
    params, mask = _params_and_mask(source)
    _check_types(params)
    write_arrays(path, _encoded(params, mask))


def load_sparse(path: str | Path, *, most_bytes: int | None = None) -> SparseWeights:
    """The weights and masks that `save_sparse` wrote, to the bit. Python objects in a file are never loaded.

    `kt.set_mask(model, weights.mask)` and `kt.set_params(model, weights.params)` put them into a masked model built
    alike; the latter alone puts them into a plain one.

    Args:
        most_bytes: of memory that weights and masks may take; default: 768 MiB and four times the file.

    Raises:
        ValueError: no such file, a damaged one or another kind of file, or an array that is missing or was changed.
    """
    arrays = read_arrays(path)
    if FORMAT not in arrays or arrays[FORMAT].shape != () or str(arrays[FORMAT]) != NAME:
        raise ValueError(f"Expected a file of save_sparse ('{NAME}'). Received: '{path}', which is none.")
    names = _paths(arrays, path)
    check_decoded(path, sum(_decoded_bytes(arrays, name) for name in names), most_bytes)
    params: Params = {}
    mask: Mask = {}
    for name in names:
        if DENSE + name in arrays:
            params[name] = arrays[DENSE + name]
            continue
        kept = _kept(arrays, name, path)
        params[name] = _decoded(arrays.get(KEPT + name), kept, f"'{name}' of '{path}'")
        if BITS + name in arrays:
            mask[name] = kept
    known = {FORMAT, "paths"} | {prefix + name for name in names for prefix in _PREFIXES}
    unknown = [name for name in arrays if name not in known]
    if unknown or len(params) < len(names):
        raise ValueError(
            f"Expected the arrays of each path once in '{path}'. Received: {len(names)} paths and, of others, "
            f"{unknown[:4]}; the file is damaged."
        )
    return SparseWeights(params, mask)


def _paths(arrays: dict[str, np.ndarray], path: str | Path) -> list[str]:
    """The paths of all weights; raises ValueError if there are none, or one in two forms."""
    names = arrays.get("paths")
    if names is None or names.ndim != 1 or (names.size and names.dtype.kind != "U"):
        raise ValueError(f"Expected the paths of all weights in '{path}'. Received: {names}; the file is damaged.")
    paths = [str(name) for name in names]
    for name in paths:
        forms = [form for form in (DENSE, BITS, NONZERO) if form + name in arrays]
        if len(forms) > 1 or (forms == [DENSE] and any(part + name in arrays for part in _PREFIXES[1:])):
            raise ValueError(f"Expected '{name}' in one form in '{path}'. Received: {forms}; the file is damaged.")
    return paths


def _decoded_bytes(arrays: dict[str, np.ndarray], name: str) -> int:
    """Bytes of a weight that is not whole, and of its mask."""
    bits, kept = arrays.get(BITS + name, arrays.get(NONZERO + name)), arrays.get(KEPT + name)
    return 0 if bits is None or kept is None else 8 * bits.size * (1 + kept.dtype.itemsize)


def size_bound(params: Params, mask: Mask) -> int:
    """Bytes that a file of `save_sparse` has at most; compression, mostly of the masks, takes it below.

    >>> size_bound({"out/kernel": np.zeros((100, 100), "float32")}, {"out/kernel": np.eye(100, dtype=bool)})
    4465
    """
    arrays = with_manifest(_encoded(params, mask))
    return sum(array.nbytes + 2 * len(name) + _MEMBER for name, array in arrays.items())


def _params_and_mask(source: Any) -> tuple[Params, Mask]:
    if isinstance(source, keras.Model):
        check_built(source)
        return get_params(source), get_mask(source)
    pair = source if isinstance(source, tuple) else (getattr(source, "params", None), getattr(source, "mask", None))
    if len(pair) != 2 or not all(isinstance(part, dict) for part in pair):
        raise ValueError(
            f"Expected a model, a ticket or the tuple (params, mask), dicts both. Received: {type(source).__name__}."
        )
    params, mask = pair
    _check(params, mask)
    return params, mask


def _check(params: Params, mask: Mask) -> None:
    for path, kept in mask.items():
        if path not in params or kept.dtype != bool or kept.shape != params[path].shape:
            found = f"shape {params[path].shape}" if path in params else "no such path"
            raise ValueError(
                f"Expected masks of booleans that fit the params. Received: '{path}' of shape {kept.shape} and dtype "
                f"{kept.dtype}; params have {found}."
            )
    revived = [path for path, array in zeroed(params, mask).items() if not same_bits(array, params[path])]
    if revived:
        raise ValueError(
            f"Expected pruned weights to be exactly zero. Received: others at {revived[:4]}. "
            "Take kerasticket.masks.zeroed(params, mask)."
        )


def _check_types(params: Params) -> None:
    foreign = [path for path, array in params.items() if array.dtype.kind not in "biuf"]
    if foreign:
        raise ValueError(
            f"Expected numbers of a type that NumPy files know. Received: {params[foreign[0]].dtype} at {foreign[:4]}. "
            "Cast such weights to float32 first: every bfloat16 number is one."
        )


def _encoded(params: Params, mask: Mask) -> dict[str, np.ndarray]:
    """The arrays of the file."""
    arrays = {FORMAT: np.array(NAME), "paths": np.array(list(params))}
    for path, array in params.items():
        kept = mask[path] if path in mask else _not_zero(array)
        if path in mask or kept.sum() * array.itemsize + kept.size / 8 + _MEMBER < array.nbytes:
            arrays |= {(BITS if path in mask else NONZERO) + path: pack(kept), KEPT + path: array[kept]}
            arrays[SHAPE + path if path in mask else f"{NONZERO}{SHAPE}{path}"] = np.array(array.shape, np.int64)
        else:
            arrays[DENSE + path] = array
    return arrays


def _not_zero(array: np.ndarray) -> np.ndarray:
    """True but where all bits are 0: -0.0 is something."""
    return (array != 0) | np.signbit(array) if array.dtype.kind == "f" else array != 0


def _kept(arrays: dict[str, np.ndarray], name: str, path: str | Path) -> np.ndarray:
    bits = arrays.get(BITS + name, arrays.get(NONZERO + name))
    shape = arrays.get(SHAPE + name, arrays.get(f"{NONZERO}{SHAPE}{name}"))
    return unpacked(bits, shape, f"weights '{name}' of '{path}'")


def _decoded(values: np.ndarray | None, kept: np.ndarray, where: str) -> np.ndarray:
    count = int(kept.sum())
    if values is None or values.shape != (count,):
        received = "none" if values is None else f"an array of shape {values.shape}"
        raise ValueError(f"Expected {count} kept weights for {where}. Received: {received}; the file is damaged.")
    array = np.zeros(kept.shape, values.dtype)
    array[kept] = values
    return array
