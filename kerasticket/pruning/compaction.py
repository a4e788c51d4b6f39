"""Smaller models: the channels, filters and units that masks have made useless are taken out."""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers

from kerasticket.layers.copies import duplicate
from kerasticket.layers.traits import TRAITS
from kerasticket.models.graph.calls import has_graph
from kerasticket.models.graph.channel_rules import RULES
from kerasticket.models.graph.costs import uses
from kerasticket.models.graph.dead import Dead, dead_channels
from kerasticket.models.paths import layer_paths
from kerasticket.params import Params
from kerasticket.pruning.text_tables import short, shortened, table
from kerasticket.tickets import conversion
from kerasticket.tickets.masking import check_built, get_params, set_params, strip


@dataclasses.dataclass(frozen=True)
class LayerChange:
    """What became of one layer that makes channels; pairs are before and after.

    Attributes:
        layer: its path.
        kind: its class.
        units: its filters or units.
        parameters: its weights and biases.
        macs: multiply-accumulates per example, zeros and all; None where not known.
        idle: units that stay although no weight leads to them, as their constant is needed or the layer has no others.
    """

    layer: str
    kind: str
    units: tuple[int, int]
    parameters: tuple[int, int]
    macs: tuple[int | None, int | None]
    idle: int


@dataclasses.dataclass(frozen=True)
class Compacted:
    """A smaller model, and what is gone from it; printing it gives a table.

    Attributes:
        model: plain Keras, without masks, not compiled.
        layers: those that make channels.
        parameters: of the whole model, before and after.
        macs: multiply-accumulates per example of the whole model, as far as `models.graph.costs` knows them.
        unknown: layers through which channels are not followed, "name (class)": what they read and make is all there.
    """

    model: keras.Model
    layers: tuple[LayerChange, ...]
    parameters: tuple[int, int]
    macs: tuple[int, int]
    unknown: tuple[str, ...]

    @property
    def units(self) -> tuple[int, int]:
        """Units of all layers, before and after."""
        return sum(line.units[0] for line in self.layers), sum(line.units[1] for line in self.layers)

    def __str__(self) -> str:
        lines = table([("layer", "type", "units", "parameters", "MACs"), *map(_row, self.layers)])
        lines.append(
            f"{_change(*self.units)} units, {_change(*self.parameters)} parameters, "
            f"{_change(*self.macs, short)} multiply-accumulates per example"
        )
        idle = {line.layer: line.idle for line in self.layers if line.idle}
        if idle:
            lines.append(f"Units that stay though no weight leads to them (LayerChange.idle), {sum(idle.values())}:")
            lines += [f"  {count} in {layer}" for layer, count in idle.items()]
        if self.unknown:
            lines.append(f"Nothing is taken out around {', '.join(self.unknown)}.")
        return "\n".join(lines)


def compact(model: keras.Model) -> Compacted:
    """A smaller model with the same outputs: without the channels, filters and units that pruning has made useless.

    Two kinds go. Those whose outgoing weights are all zero, or lead to such as go themselves: nothing reads them. And
    those whose incoming weights are all zero, so that they send out a constant, where that can be added to the biases
    behind exactly: not into a convolution that pads with zeros unless the constant is 0, which at the border another
    number would be. Dense layers and convolutions without a bias get one if they need it. Channels that a residual
    connection adds up go if all of its branches can do without. Each layer keeps one unit at least.

    The graph is followed through the layers of `models.graph.channel_rules.RULES`; what goes into or comes out of
    others (attention, layer norm, recurrent layers), through operations beside those of
    `models.graph.operation_rules.OPERATIONS` (`a + b` is one), and into nested models, stays whole.
    It is the weights that count, not the masks: a model that was stripped before can be compacted, and a weight that is
    kept and exactly zero counts as pruned. So train before, not after, if units are still to come back to life.

    Outputs are those of inference and agree to rounding: sums have fewer terms, in another order. On the networks of
    `kerasticket.models` in float32 they differ by less than 1e-5 of the largest output.

    Args:
        model: a built Sequential or functional model, masked or plain; it stays as it is.

    Returns:
        The model, not compiled, and what is gone, layer by layer. An unpruned model comes back in its own shape.

    Raises:
        ValueError: the model is not built, is subclassed, or has layers that cannot be built from their config.

    >>> from kerasticket import masked, set_mask
    >>> stack = [keras.Input((4,)), keras.layers.Dense(3, name="hidden"), keras.layers.Dense(2, name="out")]
    >>> model = masked(keras.Sequential(stack))
    >>> set_mask(model, {"out/kernel": np.array([[True, True], [False, False], [True, False]])})
    >>> print(compact(model))
    layer   type   units   parameters  MACs
    hidden  Dense  3 -> 2  15 -> 10    12 -> 8
    out     Dense  2       8 -> 6      6 -> 4
    5 -> 4 units, 23 -> 16 parameters, 18 -> 12 multiply-accumulates per example
    """
    _check(model)
    plain = strip(model)
    dead = dead_channels(plain)
    before = get_params(plain)
    after = _shifted(dead, before)
    small = conversion.clone(plain, _Resized(plain, dead, after))
    set_params(small, after)
    return _report(small, plain, dead, (before, after))


def _check(model) -> None:
    check_built(model)
    if not has_graph(model) or not conversion.can_be_copied(model):
        raise ValueError(
            "Expected a Sequential or functional model, whose graph says which layer reads which channels. "
            f"Received: '{model.name}' of type {type(model).__name__}, which is subclassed or holds a model "
            "with a `call` of its own or of a class that makes its layers itself. Compact the functional models inside "
            "it, or take kerasticket.strip(model) and kerasticket.save_sparse."
        )


def _shifted(dead: Dead, params: Params) -> Params:
    """The params without dead channels, their constants in the biases, which are made where there are none."""
    after = dead.cut(params)
    for path, shift in dead.shifts.items():
        bias = f"{path.rpartition('/')[0]}/bias"
        old = after.get(bias, np.zeros((), after[path].dtype))
        after[bias] = (old + shift).astype(old.dtype)
    return after


class _Resized:
    """Makes each layer again with as many units as its weights are to have."""

    def __init__(self, model: keras.Model, dead: Dead, params: Params):
        self.paths = {id(layer): path for path, layer in layer_paths(model).items()}
        self.dead = dead
        self.params = params
        self.unknown = {id(layer) for layer in dead.unknown}

    def __call__(self, layer: keras.Layer) -> keras.Layer:
        if not isinstance(layer, keras.Layer):
            return conversion.again(layer)
        if type(layer) not in RULES or id(layer) in self.unknown:
            return duplicate(layer)  # all that it reads and makes is there, and a config may not tell all of it
        config, rule = layer.get_config(), SIZES.get(type(layer))
        changes: dict[str, Any] = {key: "zeros" for key, value in config.items() if _is_array(value)}
        if rule:
            changes |= rule(layer, self._kernel_shape(layer), self.dead)
        if f"{self.paths.get(id(layer))}/kernel" in self.dead.shifts and "use_bias" in config:
            changes |= {"use_bias": True}
        return conversion.again(layer, changes)

    def _kernel_shape(self, layer: keras.Layer) -> tuple[int, ...]:
        kernel = self.params.get(f"{self.paths.get(id(layer))}/kernel")
        return () if kernel is None else kernel.shape


def _is_array(setting: Any) -> bool:
    """True for an initializer of given values, which are of the old size; all weights are set afterwards."""
    if not isinstance(setting, dict) or setting.get("class_name") != "Constant":
        return False
    return not isinstance(setting["config"]["value"], (int, float))


def _units(layer, shape: tuple[int, ...], dead: Dead) -> dict[str, Any]:
    traits = TRAITS[type(layer)]
    return traits.size(layer, shape[traits.axes(layer).outputs[-1]])


def _group_norm(layer, shape: tuple[int, ...], dead: Dead) -> dict[str, Any]:
    return {"groups": -1}  # one channel each: others have no rule


def _dropout(layer, shape: tuple[int, ...], dead: Dead) -> dict[str, Any]:
    sides = layer.noise_shape and [*layer.noise_shape]
    return {"noise_shape": sides and [*sides[:-1], 1 if sides[-1] == 1 else None]}  # None: as the input has


def _reshape(layer, shape: tuple[int, ...], dead: Dead) -> dict[str, Any]:
    return {"target_shape": (*layer.target_shape[:-1], dead.widths[id(layer)])}


# What a layer's config says about the number of channels: (layer, shape of its kernel, dead channels) -> new settings.
SIZES: dict[type, Callable[[Any, tuple[int, ...], Dead], dict[str, Any]]] = {
    **dict.fromkeys((kind for kind in TRAITS if kind in RULES), _units),
    layers.GroupNormalization: _group_norm,
    layers.Dropout: _dropout,
    layers.Reshape: _reshape,
}


def _report(small: keras.Model, plain: keras.Model, dead: Dead, params: tuple[Params, Params]) -> Compacted:
    macs = _macs(plain, params[0]), _macs(small, params[1])
    kinds = {path: type(layer).__name__ for path, layer in layer_paths(plain).items()}
    return Compacted(
        small,
        tuple(_layer_change(path, axis, kinds, params, macs) for path, axis in dead.outputs.items()),
        (plain.count_params(), small.count_params()),
        (sum(macs[0].values()), sum(macs[1].values())),
        tuple(f"{layer.name} ({type(layer).__name__})" for layer in dead.unknown),
    )


def _macs(model: keras.Model, params: Params) -> dict[str, int]:
    return {path: times * params[path].size for path, times in uses(model).items()}


def _layer_change(
    path: str, axis: int, kinds: dict[str, str], params: tuple[Params, Params], macs: tuple[dict, dict]
) -> LayerChange:
    layer = path.rpartition("/")[0]
    before, after = params
    sizes = [sum(a.size for p, a in side.items() if p.rpartition("/")[0] == layer) for side in params]
    leads = np.moveaxis(after[path], axis, 0).reshape(after[path].shape[axis], -1).any(1)
    return LayerChange(
        layer,
        kinds[layer],
        (before[path].shape[axis], after[path].shape[axis]),
        (sizes[0], sizes[1]),
        (macs[0].get(path), macs[1].get(path)),
        int((~leads).sum()),
    )


def _change(before, after, show: Callable[[Any], str] = "{:,}".format) -> str:
    return show(before) if before == after else f"{show(before)} -> {show(after)}"


def _row(line: LayerChange) -> tuple[str, ...]:
    changes = _change(*line.units), _change(*line.parameters), _change(*line.macs, short)
    return (shortened(line.layer), line.kind, *changes)
