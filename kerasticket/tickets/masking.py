"""Masks on whole models: put them on, read and set them, take them off again."""

import warnings

import keras
import numpy as np

from kerasticket import masks
from kerasticket.backend import distribution
from kerasticket.backend.keras_internals import all_layers, forget_compilation
from kerasticket.backend.variables import array_of
from kerasticket.layers.composite import masked_kind, plain_kind
from kerasticket.layers.copies import duplicate
from kerasticket.layers.masked import MASKED, MaskedWeight
from kerasticket.masks import Mask
from kerasticket.models.paths import (
    maskable_weights,
    masked_weights,
    named_variables,
    owners,
    raw_params,
    renamed,
    rewritten,
)
from kerasticket.params import Params, mismatch
from kerasticket.tickets import conversion, optimizer_state
from kerasticket.tickets.selection import Where, maskable_kinds, select


def masked(model: keras.Model, *, where: Where | None = None, keep_dense: Where = ()) -> keras.Model:
    """A copy of the model whose kernels have masks that keep everything.

    Names, weights and outputs are those of the original; layers that are masked already keep their masks. Masked
    are the kernels of `kerasticket.layers.MASKED`, also of layers in nested models and wrappers, in cells of
    recurrent layers and in projections of attention; a layer that is used twice has one mask. Depthwise kernels,
    embeddings, biases and norms stay dense unless `where` asks for them. The copy is not compiled.

    A subclassed model cannot be copied, nor can a functional one of a class that makes its layers itself, such as
    KerasHub's: it is masked in place, is not compiled any more, and is returned itself. It, and layers of your own that
    make layers inside, refuse `save` and `get_config` from then on, for Keras would make them again without masks;
    write tickets or weights instead.

    One network on several devices: make the model or load its ticket, mask and compile it in the scope of a
    `keras.distribution.DataParallel` on JAX, or of a `tf.distribute.MirroredStrategy` on TensorFlow.

        with keras.distribution.DataParallel().scope():  # on TensorFlow: tf.distribute.MirroredStrategy().scope()
            model = kt.masked(make_model())
            model.compile(optimizer, loss)
            model.fit(batches, epochs=imp.total_epochs, callbacks=[imp], shuffle=False)

    Weights and masks then are the same on all devices, and pruned weights exactly zero on each. Masks are those of one
    device for the same batches, but where rounding turns the order of two weights, as gradients are summed over shares
    of a batch. JAX refuses batches of which the devices cannot have equal shares, and so do the functions here that are
    given the pipeline. On TensorFlow, where BatchNormalization needs `synchronized=True`, some things are not as on one
    device: of a smaller share the examples count for more, dropout draws the same units on each device, and a pipeline
    begins an epoch later unless it is moved (`IterativeMagnitudePruning(pipeline=)`, `kt.training.train`), for Keras
    tries out its first batch. Analyses compute on one device, with the same numbers. A `ModelParallel` lays each mask
    as its weight. On torch Keras distributes nothing; pruned weights stay zero under DistributedDataParallel in a loop
    of your own, with a ticket that was found in one process.

    Args:
        model: a built model. Layers whose names Keras chose, or may have chosen, are numbered by class and position
            in the paths of masks and tickets: "dense", "dense_1" in the order of the model.
        where: what is masked: a layer type, a name pattern (`fnmatch`, on the path of a weight, of its layer or of
            one around it), a function of a layer to bool (asked of the LSTM, not its cell), or a sequence of these;
            a weight is masked if any of them says so. A pattern that matches a depthwise kernel or embeddings by
            their own path, or their layer by type, name or function, asks for them. Default: all kernels.
        keep_dense: what stays dense of that, likewise; and the words "first" and "last", for the first and the
            last of the selected layers, in the order of the model's layers.

    Raises:
        ValueError: the model is not built or has no layer that can be masked; something in `where` or `keep_dense`
            matches nothing, only what cannot be masked, or one layer by its path and another by its name; a layer
            has LoRA or is quantized; the model was made in another scope than that which is open, or a
            keras.distribution is set on another backend than JAX.

    Warns:
        UserWarning: kernels that cannot be masked, of layers of your own, are named.

    >>> stack = [keras.Input((4,)), keras.layers.Dense(3, name="in"), keras.layers.Dense(2, name="out")]
    >>> model = keras.Sequential(stack)
    >>> sorted(get_mask(masked(model)))
    ['in/kernel', 'out/kernel']
    >>> sorted(get_mask(masked(model, keep_dense="last")))
    ['in/kernel']
    """
    _check_maskable(model)
    paths = select(model, where, keep_dense)
    if not paths and not masked_weights(model):
        raise ValueError(
            f"Expected a model with kernels to mask. Received: '{model.name}', which has only "
            f"{list(maskable_weights(model))[:4]}, kept dense unless asked for. Pass where=, e.g. where='*'."
        )
    with distribution.scope_of(model):
        target = _held(model, paths)
    _name_what_stays_dense(target)
    return target


def _held(model: keras.Model, paths: list[str]) -> keras.Model:
    if not conversion.can_be_copied(model):
        conversion.hold_all(model, paths)
        forget_compilation(model)
        return model
    target = duplicate(model)
    conversion.hold_all(target, [*paths, *get_mask(model)])
    set_params(target, get_params(model))
    return target


def strip(model: keras.Model) -> keras.Model:
    """A plain Keras copy without masks, pruned weights exactly zero, outputs equal to the bit; not compiled.

    On torch outputs may differ in the last bits: its matrix products depend on where in memory the weights lie.

    Its file opens without kerasticket if its layers are all Keras' own (not, say, InstanceNormalization). A
    subclassed model cannot be copied: the model itself is stripped and returned.

    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="out")])
    >>> type(strip(masked(model)).get_layer("out")).__name__
    'Dense'
    """
    check_built(model)
    if not conversion.can_be_copied(model):
        set_params(model, get_params(model))
        conversion.release_all(model)
        forget_compilation(model)
        return model
    plain = duplicate(model)
    conversion.release_all(plain)
    _forget_initializers(plain)
    set_params(plain, get_params(model))
    return plain


def get_params(model: keras.Model) -> Params:
    """All weights and seed states as arrays keyed by canonical path; pruned weights are exactly zero.

    Masks and optimizer state are not among them.
    """
    return masks.zeroed(raw_params(model), get_mask(model))


def set_params(model: keras.Model, params: Params, mask: Mask | None = None) -> None:
    """Assigns all weights and seed states; in masked layers pruned weights stay exactly zero.

    Args:
        model: a built model.
        params: an array for each path of `get_params`.
        mask: new masks, one for each path of `get_mask`; None: those that the model has. The optimizer is left
            as it is (`set_mask` and `Ticket.apply` see to it).

    Raises:
        ValueError: paths or shapes are not those of the model; nothing has been changed then.
    """
    variables, held = named_variables(model), masked_weights(model)
    if mask is not None:
        masks.check_is_mask(mask)
    mask = get_mask(model) if mask is None else mask
    wrong = mismatch(params, variables, "the dict of params")
    wrong = wrong or mismatch(mask, {path: one.mask for path, one in held.items()}, "the dict of masks")
    if wrong:
        raise ValueError(f"Expected the params of this model. {wrong}")
    for path, one in held.items():
        one.mask.assign(mask[path])
    arrays = {path: np.asarray(array) for path, array in params.items()}
    for path, array in masks.zeroed(arrays, mask).items():
        variables[path].assign(array)
    for layer in all_layers(model):
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()  # it computes with copies of its statistics


def get_mask(model: keras.Model) -> Mask:
    """The masks of a model as boolean arrays keyed by the path of the weight; empty if it has none."""
    return {path: array_of(held.mask) for path, held in masked_weights(model).items()}


def set_mask(model: keras.Model, mask: Mask) -> None:
    """Holds the model to a mask: pruned weights and their optimizer slots become exactly zero.

    Weights whose path is absent are kept whole. Callbacks may call this between epochs, never inside one.

    Raises:
        ValueError: a path is unknown or a shape or dtype differs; nothing has been changed then.
    """
    masks.check_is_mask(mask)
    held = require_masked(model)
    mask = mask if held.keys() >= mask.keys() else renamed(model, mask)
    unknown = [path for path in mask if path not in held]
    if unknown:
        raise ValueError(f"The mask has paths that are not masked in the model: {unknown}. It has: {list(held)}.")
    for path, array in mask.items():
        shape = tuple(held[path].variable.shape)
        if np.asarray(array).dtype != bool or np.shape(array) != shape:
            raise ValueError(
                f"Expected a boolean array of shape {shape} for '{path}'. "
                f"Received: dtype {np.asarray(array).dtype}, shape {np.shape(array)}."
            )
    for path, one in held.items():
        one.set_mask(mask.get(path, np.ones(tuple(one.variable.shape), bool)))
    optimizer_state.mask_slots(model, get_mask(model))


def sparsity(model: keras.Model) -> float:
    """Share of the prunable weights that the masks prune, in [0, 1]."""
    require_masked(model)
    return masks.sparsity(get_mask(model))


def require_masked(model: keras.Model) -> dict[str, MaskedWeight]:
    """The weights that are held to masks, by path; raises ValueError if there are none."""
    held = masked_weights(model)
    if not held:
        raise ValueError(
            f"Expected a model with masked layers. Received: {type(model).__name__} '{model.name}', which has none. "
            "Take model = kerasticket.masked(model), which is a copy, and compile that; or build it from "
            "kerasticket.layers."
        )
    return held


def _forget_initializers(model: keras.Model) -> None:
    """A stripped file should open where kerasticket is not installed; its weights are in it."""
    for layer in all_layers(model):
        for name, value in list(vars(layer).items()):
            if name.endswith("_initializer") and type(value).__module__.startswith("kerasticket."):
                object.__setattr__(layer, name, keras.initializers.Zeros())


def check_built(model) -> None:
    """Raises ValueError unless this is a built Keras model."""
    if not isinstance(model, keras.Model):
        raise ValueError(f"Expected a keras.Model. Received: {model!r} of type {type(model).__name__}.")
    if not model.built:
        raise ValueError(f"Expected a built model. Received: '{model.name}', not built. Give it an Input or call it.")


def _check_maskable(model) -> None:
    check_built(model)
    named_variables(model)  # raises if two paths are the same
    unbuilt = [layer.name for layer in all_layers(model) if not layer.built]
    if not maskable_weights(model) and unbuilt:
        raise ValueError(
            f"Expected a model whose layers are built. Received: '{model.name}', whose layers {unbuilt[:4]} have no "
            "weights yet: its `build` does not make them. Call the model on a batch of data first."
        )
    if not maskable_weights(model):
        raise ValueError(
            f"Expected a model with at least one layer of {maskable_kinds()}. "
            f"Received: '{model.name}' with {sorted({type(layer).__name__ for layer in model.layers})}."
        )


def _name_what_stays_dense(model: keras.Model) -> None:
    wrapped = rewritten(model)
    known = {p for p, layer in owners(model).items() if masked_kind(layer) or plain_kind(layer) in MASKED}
    known -= {p for p, layer in owners(model).items() if id(layer) in wrapped}
    left = [
        path for path, v in named_variables(model).items() if v.trainable and len(v.shape) > 1 and path not in known
    ]
    if left:
        warnings.warn(
            f"These weights are of layers that cannot be masked and stay dense: {left}.", UserWarning, stacklevel=3
        )
