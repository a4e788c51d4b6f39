"""Tickets of others: weights and masks from another program, under its names and in its layout, for a model of ours."""

import dataclasses
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kerasticket.checks import choose, suggestion
from kerasticket.layers.composite import plain_kind
from kerasticket.layers.traits import TRAITS
from kerasticket.masks import Mask
from kerasticket.models.paths import SEED_STATE, owners
from kerasticket.params import Params
from kerasticket.tickets import masking
from kerasticket.tickets.mask_files import as_mask, load_masks, read_plain
from kerasticket.tickets.ticket import Ticket

Arrays = Mapping[str, Any] | str | Path
Names = Mapping[str, str | None] | Callable[[str], str | None]


def import_ticket(
    model: keras.Model,
    params: Arrays | None = None,
    mask: Arrays | None = None,
    *,
    names: Names | None = None,
    layout: str = "keras",
) -> Ticket:
    """A ticket of this model from arrays of another program.

    Weights under a pruned mask are set to zero (those of `torch.nn.utils.prune` are not); how many that were is in
    the ticket's stages, under "zeroed". The model itself stays as it is: `ticket.apply(model)` makes it the ticket.

    Args:
        model: masked; says which paths and shapes there are.
        params: all of its weights, as a dict or the path of an `.npz` file; None: those it has.
        mask: booleans, or 0 and 1, as a dict or the path of an `.npz` file, bit-packed or not; kernels that it lacks
            are kept whole. None: the masks in `params` (torch layout), or else those that the model has. For weights
            that are zero where they were pruned, `{name: array != 0 for name, array in ... if array.ndim > 1}`.
        names: from their names to ours, None to leave an array out: a dict of arrays or of the layers that hold them
            (`{"features.0": "conv_1"}`), or a function of their name.
        layout: "keras", or "torch" for a `state_dict`: kernels (out, in, height, width) and (out, in) are transposed,
            `conv_1.weight` is `conv_1/kernel`, `weight_orig` and `weight_mask` are understood. The rows of a Dense
            layer behind a Flatten are in another order there (channels first): permute them yourself.

    Raises:
        ValueError: unknown, lacking or doubled paths (near ones are suggested), another shape, values that are no mask,
            a file that is none, or a layer whose layout in torch is not known.

    >>> model = masking.masked(keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, name="out")]))
    >>> theirs = {"0.weight": [[3.0, 4.0]], "0.bias": [0.5], "0.weight_mask": [[1.0, 0.0]]}
    >>> import_ticket(model, theirs, names={"0": "out"}, layout="torch").params["out/kernel"]
    array([[3.],
           [0.]], dtype=float32)
    """
    own = choose(layout, LAYOUTS, "layout")
    dense = Ticket.dense(model)
    weights, found = _read(params, read_plain), dict(_read(mask, load_masks) or {})
    if weights is not None and mask is None:
        found = {name: array for name, array in weights.items() if own.is_mask(name)}
    if weights is not None:
        weights = {name: array for name, array in weights.items() if not own.is_mask(name)}
    given = {*(weights or ()), *found}
    _check_used(names, {own.plain_name(name) for name in given})
    kept = dense.mask
    if mask is not None or found:
        kept = _masks(own, model, found, names)
    values = dense.params if weights is None else _weights(own, model, weights, names)
    zeroed = sum(int(np.count_nonzero(values[path][~array])) for path, array in kept.items())
    stage = {"name": "imported", "layout": layout, "zeroed": zeroed}
    whole = {path: np.ones_like(array) for path, array in dense.mask.items()}
    removed = {path: np.zeros(array.shape, np.uint16) for path, array in whole.items()}
    return dataclasses.replace(dense, mask=whole, removed_in=removed).pruned(kept, stage, params=values)


@dataclasses.dataclass(frozen=True)
class Layout:
    """How another program names and arranges arrays.

    Attributes:
        is_mask: of a name: the array is a mask.
        plain_name: the name without what marks a mask, or weights under one.
        path: from a plain name and the paths that there are to one of those; None for what we do not have.
        arranged: an array in our layout, given the layer that it is for; None if theirs is not known.
    """

    is_mask: Callable[[str], bool]
    plain_name: Callable[[str], str]
    path: Callable[[str, Params], str | None]
    arranged: Callable[[np.ndarray, keras.Layer], np.ndarray | None]


_WORDS: dict[str, tuple[str, ...]] = {
    "weight": ("kernel", "gamma", "embeddings"),
    "bias": ("bias", "beta"),
    "running_mean": ("moving_mean",),
    "running_var": ("moving_variance",),
}


def _torch_path(name: str, known: Params) -> str | None:
    module, _, word = name.rpartition(".")
    if word == "num_batches_tracked":
        return None
    paths = [f"{module}/{ours}".replace(".", "/") for ours in _WORDS.get(word, ())]
    return next((path for path in [name, *paths] if path in known), paths[0] if paths else name)


def _torch_arranged(array: np.ndarray, layer: keras.Layer) -> np.ndarray | None:
    traits = TRAITS.get(plain_kind(layer))
    if array.ndim < 2:
        return array
    return traits.from_torch(layer, array) if traits and traits.from_torch else None


LAYOUTS: dict[str, Layout] = {
    "keras": Layout(lambda name: False, lambda name: name, lambda name, known: name, lambda array, layer: array),
    "torch": Layout(
        lambda name: name.endswith("_mask"),
        lambda name: re.sub(r"_(orig|mask)$", "", name),
        _torch_path,
        _torch_arranged,
    ),
}


def _read(arrays: Arrays | None, read: Callable[[Any], dict[str, np.ndarray]]) -> Mapping[str, Any] | None:
    if isinstance(arrays, (str, Path)):
        return read(arrays)
    if arrays is not None and not isinstance(arrays, Mapping):
        raise ValueError(
            f"Expected a dict of arrays or the path of an .npz file. Received: {type(arrays).__name__}. "
            "Of a torch module, pass its state_dict()."
        )
    return arrays


def _weights(layout: Layout, model: keras.Model, arrays: Mapping[str, Any], names: Names | None) -> Params:
    own = masking.get_params(model)
    found = _translated(layout, model, arrays, names, own)
    absent = [path for path in own if path not in found and not path.endswith(SEED_STATE)]
    if absent:
        raise ValueError(
            f"Expected all weights of '{model.name}' among params. Received: none for {absent[:6]}"
            f"{' and more' if len(absent) > 6 else ''}. To keep the model's own, add them from kerasticket.get_params."
        )
    return {path: found[path].astype(array.dtype) if path in found else array for path, array in own.items()}


def _masks(layout: Layout, model: keras.Model, arrays: Mapping[str, Any], names: Names | None) -> Mask:
    own = masking.get_mask(model)
    found = _translated(layout, model, arrays, names, own)
    return {path: as_mask(found[path], path) if path in found else np.ones_like(own[path]) for path in own}


def _translated(layout: Layout, model, arrays: Mapping[str, Any], names: Names | None, own: Params) -> Params:
    """The arrays under our paths and in our layout."""
    of, found = owners(model), Params()
    origin: dict[str, str] = {}
    for name, array in arrays.items():
        renamed = _renamed(layout.plain_name(name), names)
        path = None if renamed is None else layout.path(renamed, own)
        if path is None:
            continue
        if path not in own:
            raise ValueError(_unknown(name, path, own, of))
        if path in found:
            raise ValueError(f"Expected one array for '{path}'. Received: '{origin[path]}' and '{name}'.")
        origin[path], found[path] = name, _fitted(layout, _array(array, name), name, path, of[path], own[path].shape)
    return found


def _renamed(name: str, names: Names | None) -> str | None:
    if names is None:
        return name
    if callable(names):
        return names(name)
    if name in names:
        return names[name]
    layer, dot, word = re.fullmatch(r"(?:(.*)([./]))?([^./]*)", name).groups()  # type: ignore[union-attr]
    if layer not in names:
        return name
    return None if names[layer] is None else f"{names[layer]}{dot}{word}"


def _check_used(names: Names | None, given: set[str]) -> None:
    if names is None or callable(names):
        return
    known = given | {re.split(r"[./][^./]*$", name)[0] for name in given}
    unused = [name for name in names if name not in known]
    if unused:
        raise ValueError(
            f"Expected names of arrays that were given, or of their layers. Received: names={unused}."
            f"{suggestion(unused[0], known)}"
        )


def _array(array: Any, name: str) -> np.ndarray:
    try:
        array = np.asarray(array)
    except Exception as error:  # whatever a tensor on a device, or one with a gradient, raises
        raise ValueError(f"Expected an array at '{name}'. Received: {type(array).__name__} ({error}).") from error
    if array.dtype.kind in "OSUc":
        raise ValueError(f"Expected an array of real numbers at '{name}'. Received: dtype {array.dtype}.")
    return array


def _fitted(layout: Layout, array: np.ndarray, name: str, path: str, layer, shape: tuple[int, ...]) -> np.ndarray:
    arranged = layout.arranged(array, layer)
    if arranged is None:
        raise ValueError(
            f"Expected a layer whose layout in torch is known. Received: '{path}' of {plain_kind(layer).__name__}. "
            "Bring its arrays into Keras' layout and pass layout='keras'."
        )
    if arranged.shape != shape:
        raise ValueError(
            f"Expected shape {shape} for '{path}'. Received: shape {array.shape} at '{name}'."
            f"{_other_layout(layout, array, layer, shape)}"
        )
    return arranged


def _other_layout(layout: Layout, array: np.ndarray, layer, shape: tuple[int, ...]) -> str:
    for name, other in LAYOUTS.items():
        arranged = other.arranged(array, layer)
        if other is not layout and array.ndim > 1 and arranged is not None and arranged.shape == shape:
            return f" It looks like a {name} layout: pass layout='{name}'."
    return ""


def _unknown(name: str, path: str, own: Params, of: Mapping[str, Any]) -> str:
    if path in of:
        return (
            f"Expected masks of weights that are masked in the model: {list(own)}. Received: '{name}' for '{path}', "
            "which has none. Choose what is masked with kerasticket.masked(model, where=...); biases and norms have no "
            "masks."
        )
    became = "" if path == name else f", taken for '{path}'"
    return (
        f"Expected names of the model's weights, or such as `names` maps to them. Received: '{name}'{became}."
        f"{suggestion(path, own) or f' There are: {list(own)[:8]}.'}"
    )
