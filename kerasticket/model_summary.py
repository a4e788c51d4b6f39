"""What is prunable and pruned in a model, layer by layer."""

import dataclasses
import math

import keras

from kerasticket import masks
from kerasticket.layers.inside import plain_kind
from kerasticket.layers.masked import MaskedWeight
from kerasticket.masking import get_mask, require_masked
from kerasticket.masks import Mask
from kerasticket.variables import SEED_STATE, masked_weights, named_variables, owners


@dataclasses.dataclass(frozen=True)
class LayerSummary:
    """One line of `summary`: a masked weight, or a layer without any, of which shape, kept and sparsity are None.

    Attributes:
        layer: path of the layer; of the weight, if that is no kernel.
        kind: class of the layer, or "not masked".
        shape: of the weight.
        parameters: of the layer, on the first of its lines.
        kept: entries that the mask keeps.
        sparsity: share of its entries that are pruned.
    """

    layer: str
    kind: str
    shape: tuple[int, ...] | None
    parameters: int
    kept: int | None
    sparsity: float | None


@dataclasses.dataclass(frozen=True)
class Summary:
    """What is prunable and pruned, layer by layer; printing it gives a table.

    Attributes:
        layers: its lines.
        prunable: entries of all weights that have a mask.
        kept: those that the masks keep.
        trainable: trainable weights, prunable or not; frozen weights count where they have a mask.
        classifier: path of the last layer, if it is a Dense one and prunable; many keep it dense.
    """

    layers: tuple[LayerSummary, ...]
    prunable: int
    kept: int
    trainable: int
    classifier: str | None = None

    @property
    def sparsity(self) -> float:
        """Share of the prunable weights that are pruned."""
        return (self.prunable - self.kept) / self.prunable

    def __str__(self) -> str:
        rows: list[tuple[str, ...]] = [("layer", "type", "weight", "parameters", "kept", "sparsity")]
        rows += [_row(line) for line in self.layers]
        widths = [max(len(row[i]) for row in rows) for i in range(6)]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
        whole = 1 - (self.trainable - self.prunable + self.kept) / self.trainable
        lines.append(
            f"{self.kept:,} of {self.prunable:,} prunable weights kept: sparsity {self.sparsity:.2%} "
            f"of the prunable, {whole:.2%} of all {self.trainable:,} trainable weights"
        )
        if self.classifier:
            lines.append(f"The classifier '{self.classifier}' is prunable too.")
        return "\n".join(line.rstrip() for line in lines)


def summary(model: keras.Model) -> Summary:
    """Shapes, kept weights and sparsity of every layer with weights; print it.

    Raises:
        ValueError: the model has no masked layers.

    >>> from kerasticket import masked
    >>> model = masked(keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="out")]))
    >>> print(summary(model))
    layer  type         weight  parameters  kept  sparsity
    out    MaskedDense  4x2     10          8/8   0.00%
    8 of 8 prunable weights kept: sparsity 0.00% of the prunable, 0.00% of all 10 trainable weights
    The classifier 'out' is prunable too.
    """
    require_masked(model)
    mask, held, variables = get_mask(model), masked_weights(model), named_variables(model)
    every = [*model.trainable_variables, *(one.variable for one in held.values())]  # frozen ones count too
    trainable = sum({id(variable): math.prod(variable.shape) for variable in every}.values())
    by_layer: dict[str, list[str]] = {}
    for path in (path for path in variables if not path.endswith(SEED_STATE)):
        by_layer.setdefault(path.rpartition("/")[0], []).append(path)
    lines: list[LayerSummary] = []
    for layer, paths in by_layer.items():
        parameters = sum(math.prod(variables[path].shape) for path in paths)
        lines += _lines(layer, {path: held[path] for path in paths if path in held}, mask, parameters)
    last, paths = list(by_layer.items())[-1]
    is_classifier = plain_kind(owners(model)[paths[0]]) is keras.layers.Dense and any(path in held for path in paths)
    return Summary(tuple(lines), masks.total(mask), masks.kept(mask), trainable, last if is_classifier else None)


def _lines(layer: str, held: dict[str, MaskedWeight], mask: Mask, parameters: int) -> list[LayerSummary]:
    lines: list[LayerSummary] = []
    for path in held:
        kept = mask[path]
        name = layer if held[path].name == "kernel" else path
        own = 0 if lines else parameters
        kind = type(held[path].layer).__name__
        lines.append(LayerSummary(name, kind, kept.shape, own, int(kept.sum()), 1 - float(kept.mean())))
    return lines or [LayerSummary(layer, "not masked", None, parameters, None, None)]


def _row(line: LayerSummary) -> tuple[str, ...]:
    parameters = f"{line.parameters:,}" if line.parameters else ""
    if line.shape is None:
        return line.layer, line.kind, "", parameters, "", ""
    kept = f"{line.kept:,}/{math.prod(line.shape):,}"
    return line.layer, line.kind, "x".join(map(str, line.shape)), parameters, kept, f"{line.sparsity:.2%}"
