"""What is prunable and pruned in a model, layer by layer, and what it costs to compute and to keep."""

import dataclasses
import math
from typing import NamedTuple

import keras
import numpy as np
from keras import layers

from kerasticket import masks
from kerasticket.layers.composite import plain_kind
from kerasticket.layers.masked import MaskedWeight
from kerasticket.layers.traits import TRAITS
from kerasticket.masks import Mask
from kerasticket.models.graph.costs import uses
from kerasticket.models.paths import SEED_STATE, owners
from kerasticket.params import Params
from kerasticket.pruning.text_tables import short, shortened, table
from kerasticket.tickets.masking import get_mask, get_params, require_masked
from kerasticket.tickets.sparse_files import size_bound


@dataclasses.dataclass(frozen=True)
class LayerSummary:
    """One line of `summary`: a masked weight, or a layer without any, which then has None for what there is not.

    Attributes:
        layer: path of the layer; of the weight, if that is no kernel.
        kind: class of the layer.
        shape: of the weight.
        parameters: of the layer, on the first of its lines.
        kept: entries that the mask keeps.
        sparsity: share of its entries that are pruned.
        dead: units whose incoming weights are all pruned, and all units; None for layers whose kernels have no axis of
            units (recurrent layers, embeddings, EinsumDense of more axes than two).
        macs: multiply-accumulates per example with the whole weight; None where not known. See `graph.costs.uses`.
        sparse_macs: those with kept entries alone.
    """

    layer: str
    kind: str
    shape: tuple[int, ...] | None
    parameters: int
    kept: int | None
    sparsity: float | None
    dead: tuple[int, int] | None = None
    macs: int | None = None
    sparse_macs: int | None = None


@dataclasses.dataclass(frozen=True)
class Summary:
    """What is prunable and pruned, layer by layer, and what that costs; printing it gives a table.

    Attributes:
        layers: its lines.
        prunable: entries of all weights that have a mask.
        kept: those that the masks keep.
        trainable: trainable weights, prunable or not; frozen weights count where they have a mask.
        classifier: path of the last layer, if it is a Dense one and prunable; many keep it dense.
        macs: multiply-accumulates per example, zeros and all; None if those of a masked weight are not known.
        sparse_macs: those with weights that are kept. No hardware skips the others but in special kernels.
        dense_bytes: of all weights in their own type.
        sparse_bytes: of the file that `kerasticket.save_sparse` writes, at most.
    """

    layers: tuple[LayerSummary, ...]
    prunable: int
    kept: int
    trainable: int
    classifier: str | None = None
    macs: int | None = None
    sparse_macs: int | None = None
    dense_bytes: int = 0
    sparse_bytes: int = 0

    @property
    def sparsity(self) -> float:
        """Share of the prunable weights that are pruned."""
        return (self.prunable - self.kept) / self.prunable

    def __str__(self) -> str:
        lines = table([_HEADS, *(_row(line) for line in self.layers)])
        whole = 1 - (self.trainable - self.prunable + self.kept) / self.trainable
        lines.append(
            f"{self.kept:,} of {self.prunable:,} prunable weights kept: sparsity {self.sparsity:.2%} "
            f"of the prunable, {whole:.2%} of all {self.trainable:,} trainable weights"
        )
        macs = (
            short(self.macs) if self.macs is None else f"{short(self.macs)}, {short(self.sparse_macs)} of kept weights"
        )
        lines.append(f"multiply-accumulates per example: {macs}")
        lines.append(f"weights: {short(self.dense_bytes)}B, in a sparse file at most {short(self.sparse_bytes)}B")
        if self.classifier:
            lines.append(f"The classifier '{self.classifier}' is prunable too.")
        return "\n".join(lines)


def summary(model: keras.Model) -> Summary:
    """Shapes, kept weights, sparsity, dead units and multiply-accumulates of every layer with weights; print it.

    Raises:
        ValueError: the model has no masked layers.

    >>> from kerasticket import masked
    >>> model = masked(keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="out")]))
    >>> print(summary(model))
    layer  type   weight  params  kept  sparsity  dead  MACs  of kept
    out    Dense  4x2     10      8/8   0.00%     0/2   8     8
    8 of 8 prunable weights kept: sparsity 0.00% of the prunable, 0.00% of all 10 trainable weights
    multiply-accumulates per example: 8, 8 of kept weights
    weights: 40B, in a sparse file at most 3.36kB
    The classifier 'out' is prunable too.
    """
    facts = _Facts(owners(model), require_masked(model), get_params(model), get_mask(model), uses(model))
    params, mask, times = facts.params, facts.mask, facts.times
    by_layer = _by_layer(params)
    macs = {path: params[path].size * count for path, count in times.items()}
    of_kept = macs | {path: int(kept.sum()) * times.get(path, 0) for path, kept in mask.items()}
    known = all(path in times for path in mask)
    return Summary(
        tuple(line for layer, paths in by_layer.items() for line in _lines(layer, paths, facts)),
        masks.total(mask),
        masks.kept(mask),
        _trainable(model, facts.held),
        _classifier(facts, by_layer),
        sum(macs.values()) if known else None,
        sum(of_kept.values()) if known else None,
        sum(array.nbytes for array in params.values()),
        size_bound(params, mask),
    )


class _Facts(NamedTuple):
    """What is known of the weights of a model, all by path."""

    owners: dict[str, keras.Layer]
    held: dict[str, MaskedWeight]
    params: Params
    mask: Mask
    times: dict[str, int]


def _by_layer(params: Params) -> dict[str, list[str]]:
    """The paths of the weights of each layer."""
    found: dict[str, list[str]] = {}
    for path in (path for path in params if not path.endswith(SEED_STATE)):
        found.setdefault(path.rpartition("/")[0], []).append(path)
    return found


def _trainable(model: keras.Model, held: dict[str, MaskedWeight]) -> int:
    every = [*model.trainable_variables, *(one.variable for one in held.values())]
    return sum({id(variable): math.prod(variable.shape) for variable in every}.values())


def _classifier(facts: _Facts, by_layer: dict[str, list[str]]) -> str | None:
    last, paths = list(by_layer.items())[-1]
    is_dense = plain_kind(facts.owners[paths[0]]) is layers.Dense
    return last if is_dense and any(path in facts.mask for path in paths) else None


def _lines(layer: str, paths: list[str], facts: _Facts) -> list[LayerSummary]:
    parameters = sum(facts.params[path].size for path in paths)
    lines = [_line(layer, path, facts) for path in paths if path in facts.mask] or [_unmasked(layer, paths, facts)]
    return [dataclasses.replace(lines[0], parameters=parameters), *lines[1:]]


def _line(layer: str, path: str, facts: _Facts) -> LayerSummary:
    held, kept, times = facts.held[path], facts.mask[path], facts.times.get(path)
    return LayerSummary(
        layer if held.name == "kernel" else path,
        type(held.layer).__name__,
        kept.shape,
        0,
        int(kept.sum()),
        1 - float(kept.mean()),
        _dead(held, kept),
        None if times is None else kept.size * times,
        None if times is None else int(kept.sum()) * times,
    )


def _unmasked(layer: str, paths: list[str], facts: _Facts) -> LayerSummary:
    kind = type(facts.owners[paths[0]]).__name__
    known = [facts.params[path].size * facts.times[path] for path in paths if path in facts.times]
    macs = sum(known) if known else None
    return LayerSummary(layer, kind, None, 0, None, None, None, macs, macs)


def _dead(held: MaskedWeight, kept: np.ndarray) -> tuple[int, int] | None:
    """Units without an incoming weight, and all units, of kernels that alone decide what a unit is."""
    kind = plain_kind(held.layer)
    traits = None if kind is layers.EinsumDense else TRAITS.get(kind)
    if traits is None or traits.gates or held.name not in ("kernel", "pointwise_kernel"):
        return None
    outputs = [axis % kept.ndim for axis in traits.axes(held.layer, held.name).outputs]
    units = ~kept.any(tuple(axis for axis in range(kept.ndim) if axis not in outputs))
    return int(units.sum()), units.size


_HEADS = ("layer", "type", "weight", "params", "kept", "sparsity", "dead", "MACs", "of kept")


def _row(line: LayerSummary) -> tuple[str, ...]:
    name, kind = shortened(line.layer, 28), line.kind.removeprefix("Masked")
    parameters = _count(line.parameters) if line.parameters else ""
    if line.shape is None:
        macs = ("", "") if line.macs is None else (short(line.macs), short(line.sparse_macs))
        return name, kind, "", parameters, "not masked", "", "", *macs
    total = math.prod(line.shape)
    shape, kept = "x".join(map(str, line.shape)), f"{_count(line.kept, total)}/{_count(total)}"
    dead = "" if line.dead is None else "{:,}/{:,}".format(*line.dead)
    macs = short(line.macs), short(line.sparse_macs)
    return name, kind, shape, parameters, kept, f"{line.sparsity:.2%}", dead, *macs


def _count(number: int | None, most: int | None = None) -> str:
    """All digits where none of a column's numbers has more than six."""
    return f"{number:,}" if (most or number or 0) < 1_000_000 else short(number)
