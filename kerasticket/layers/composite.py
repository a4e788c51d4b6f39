"""Masks on built layers in place, and layers that mask the layers which they make themselves.

A Keras layer becomes its masked kind by another class and a new weight.
"""

from collections.abc import Iterable
from typing import Any

from keras import layers

from kerasticket.backend.keras_internals import Hooked, remove_variable, sublayers, unlocked
from kerasticket.layers import constraints
from kerasticket.layers.class_swap import swap_class
from kerasticket.layers.convolution import TrainingConv2D
from kerasticket.layers.masked import MASKED, NEEDS, Masked, chosen_weights, mask_name, refuse_other_weights


class MaskedComposite(Hooked):
    """Mixin for a layer that makes its layers with kernels itself: an LSTM its cell, attention its projections.

    Args:
        masked_weights: "<name of the inner layer>/<weight>" for each weight to hold to a mask; default: all.
    """

    name: str
    built: bool

    def __init__(self, *args: Any, masked_weights: Iterable[str] | None = None, **kwargs: Any) -> None:
        vars(self)["_masked_weights"] = None if masked_weights is None else tuple(masked_weights)
        super().__init__(*args, **kwargs)

    def after_build(self) -> None:
        chosen, known = vars(self)["_masked_weights"], []
        for layer in sublayers(self):
            kind = masked_kind(layer)
            if kind is not None:
                known += [f"{layer.name}/{weight}" for weight in kind.maskable]
                hold(layer, [w for w in kind.default_weights if chosen is None or f"{layer.name}/{w}" in chosen])
        unknown = [path for path in chosen or () if path not in known]
        if unknown:
            raise ValueError(f"Expected masked_weights of '{self.name}' among {known}. Received: {unknown}.")

    def get_config(self) -> dict[str, Any]:
        kinds = [(layer, masked_kind(layer)) for layer in sublayers(self)]
        all_of = [f"{layer.name}/{weight}" for layer, kind in kinds if kind for weight in kind.default_weights]
        held = [f"{layer.name}/{one.name}" for layer, kind in kinds if isinstance(layer, Masked) for one in layer.held]
        chosen = (None if held == all_of else held) if self.built else vars(self)["_masked_weights"]
        option = {} if chosen is None else {"masked_weights": list(chosen)}
        return super().get_config() | option  # type: ignore[misc]

    def get_build_config(self) -> dict[str, Any] | None:
        config = super().get_build_config()  # type: ignore[misc]
        return config and config | NEEDS


def masked_kind(layer: layers.Layer) -> type[Masked] | None:
    """The class that holds weights of this layer, or would; None for layers without such, and those of MaskedComposite.

    By exact type: a subclass of a Keras layer may do anything with its kernel.
    """
    kind = type(layer) if isinstance(layer, Masked) else MASKED.get(type(layer))
    return kind if kind is not None and issubclass(kind, Masked) else None


def plain_kind(layer: layers.Layer) -> type[layers.Layer]:
    """The class of a masked layer without its masks; the class itself of any other."""
    return _plain(type(layer)) or type(layer)


def is_class_name(name: str, layer: layers.Layer) -> bool:
    """True for the name, in lower case, of the layer's class or of that which it had or will have by its masks."""
    plain = plain_kind(layer)
    if name in (type(layer).__name__.lower(), plain.__name__.lower()):
        return True
    return any(kind.__name__.lower() == name and _plain(kind) is plain for kind in _subclasses(Masked, MaskedComposite))


def _plain(kind: type[layers.Layer]) -> type[layers.Layer] | None:
    """The class without masks; None if a masked class of one's own has methods that would be lost with them."""
    if kind is TrainingConv2D:
        return layers.Conv2D
    known = next((plain for plain, masked in MASKED.items() if masked is kind), None)
    if known or not issubclass(kind, (Masked, MaskedComposite)):
        return known or kind
    kept = ("__init__", "get_config", "from_config", *getattr(kind, "maskable", ()))
    lost = [name for name, value in vars(kind).items() if name not in kept and _acts(value)]
    bases = [base for base in kind.__bases__ if base not in (Masked, MaskedComposite)]
    return None if lost or len(bases) != 1 else _plain(bases[0])


def _acts(value: Any) -> bool:
    return callable(value) or isinstance(value, (property, classmethod, staticmethod))


def _subclasses(*kinds: type) -> list[Any]:
    below: list[Any] = []
    for kind in kinds:
        below += kind.__subclasses__()
    return below + _subclasses(*below) if below else []


def hold(layer: layers.Layer, weights: Iterable[str]) -> None:
    """Gives weights of a built layer masks that keep everything, in place; its class becomes the masked one."""
    weights = list(weights)
    if not weights:
        return
    kind = masked_kind(layer)
    assert kind is not None
    refuse_other_weights(layer)
    before = vars(layer).get("_masked_weights", ())
    vars(layer)["_masked_weights"] = chosen_weights(kind, [*before, *weights])
    swap_class(layer, kind)
    with unlocked(layer):
        layer.after_build()


def hold_composite(layer: layers.Layer) -> None:
    """Gives a layer, whose inner ones have been given masks, the class that makes them again when it is loaded."""
    kind = MASKED.get(type(layer))
    if kind is not None and issubclass(kind, MaskedComposite) and any(isinstance(x, Masked) for x in sublayers(layer)):
        vars(layer)["_masked_weights"] = None
        swap_class(layer, kind)


def release(layer: Any) -> None:
    """Takes the masks of a layer away again, in place; pruned weights stay at exactly zero.

    Raises:
        ValueError: a masked class of one's own that has methods, which the plain layer would lack.
    """
    if not isinstance(layer, (Masked, MaskedComposite)):
        return
    plain = plain_kind(layer)
    if plain is type(layer):
        raise ValueError(
            f"Expected masked layers of {sorted(kind.__name__ for kind in MASKED.values())}, or of a class of your own "
            f"that adds masks alone, such as `class MaskedMine(kerasticket.layers.Masked, Mine)`. Received: "
            f"'{layer.name}' of type {type(layer).__name__}, whose methods a layer without masks would lack: move them "
            "to the class that it masks."
        )
    for one in layer.held if isinstance(layer, Masked) else ():
        constraints.let_go(one.variable)
        remove_variable(layer, mask_name(one.name))
    vars(layer).pop("_masked_weights")
    swap_class(layer, plain)
