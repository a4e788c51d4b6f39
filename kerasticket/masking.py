"""Masks on whole models: put them on, read and set them, take them off again."""

import dataclasses
import warnings
from collections.abc import Callable

import keras
import numpy as np
from keras import ops

from kerasticket import masks, optimizer_state
from kerasticket.layers.masked import MASKED, Masked
from kerasticket.layers.normalization import BatchNormalization
from kerasticket.masks import Mask
from kerasticket.params import Params, mismatch
from kerasticket.variables import SEED_STATE, masked_layers, named_variables, raw_params, require_names

# What `strip` exchanges: masked layers, and layers of ours that differ from Keras' own in speed alone.
_PLAIN = {masked: plain for plain, masked in MASKED.items()} | {BatchNormalization: keras.layers.BatchNormalization}


def masked(model: keras.Model) -> keras.Model:
    """A copy of the model in which every Dense, EinsumDense and Conv1D/2D/3D kernel has a mask, all kept.

    Names, weights and outputs are those of the original; layers that are masked already keep their masks.
    Nested models are masked too, a layer that is used twice has one mask. The copy is not compiled, and a plain
    Keras model where the original is a functional subclass.

    Args:
        model: a built Sequential or functional model whose layers are named.

    Raises:
        ValueError: the model is not built, subclassed, has no layer that can be masked, or has layers
            without a name of their own (a ticket is keyed by names).

    Warns:
        UserWarning: layers with a kernel that cannot be masked are named.

    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="out")])
    >>> sorted(get_mask(masked(model)))
    ['out/kernel']
    """
    _check_maskable(model)
    copy = _clone(model, _masked_layer)
    if not masked_layers(copy):
        raise ValueError(
            f"Expected a layer of {[cls.__name__ for cls in MASKED]} of the model's own. Received: '{model.name}', "
            "which has some only inside other layers, where they cannot be exchanged."
        )
    _copy_weights(model, copy)
    _name_what_stays_dense(copy)
    return copy


def strip(model: keras.Model) -> keras.Model:
    """A plain Keras copy without masks, pruned weights exactly zero, outputs equal to the bit; not compiled.

    Its file opens without kerasticket if its layers are all Keras' own (not, say, InstanceNormalization).

    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="out")])
    >>> type(strip(masked(model)).get_layer("out")).__name__
    'Dense'
    """
    _check_cloneable(model)
    plain = _clone(model, _plain_layer)
    set_params(plain, get_params(model))
    return plain


def get_params(model: keras.Model) -> Params:
    """All weights and seed states as arrays keyed by canonical path; pruned weights are exactly zero.

    Masks and optimizer state are not among them.
    """
    kernels = masked_layers(model)
    return {path: _held(array, kernels.get(path)) for path, array in raw_params(model).items()}


def set_params(model: keras.Model, params: Params) -> None:
    """Assigns all weights and seed states; in masked layers pruned weights stay exactly zero.

    Raises:
        ValueError: paths or shapes are not those of the model.
    """
    variables = named_variables(model)
    wrong = mismatch(params, variables, "the dict of params")
    if wrong:
        raise ValueError(f"Expected the params of this model. {wrong}")
    kernels = masked_layers(model)
    for path, variable in variables.items():
        variable.assign(_held(np.asarray(params[path]), kernels.get(path)))
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()  # it computes with copies of its statistics


def get_mask(model: keras.Model) -> Mask:
    """The masks of a model as boolean arrays keyed by kernel path; empty if it has none."""
    return {path: np.array(_mask_of(layer)) for path, layer in masked_layers(model).items()}


def set_mask(model: keras.Model, mask: Mask) -> None:
    """Holds the model to a mask: pruned weights and their optimizer slots become exactly zero.

    Kernels whose path is absent are kept whole. Callbacks may call this between epochs, never inside one.

    Raises:
        ValueError: a path is unknown or a shape or dtype differs; nothing has been changed then.
    """
    layers = require_masked(model)
    unknown = [path for path in mask if path not in layers]
    if unknown:
        raise ValueError(f"The mask has paths that are not masked in the model: {unknown}. It has: {list(layers)}.")
    for path, array in mask.items():
        shape = tuple(layers[path]._kernel.shape)
        if np.asarray(array).dtype != bool or np.shape(array) != shape:
            raise ValueError(
                f"Expected a boolean array of shape {shape} for '{path}'. "
                f"Received: dtype {np.asarray(array).dtype}, shape {np.shape(array)}."
            )
    for path, layer in layers.items():
        layer.set_mask(mask.get(path, np.ones(tuple(layer._kernel.shape), bool)))
    if getattr(model, "optimizer", None) is not None and model.optimizer.built:
        state = optimizer_state.get_state(model)
        optimizer_state.set_state(model, optimizer_state.masked_state(state, get_mask(model)))


def sparsity(model: keras.Model) -> float:
    """Share of the prunable weights that the masks prune, in [0, 1]."""
    require_masked(model)
    return masks.sparsity(get_mask(model))


def require_masked(model: keras.Model) -> dict[str, Masked]:
    """The masked layers by kernel path; raises ValueError if there are none."""
    layers = masked_layers(model)
    if not layers:
        raise ValueError(
            f"Expected a model with masked layers. Received: {type(model).__name__} '{model.name}', which has none. "
            "Pass it through kerasticket.masked(model), or build it from kerasticket.layers."
        )
    return layers


@dataclasses.dataclass(frozen=True)
class LayerSummary:
    """One line of `summary`: `mask` is None where the layer is not masked."""

    layer: str
    kind: str
    shape: tuple[int, ...] | None
    parameters: int
    kept: int | None
    sparsity: float | None


@dataclasses.dataclass(frozen=True)
class Summary:
    """What is prunable and pruned, layer by layer; printing it gives a table."""

    layers: tuple[LayerSummary, ...]
    prunable: int
    kept: int
    trainable: int

    @property
    def sparsity(self) -> float:
        """Share of the prunable weights that are pruned."""
        return (self.prunable - self.kept) / self.prunable

    def __str__(self) -> str:
        rows: list[tuple[str, ...]] = [("layer", "type", "kernel", "parameters", "kept", "sparsity")]
        rows += [_row(line) for line in self.layers]
        widths = [max(len(row[i]) for row in rows) for i in range(6)]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
        whole = 1 - (self.trainable - self.prunable + self.kept) / self.trainable
        lines.append(
            f"{self.kept:,} of {self.prunable:,} prunable weights kept: sparsity {self.sparsity:.2%} "
            f"of the prunable, {whole:.2%} of all {self.trainable:,} trainable weights"
        )
        return "\n".join(line.rstrip() for line in lines)


def summary(model: keras.Model) -> Summary:
    """Kernel shapes, kept weights and sparsity of every layer with weights; print it.

    >>> model = masked(keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="out")]))
    >>> print(summary(model))
    layer  type         kernel  parameters  kept  sparsity
    out    MaskedDense  4x2     10          8/8   0.00%
    8 of 8 prunable weights kept: sparsity 0.00% of the prunable, 0.00% of all 10 trainable weights
    """
    layers = require_masked(model)
    mask = get_mask(model)
    kernels = [layer._kernel for layer in layers.values()]  # frozen ones count too
    trainable = sum({id(v): int(np.prod(v.shape)) for v in [*model.trainable_variables, *kernels]}.values())
    owners: dict[str, list[str]] = {}
    for path in (path for path in named_variables(model) if not path.endswith(SEED_STATE)):
        owners.setdefault(path.rpartition("/")[0], []).append(path)
    lines = tuple(_summarise(owner, paths, model, layers, mask) for owner, paths in owners.items())
    return Summary(lines, masks.total(mask), masks.kept(mask), trainable)


def _summarise(owner: str, paths: list[str], model, layers: dict[str, Masked], mask: Mask) -> LayerSummary:
    variables = named_variables(model)
    parameters = sum(int(np.prod(variables[path].shape)) for path in paths)
    kernel = next((path for path in paths if path in layers), None)
    if kernel is None:
        return LayerSummary(owner, "not masked", None, parameters, None, None)
    kept = int(mask[kernel].sum())
    shape = mask[kernel].shape
    kind = type(layers[kernel]).__name__
    return LayerSummary(owner, kind, shape, parameters, kept, 1 - mask[kernel].mean())


def _row(line: LayerSummary) -> tuple[str, ...]:
    if line.shape is None:
        return line.layer, line.kind, "", f"{line.parameters:,}", "", ""
    kept = f"{line.kept:,}/{int(np.prod(line.shape)):,}"
    shape = "x".join(map(str, line.shape))
    return line.layer, line.kind, shape, f"{line.parameters:,}", kept, f"{line.sparsity:.2%}"


def _held(array: np.ndarray, layer: Masked | None) -> np.ndarray:
    return array if layer is None else np.where(_mask_of(layer), array, array.dtype.type(0))


def _mask_of(layer: Masked) -> np.ndarray:
    return ops.convert_to_numpy(layer.mask.value)


def _masked_layer(layer: keras.Layer) -> keras.Layer:
    return MASKED.get(type(layer), type(layer)).from_config(layer.get_config())


def _plain_layer(layer: keras.Layer) -> keras.Layer:
    config = layer.get_config()
    for key, value in config.items():  # a stripped file should open where kerasticket is not installed
        ours = isinstance(value, dict) and str(value.get("registered_name")).startswith("kerasticket>")
        if ours and key.endswith("_initializer"):
            config[key] = "zeros"
    return _PLAIN.get(type(layer), type(layer)).from_config(config)


def _clone(model: keras.Model, exchange: Callable[[keras.Layer], keras.Layer]) -> keras.Model:
    copy = keras.models.clone_model(model, clone_function=exchange, recursive=True)
    # Keras compiles it like the original, whose optimizer a stripped file or another recipe may not want.
    copy.compiled, copy.optimizer, copy._compile_config = False, None, None
    return copy


def _copy_weights(source: keras.Model, target: keras.Model) -> None:
    set_params(target, get_params(source))
    if masked_layers(source):
        set_mask(target, get_mask(source))


def _check_cloneable(model) -> None:
    if not isinstance(model, keras.Model):
        raise ValueError(f"Expected a keras.Model. Received: {model!r} of type {type(model).__name__}.")
    if not model.built:
        raise ValueError(f"Expected a built model. Received: '{model.name}', not built. Give it an Input or call it.")
    if not (isinstance(model, keras.Sequential) or _is_functional(model)):
        raise ValueError(
            f"Expected a functional or Sequential model. Received: subclassed {type(model).__name__} '{model.name}', "
            "whose layers cannot be exchanged. Build it from kerasticket.layers.MaskedDense, MaskedConv2D, ... by hand."
        )


def _is_functional(model: keras.Model) -> bool:
    return any(cls.__name__ == "Functional" for cls in type(model).__mro__)  # not a public class in Keras 3


def _check_maskable(model) -> None:
    _check_cloneable(model)
    named_variables(model)  # raises if two paths are the same
    require_names(model)
    if not any(type(layer) in MASKED or isinstance(layer, Masked) for layer in model._flatten_layers()):
        raise ValueError(
            f"Expected a model with at least one layer of {[cls.__name__ for cls in MASKED]}. "
            f"Received: '{model.name}' with {sorted({type(layer).__name__ for layer in model.layers})}."
        )


def _name_what_stays_dense(model: keras.Model) -> None:
    kernels = masked_layers(model)
    left = [
        path for path, v in named_variables(model).items() if v.trainable and len(v.shape) > 1 and path not in kernels
    ]
    if left:
        warnings.warn(f"These weights have no mask and stay dense: {left}.", UserWarning, stacklevel=3)
