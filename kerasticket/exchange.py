"""Exchanging the layers of a model for their masked or plain kinds: on a copy, or in place where none can be made.

Keras builds a subclassed model, or a layer of a user's own, again from its `__init__`, which knows nothing of masks.
The layers in it are exchanged in place, and its `get_config` then raises, so that no file is written without masks.
"""

import collections
import contextlib
import inspect
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import keras

from kerasticket.layers.inside import MaskedInside, hold, hold_inside, release
from kerasticket.layers.masked import Masked, refuse_other_weights
from kerasticket.layers.normalization import BatchNormalization
from kerasticket.variables import has_own_call, is_functional, makes_its_layers, maskable_weights, named_variables

_STEPS = ("train_step", "test_step", "predict_step", "compute_loss")


class MasksWouldBeLostError(ValueError):
    """A file of this model, loaded again, would have plain layers in the place of masked ones."""


MasksWouldBeLost = MasksWouldBeLostError  # its name before


def can_be_copied(model: keras.Model) -> bool:
    """False for subclassed models, and for functional ones of a class whose layers or methods a copy would lack."""
    members = model._flatten_layers()
    if not is_functional(model) or any(has_own_call(one) or makes_its_layers(one) for one in members):
        return False
    constructor = inspect.getfullargspec(type(model).__init__)
    keeps_class = constructor.args[1:] == ["inputs", "outputs", "name"] or (constructor.varargs and constructor.varkw)
    own = [step for step in _STEPS if getattr(type(model), step) is not getattr(keras.Model, step)]
    return isinstance(model, keras.Sequential) or bool(keeps_class) or not own


def again(layer: keras.Layer, changes: dict[str, Any] | None = None) -> keras.Layer:
    """The layer built from its config, with these changes."""
    config = layer.get_config() | (changes or {})
    takes = inspect.getfullargspec(type(layer).__init__)
    if takes.varkw or "name" in takes.args:  # Keras leaves it out of the config of a class without get_config
        config = {"name": layer.name} | config
    return type(layer).from_config(config)


def clone(model: keras.Model, make: Callable[[keras.Layer], keras.Layer] = again) -> keras.Model:
    """A copy of a functional or Sequential model with weights drawn anew, not compiled.

    Args:
        make: gives the layer that stands in the copy for one of the model's.

    Raises:
        ValueError: it holds a layer or model that cannot be built from its config, or becomes another one by it.
    """
    with _guards_lifted(model):
        try:
            copy = keras.models.clone_model(model, clone_function=make, recursive=True)
        except NotImplementedError as error:
            reason = " ".join(str(error).partition("Example:")[0].split())
            raise ValueError(
                f"Expected layers that can be built from their config. Received: '{model.name}' with one that cannot: "
                f"{reason} Or make the outer model a subclass of keras.Model, which is masked in place."
            ) from error
    if not copy.built:
        copy.build(model.input_shape)
    if make is again:
        _check_copy(copy, model)
    uncompile(copy)  # Keras compiles it like the original, whose optimizer another recipe may not want
    return copy


def _check_copy(copy: keras.Model, model: keras.Model) -> None:
    before, after = named_variables(model), named_variables(copy)
    lost = [path for path in before if path not in after]
    if lost or len(after) > len(before):
        raise ValueError(
            f"Expected layers that Keras copies with their names and weights. Received: '{model.name}', whose copy "
            f"lacks {lost[:4]} and has {[path for path in after if path not in before][:4]}. A layer of your own needs "
            "a get_config with all that its __init__ takes, `name` among it; one that is shared with a wrapper, such "
            "as TimeDistributed, comes back twice: wrap it at every call. Or make the outer model a subclass of "
            "keras.Model, which is masked in place."
        )


def uncompile(model: keras.Model) -> None:
    """Takes away optimizer, loss and traced functions, which know nothing of masks that came later."""
    model.compiled, model._compile_config = False, None
    if hasattr(model, "optimizer"):
        del model.optimizer  # Keras' writer of .h5 files asks for the attribute, not what it is
    model.train_function = model.test_function = model.predict_function = None


def hold_all(model: keras.Model, paths: Iterable[str]) -> None:
    """Gives the weights at these paths masks that keep everything, in place."""
    known, wanted = maskable_weights(model), collections.defaultdict(list)
    layers = {id(layer): layer for layer, _ in known.values()}
    for path in paths:
        layer, weight = known[path]
        wanted[id(layer)].append(weight)
    for number in wanted:
        refuse_other_weights(layers[number])  # all of them before any is changed
    for number, weights in wanted.items():
        hold(layers[number], weights)
    for layer in model._flatten_layers():
        hold_inside(layer)
    _guard(model)


def release_all(model: keras.Model) -> None:
    """Makes every layer plain Keras again where there is such a kind, in place; pruned weights stay exact zeros."""
    for layer in model._flatten_layers():
        vars(layer).pop("get_config", None)
        release(layer)
        if type(layer) is BatchNormalization:  # ours differs in speed alone
            object.__setattr__(layer, "__class__", keras.layers.BatchNormalization)


def _guard(model: keras.Model) -> None:
    """Makes `get_config` raise in every layer or model that would not come back with the masks inside it."""
    for owner in reversed(model._flatten_layers()):
        below = _outermost_masked(owner)
        if below and not isinstance(owner, (Masked, MaskedInside)) and not _writes(owner, below):
            object.__setattr__(owner, "get_config", _refusal(owner))


def _outermost_masked(owner: keras.Layer) -> list[keras.Layer]:
    found: list[keras.Layer] = []
    for layer in owner._flatten_layers(include_self=False, recursive=False):
        found += [layer] if isinstance(layer, (Masked, MaskedInside)) else _outermost_masked(layer)
    return list({id(layer): layer for layer in found}.values())


def _writes(owner: keras.Layer, masked: list[keras.Layer]) -> bool:
    """True if the owner's config holds these layers, so that they come back masked."""
    try:
        written = collections.Counter(_written(keras.saving.serialize_keras_object(owner.get_config())))
    except MasksWouldBeLostError:
        return True  # it holds a layer that raises by itself
    except Exception:  # whatever a class raises that has no config: it can't be written
        return False
    needed = collections.Counter((keras.saving.get_registered_name(type(layer)), layer.name) for layer in masked)
    return all(written[key] >= count for key, count in needed.items())


def _written(config) -> Iterator[tuple[str, str]]:
    """(registered class, name) of every object in a serialised config."""
    if isinstance(config, dict):
        inner = config.get("config")
        if isinstance(inner, dict) and "name" in inner:
            yield str(config.get("registered_name") or config.get("class_name")), str(inner["name"])
    for value in config.values() if isinstance(config, dict) else config if isinstance(config, (list, tuple)) else ():
        yield from _written(value)


def _refusal(owner: keras.Layer):
    what, name = type(owner).__name__, owner.name

    def get_config():
        raise MasksWouldBeLostError(
            f"'{name}' of type {what} makes its layers itself and would make them without masks again: a file or clone "
            "of it would lose them. Write Ticket.dense(model).save(path), or model.save_weights(path) to load into "
            "kerasticket.masked(new model); or kerasticket.strip(model) and save what it gives."
        )

    return get_config


@contextlib.contextmanager
def _guards_lifted(model: keras.Model) -> Iterator[None]:
    guards = [(layer, vars(layer).pop("get_config", None)) for layer in model._flatten_layers()]
    try:
        yield
    finally:
        for layer, guard in guards:
            if guard is not None:
                object.__setattr__(layer, "get_config", guard)
