"""Layers some of whose weights are held to masks: the mixin.

A mask is a non-trainable weight, and a held weight reads as `where(mask, weight, 0)`. So gradients of pruned weights
are exactly zero on every backend, masks may change between epochs without a retrace, and they travel with the
layer into every file. (A mask in a constraint or a closure is frozen into the trace on TensorFlow and JAX.)
"""

import dataclasses
from collections.abc import Iterable
from typing import Any, ClassVar

import keras
import numpy as np
from keras import layers, ops

from kerasticket.backend.keras_internals import Hooked, lay_as, variable_of
from kerasticket.backend.variables import array_of
from kerasticket.layers import constraints
from kerasticket.layers.traits import TRAITS

MASKED: dict[type[layers.Layer], type[layers.Layer]] = {}  # filled by the classes of `kinds.py`


# Keras cannot import the package of a class by itself, but shows a layer's config where it does not know the class.
NEEDS = {"needs": "pip install kerasticket, and import kerasticket before the model is loaded"}


def mask_name(weight: str) -> str:
    """The name of a weight's mask: "mask" for the kernel, else "recurrent_kernel_mask" and the like."""
    return "mask" if weight == "kernel" else f"{weight}_mask"


@dataclasses.dataclass(frozen=True)
class MaskedWeight:
    """A weight of a layer, and the mask that it is held to."""

    layer: layers.Layer
    name: str
    variable: keras.Variable
    mask: keras.Variable

    def set_mask(self, mask) -> None:
        """Takes a boolean array of the weight's shape and zeroes the pruned entries themselves.

        Raises:
            ValueError: another shape or dtype.
        """
        mask, shape = np.asarray(mask), tuple(self.variable.shape)
        if mask.dtype != bool or mask.shape != shape:
            raise ValueError(
                f"Layer '{self.layer.name}' expects a boolean mask of shape {shape} for its {self.name}. "
                f"Received: dtype {mask.dtype}, shape {mask.shape}."
            )
        self.mask.assign(mask)
        self.variable.assign(np.where(mask, array_of(self.variable), 0))


class _Held:
    """Attribute of a layer that reads as `where(mask, weight, 0)` once there is a mask for it.

    The variable stays where the Keras layer puts it, so a layer's class can be exchanged in place.
    """

    def __init__(self, weight: str, plain: property | None) -> None:
        self.weight = weight
        self.plain = plain

    def __get__(self, layer, owner=None):
        if layer is None:
            return self
        if self.plain is None and self.weight not in vars(layer):
            raise AttributeError(f"'{type(layer).__name__}' has no '{self.weight}' before it is built.")
        value = vars(layer)[self.weight] if self.plain is None else self.plain.__get__(layer)
        mask = vars(layer).get(mask_name(self.weight))
        if mask is None:
            return value
        value = ops.convert_to_tensor(value)  # JAX takes no Keras variables in `where`
        return ops.where(ops.convert_to_tensor(mask), value, ops.zeros((), value.dtype))

    def refuse_others(self, layer) -> None:
        """Raises ValueError if the attribute is not its variable, as where a class standardizes weights in it."""
        if self.plain is None or self.plain.fget.__module__.startswith("keras."):
            return
        raw = array_of(variable_of(layer, self.weight))
        if not np.array_equal(raw, ops.convert_to_numpy(self.plain.__get__(layer))):
            raise ValueError(
                f"Expected a layer whose '{self.weight}' is its variable. Received: '{layer.name}', whose class "
                f"computes other values from it, so that zeros would not stay zeros. Compute them in `call`, or "
                "leave the layer without masks."
            )

    def __set__(self, layer, value) -> None:
        if self.plain is not None or mask_name(self.weight) in vars(layer):
            raise AttributeError(
                f"'{self.weight}' of '{type(layer).__name__}' cannot be set: it is its variable under its mask. For a "
                f"wrapper that writes it, keep the layer dense: kerasticket.masked(..., keep_dense='*{layer.name}')."
            )
        vars(layer)[self.weight] = value


class Masked(Hooked):
    """Mixin that holds weights of a Keras layer to boolean masks of the same shape, True = kept.

    It goes before the layer that it masks: `class MaskedDense(Masked, keras.layers.Dense)`.

    Args:
        masked_weights: names of the weights to hold to masks; default: all of `default_weights`.

    Attributes:
        maskable: names of all weights that can be masked; these three are those of the Keras layer in `layers.traits`,
            unless the class says otherwise.
        default_weights: those that are, where none are named.
        only_if_asked: `kerasticket.masked` leaves such layers dense unless they are asked for.
    """

    maskable: ClassVar[tuple[str, ...]] = ("kernel",)
    default_weights: ClassVar[tuple[str, ...]] = ("kernel",)
    only_if_asked: ClassVar[bool] = False
    _numbers_weights: ClassVar[bool]  # Keras writes all weights of the layer by their numbers, masks among them
    name: str
    built: bool

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        own = [base for base in cls.__mro__ if not issubclass(base, Masked)]
        cls._take_traits(own)
        for weight in cls.maskable:
            found = next((vars(base)[weight] for base in own if weight in vars(base)), None)
            setattr(cls, weight, _Held(weight, found if isinstance(found, property) else None))
        writes = next((vars(base)["save_own_variables"] for base in own if "save_own_variables" in vars(base)), None)
        cls._numbers_weights = writes is layers.Layer.save_own_variables

    @classmethod
    def _take_traits(cls, own: list[type]) -> None:
        traits = next((TRAITS[base] for base in own if base in TRAITS), None)
        masked = [base for base in cls.__mro__ if issubclass(base, Masked) and base is not Masked]
        for name in ("maskable", "default_weights", "only_if_asked") if traits else ():
            if not any(name in vars(base) for base in masked):
                setattr(cls, name, getattr(traits, name))

    def __init__(self, *args: Any, masked_weights: Iterable[str] | None = None, **kwargs: Any) -> None:
        chosen = chosen_weights(type(self), self.default_weights if masked_weights is None else masked_weights)
        vars(self)["_masked_weights"] = chosen  # first, for an Embedding may build itself on construction
        super().__init__(*args, **kwargs)

    def after_build(self) -> None:
        refuse_other_weights(self)
        for weight in vars(self)["_masked_weights"]:
            getattr(type(self), weight).refuse_others(self)
            if mask_name(weight) not in vars(self):
                like, options = variable_of(self, weight), {"dtype": "bool", "trainable": False}
                with keras.name_scope(self.name):
                    mask = self.add_weight(  # type: ignore[attr-defined]
                        name=mask_name(weight), shape=like.shape, initializer=_all_kept(like), **options
                    )
                lay_as(mask, like)
                setattr(self, mask_name(weight), mask)
                constraints.hold(like, mask)

    @property
    def held(self) -> tuple[MaskedWeight, ...]:
        """The weights that have masks; empty before the layer is built."""
        names = (weight for weight in vars(self)["_masked_weights"] if mask_name(weight) in vars(self))
        return tuple(MaskedWeight(self, w, variable_of(self, w), vars(self)[mask_name(w)]) for w in names)

    def set_mask(self, mask, weight: str | None = None) -> None:
        """Holds a weight to a boolean array of its shape and zeroes its pruned entries themselves.

        Args:
            weight: its name; default: the first that has a mask, "kernel" in most layers.
        """
        held = {one.name: one for one in self.held}
        name = next(iter(held), None) if weight is None else weight
        if name not in held:
            raise ValueError(f"Expected a masked weight of '{self.name}': {list(held)}. Received: weight={weight!r}.")
        held[name].set_mask(mask)

    def save_own_variables(self, store) -> None:
        super().save_own_variables(store)  # type: ignore[misc]  # pruned weights are exact zeros
        for one in () if self._numbers_weights else self.held:
            store[mask_name(one.name)] = array_of(one.mask)

    def load_own_variables(self, store) -> None:
        super().load_own_variables(store)  # type: ignore[misc]
        for one in () if self._numbers_weights else self.held:
            one.mask.assign(np.asarray(store[mask_name(one.name)]))

    def get_config(self) -> dict[str, Any]:
        chosen = vars(self)["_masked_weights"]
        option = {} if chosen == self.default_weights else {"masked_weights": list(chosen)}
        return super().get_config() | option  # type: ignore[misc]

    def get_build_config(self) -> dict[str, Any] | None:
        config = super().get_build_config()  # type: ignore[misc]
        return config and config | NEEDS

    def enable_lora(self, *args: Any, **kwargs: Any) -> None:
        raise ValueError(f"Expected a layer without LoRA, which adds to pruned weights. Received: '{self.name}'.")

    def before_quantization(self) -> None:
        raise ValueError(
            f"Expected a layer without masks to quantize. Received: '{self.name}'. Take kerasticket.strip(model) first."
        )


def _all_kept(weight: keras.Variable):
    # In torch, orthogonal kernels lie in memory column by column, and products with them round accordingly. A mask
    # that lies as its weight does leaves the outputs the same to the bit.
    def initializer(shape, dtype):
        return ops.cast(ops.ones_like(ops.convert_to_tensor(weight)), dtype)

    return initializer


def chosen_weights(kind: type[Masked], weights: Iterable[str]) -> tuple[str, ...]:
    """These weights in the order of the class; raises ValueError unless it can mask them."""
    weights = list(weights)
    unknown = [weight for weight in weights if weight not in kind.maskable]
    if unknown or not weights:
        raise ValueError(
            f"Expected masked_weights of {kind.__name__} among {list(kind.maskable)}, at least one. "
            f"Received: masked_weights={weights}."
        )
    return tuple(weight for weight in kind.maskable if weight in weights)


def refuse_other_weights(layer: layers.Layer) -> None:
    """Raises ValueError if a layer's kernel is not all that it multiplies with: LoRA, quantization."""
    if getattr(layer, "lora_rank", None):
        raise ValueError(f"Expected a layer without LoRA, which adds to pruned weights. Received: '{layer.name}'.")
    if getattr(layer, "quantization_mode", None):
        raise ValueError(
            f"Expected a layer that is not quantized. Received: '{layer.name}' in {layer.quantization_mode}. "
            "Prune first, take kerasticket.strip(model), then quantize."
        )
