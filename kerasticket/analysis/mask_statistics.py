"""What two masks have in common, and how a mask spreads its weights over the layers; from masks alone."""

import dataclasses
import math

import numpy as np

from kerasticket import masks
from kerasticket.masks import Mask, check_masks


@dataclasses.dataclass(frozen=True)
class Overlap:
    """Counts of the weights that two masks keep, and what follows from them.

    Chance is: of all masks with as many weights as `b` keeps, one at random. The overlap is then hypergeometric.

    Attributes:
        size: weights that are compared.
        kept_a, kept_b, both: those that a keeps, that b keeps, that both do.
    """

    size: int
    kept_a: int
    kept_b: int
    both: int

    @property
    def iou(self) -> float:
        """Kept by both / kept by either; NaN if neither keeps any."""
        return _ratio(self.both, self.kept_a + self.kept_b - self.both)

    @property
    def share_of_a(self) -> float:
        """Of the weights that a keeps, the share that b keeps too; NaN if a keeps none."""
        return _ratio(self.both, self.kept_a)

    @property
    def share_of_b(self) -> float:
        """Of the weights that b keeps, the share that a keeps too; NaN if b keeps none."""
        return _ratio(self.both, self.kept_b)

    @property
    def expected(self) -> float:
        """Mean of `both` by chance."""
        return self.kept_a * self.kept_b / max(self.size, 1)

    @property
    def variance(self) -> float:
        """Variance of `both` by chance; 0 if a or b keeps all or none, which leaves nothing to chance."""
        return self._spread() / (self.size**2 * (self.size - 1)) if self._spread() else 0.0

    @property
    def expected_iou(self) -> float:
        """The IoU of an overlap as large as `expected`; NaN if neither keeps any."""
        return _ratio(self.expected, self.kept_a + self.kept_b - self.expected)

    @property
    def phi(self) -> float:
        """Correlation of the two masks, weight by weight, in [-1, 1]; NaN if a or b keeps all or none."""
        return _ratio(self.size * self.both - self.kept_a * self.kept_b, math.sqrt(self._spread()))

    @property
    def phi_std(self) -> float:
        """Standard deviation of phi by chance, 1 / sqrt(size - 1); NaN where phi is."""
        return 1 / math.sqrt(self.size - 1) if self._spread() else math.nan

    @property
    def z(self) -> float:
        """Standard deviations between `both` and chance, phi / phi_std; NaN where phi is."""
        return self.phi / self.phi_std

    def _spread(self) -> int:
        return self.kept_a * (self.size - self.kept_a) * self.kept_b * (self.size - self.kept_b)


@dataclasses.dataclass(frozen=True)
class MaskOverlap:
    """The overlap of two masks in each layer and over all.

    Attributes:
        layers: by path of the kernel.
    """

    layers: dict[str, Overlap]

    @property
    def overall(self) -> Overlap:
        """All layers as one. Its chance, z and phi ignore the layers: two masks that are sparse in the same layers
        overlap more than that without having anything else in common. Judge independence by `z` and `phi` below."""
        counts = [dataclasses.astuple(layer) for layer in self.layers.values()]
        return Overlap(*(sum(column) for column in zip(*counts, strict=True)))

    @property
    def iou(self) -> float:
        return self.overall.iou

    @property
    def expected(self) -> float:
        """Mean overlap by chance, given how many weights each mask keeps in each layer."""
        return sum(layer.expected for layer in self.layers.values())

    @property
    def expected_iou(self) -> float:
        """The IoU of an overlap as large as `expected`."""
        overall = self.overall
        return _ratio(self.expected, overall.kept_a + overall.kept_b - self.expected)

    @property
    def phi(self) -> float:
        """Pooled: the layers' covariances of the two masks, summed, over the summed products of the two standard
        deviations; a mean of the layers' phi, so to speak. NaN if all layers' are."""
        return _ratio(self._deviation(), self._products())

    @property
    def phi_std(self) -> float:
        """Standard deviation of the pooled phi by chance; NaN where phi is."""
        return _ratio(self._std(), self._products())

    @property
    def z(self) -> float:
        """Pooled: the summed deviations of the layers from chance, over the root of their summed variances; NaN where
        phi is."""
        return _ratio(self._deviation(), self._std())

    def _deviation(self) -> float:
        return sum(layer.both - layer.expected for layer in self.layers.values())

    def _std(self) -> float:
        return math.sqrt(sum(layer.variance for layer in self.layers.values()))

    def _products(self) -> float:
        return sum(math.sqrt(layer._spread()) / max(layer.size, 1) for layer in self.layers.values())


@dataclasses.dataclass(frozen=True)
class LayerSparsity:
    """How many weights of one layer a mask keeps, beside two allocations with the same total.

    Attributes:
        size, kept: weights of the kernel, and those that the mask keeps.
        erk, uniform: densities that `masks.erdos_renyi_kernel` and the same density everywhere would give it.
    """

    size: int
    kept: int
    erk: float
    uniform: float

    @property
    def density(self) -> float:
        return self.kept / self.size

    @property
    def sparsity(self) -> float:
        return 1 - self.density


@dataclasses.dataclass(frozen=True)
class SparsityDifference:
    """Sparsity in a minus sparsity in b, layer by layer.

    Attributes:
        layers: difference by path, in [-1, 1].
        mean: of the absolute differences, each layer weighted by its size.
        largest: of the absolute differences.
    """

    layers: dict[str, float]
    mean: float
    largest: float


def mask_overlap(a: Mask, b: Mask, *, within: Mask | None = None) -> MaskOverlap:
    """Overlap of the weights that two masks keep, against independence given the sparsity of each layer.

    z says whether the masks are independent, phi how far from it they are: with many weights a tiny phi has a large z.
    McDermott & Parhi (arXiv 2503.17905, sections 4 and 7) find IMP's and synthetic masks "nearly independent",
    without saying by which measure.

    Args:
        a, b: masks of one model.
        within: the mask that both were pruned from, if that was not dense: weights that it prunes do not count, as
            neither mask could keep them.

    Raises:
        ValueError: masks of different paths, shapes or dtypes, or not nested in `within`.

    >>> a = {"dense/kernel": np.array([[True, True, False, False]])}
    >>> b = {"dense/kernel": np.array([[True, False, True, False]])}
    >>> overlap = mask_overlap(a, b)
    >>> overlap.layers["dense/kernel"].both, round(overlap.iou, 4), overlap.expected, overlap.phi
    (1, 0.3333, 1.0, 0.0)
    """
    check_masks(a=a, b=b) if within is None else check_masks(a=a, b=b, within=within)
    if within is not None and not (masks.is_nested(a, within) and masks.is_nested(b, within)):
        raise ValueError("Expected masks nested in `within`. Received: one that keeps weights which `within` prunes.")
    return MaskOverlap({path: _overlap(a[path], b[path], None if within is None else within[path]) for path in a})


def layer_sparsity(mask: Mask) -> dict[str, LayerSparsity]:
    """Sparsity of each layer, beside ERK and uniform densities at the same total.

    >>> layers = layer_sparsity({"wide/kernel": np.eye(10, dtype=bool), "narrow/kernel": np.ones((10, 1), bool)})
    >>> wide = layers["wide/kernel"]
    >>> round(wide.sparsity, 4), round(wide.erk, 4), round(wide.uniform, 4)
    (0.9, 0.129, 0.1818)
    """
    check_masks(mask=mask)
    uniform = masks.kept(mask) / masks.total(mask)
    erk = masks.erdos_renyi_kernel({path: array.shape for path, array in mask.items()}, uniform)
    kept = {path: int(np.count_nonzero(array)) for path, array in mask.items()}
    return {path: LayerSparsity(array.size, kept[path], erk[path], uniform) for path, array in mask.items()}


def layer_sparsity_difference(a: Mask, b: Mask) -> SparsityDifference:
    """How far the layer sparsities of two masks lie apart (McDermott & Parhi, section 7: "extremely similar").

    >>> a, b = ({"dense/kernel": np.array([[True, True, kept, False]])} for kept in (True, False))
    >>> layer_sparsity_difference(a, b).largest
    0.25
    """
    check_masks(a=a, b=b)
    sparsities = [{path: layer.sparsity for path, layer in layer_sparsity(mask).items()} for mask in (a, b)]
    layers = {path: sparsities[0][path] - sparsities[1][path] for path in a}
    absolute = [abs(difference) for difference in layers.values()]
    return SparsityDifference(
        layers, float(np.average(absolute, weights=[array.size for array in a.values()])), max(absolute)
    )


def _overlap(a: np.ndarray, b: np.ndarray, within: np.ndarray | None) -> Overlap:
    size = a.size if within is None else int(np.count_nonzero(within))
    return Overlap(size, *(int(np.count_nonzero(array)) for array in (a, b, a & b)))


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else math.nan
