"""Exchanging the layers of a model for their masked or plain kinds: on a copy, or in place where none can be made.

Keras builds a subclassed model, or a layer of a user's own, again from its `__init__`, which knows nothing of masks.
The layers in it are exchanged in place, and its `get_config` then raises, so that no file is written without masks.
"""

import collections
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import keras

from kerasticket.backend.keras_internals import (
    FLAGS,
    all_layers,
    attributes_of,
    forget_compilation,
    list_variables_again,
    sublayers,
)
from kerasticket.layers.composite import MaskedComposite, hold, hold_composite, release
from kerasticket.layers.masked import Masked, refuse_other_weights
from kerasticket.layers.normalization import BatchNormalization
from kerasticket.models import attributes
from kerasticket.models.paths import (
    has_own_call,
    is_functional,
    layer_paths,
    makes_its_layers,
    maskable_weights,
    named_variables,
)


class MasksWouldBeLostError(ValueError):
    """A file of this model, loaded again, would have plain layers in the place of masked ones."""


def can_be_copied(model: keras.Model) -> bool:
    """False for subclassed models, and for functional ones of a class that makes its layers or has its own `call`."""
    return is_functional(model) and not any(has_own_call(one) or makes_its_layers(one) for one in all_layers(model))


def again(layer: Any, changes: dict[str, Any] | None = None) -> Any:
    """A Keras layer or operation built from its config, with these changes and with the same functions."""
    config = layer.get_config()
    given = {key: vars(layer)[key] for key in config if callable(vars(layer).get(key))}  # functions have no config
    return type(layer).from_config(config | given | (changes or {}))


def clone(model: keras.Model, make: Callable[[keras.Layer], keras.Layer]) -> keras.Model:
    """Another functional or Sequential model along the graph of one, not compiled; the attributes are the model's.

    Args:
        model: becomes a plain functional or Sequential one: Keras would call the constructor of its class.
        make: gives the layer that stands in the clone for one of the model's.
    """
    kinds = {id(one): type(one) for one in all_layers(model) if is_functional(one)}
    for one in all_layers(model):
        if id(one) in kinds:
            plain = next(kind for kind in type(one).__mro__ if kind.__module__.startswith("keras."))
            object.__setattr__(one, "__class__", plain)
    small = keras.models.clone_model(model, clone_function=make, recursive=True)
    if not small.built:
        small.build(model.input_shape)
    variables = named_variables(small)
    _check_clone(variables, named_variables(model), model)
    ours, twins = layer_paths(model) | {"": model}, layer_paths(small) | {"": small}
    known = {id(one): twins[path] for path, one in ours.items() if path in twins}
    for one in filter(lambda one: id(one) in known, ours.values()):
        take_over(one, known)
        if id(one) in kinds:
            object.__setattr__(known[id(one)], "__class__", kinds[id(one)])
    for path, variable in named_variables(model).items():
        variables[path].trainable = variable.trainable
    forget_compilation(small)  # Keras compiles it like the original, whose optimizer another recipe may not want
    return small


def take_over(layer: keras.Layer, twins: dict[int, keras.Layer]) -> None:
    """Gives the twin of a layer what its config lacks: flags, and attributes that users have put on it.

    Args:
        twins: of all layers of the model, by the id of the layer.
    """
    twin = twins[id(layer)]
    known = attributes_of(twin)
    for name, value in attributes_of(layer).items():
        if name in FLAGS or name not in known:
            attributes.give(twin, name, twins.get(id(value), value))


def _check_clone(after: dict[str, Any], before: dict[str, Any], model: keras.Model) -> None:
    lost, more = ([path for path in a if path not in b] for a, b in ((before, after), (after, before)))
    more = [path for path in more if path.removesuffix("bias") + "kernel" not in before]  # compaction gives biases
    if lost or more:
        raise ValueError(
            f"Expected layers that come back with their names and weights along the graph. Received: '{model.name}', "
            f"whose clone lacks {lost[:4]} and has {more[:4]}. A layer that is shared with a wrapper, such as "
            "TimeDistributed, comes back twice: wrap it at every call."
        )


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
    for layer in all_layers(model):
        hold_composite(layer)
    for layer in all_layers(model):
        list_variables_again(layer)
    _guard(model)


def release_all(model: keras.Model) -> None:
    """Makes every layer plain Keras again where there is such a kind, in place; pruned weights stay exact zeros."""
    for layer in all_layers(model):
        vars(layer).pop("get_config", None)
        release(layer)
        if type(layer) is BatchNormalization:  # ours differs in speed alone
            object.__setattr__(layer, "__class__", keras.layers.BatchNormalization)
    for layer in all_layers(model):
        list_variables_again(layer)


def _guard(model: keras.Model) -> None:
    """Makes `get_config` raise in every layer or model that would not come back with the masks inside it."""
    for owner in reversed(all_layers(model)):
        below = _outermost_masked(owner)
        if below and not isinstance(owner, (Masked, MaskedComposite)) and not _writes(owner, below):
            object.__setattr__(owner, "get_config", _refusal(owner))


def _outermost_masked(owner: keras.Layer) -> list[keras.Layer]:
    found: list[keras.Layer] = []
    for layer in sublayers(owner, recursive=False):
        found += [layer] if isinstance(layer, (Masked, MaskedComposite)) else _outermost_masked(layer)
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
    """(registered class, name) of every object in a serialized config."""
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
