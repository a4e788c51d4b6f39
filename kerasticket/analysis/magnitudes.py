"""How large the pruned weights were at initialization, and whether two masks prune by size alike."""

import dataclasses
import math

import numpy as np
from scipy.stats import ks_2samp

from kerasticket import masks
from kerasticket.masks import check_masks
from kerasticket.tickets.ticket import Ticket

SMIRNOV = math.sqrt(math.log(2 / 0.05) / 2)  # 5% point of the limiting distribution, to four digits (1.3581)


@dataclasses.dataclass(frozen=True)
class Histogram:
    """Weights by magnitude at initialization.

    Attributes:
        edges: of the bins, from 0 to the largest magnitude of all weights; the same for all tickets of one start.
        pruned, total: counts of the pruned weights and of all weights in each bin.
    """

    edges: np.ndarray
    pruned: np.ndarray
    total: np.ndarray

    @property
    def share(self) -> np.ndarray:
        """Share of the weights of each bin that is pruned; NaN in empty bins."""
        return np.divide(self.pruned, self.total, out=np.full(len(self.total), np.nan), where=self.total > 0)


@dataclasses.dataclass(frozen=True)
class PrunedMagnitudes:
    """Histograms of one ticket.

    Attributes:
        layers: by path of the kernel, in the units of its weights.
        pooled: all layers, the weights of each divided by their standard deviation at initialization.
    """

    layers: dict[str, Histogram]
    pooled: Histogram


@dataclasses.dataclass(frozen=True)
class KolmogorovSmirnov:
    """Comparison of two sets of pruned weights, both out of the same weights.

    Attributes:
        distance: largest difference of their empirical distribution functions, in [0, 1]; NaN if one is empty.
        size_a, size_b, total: of the sets, and of all weights that they are taken from.
    """

    distance: float
    size_a: int
    size_b: int
    total: int

    @property
    def noise(self) -> float:
        """What independent samples of these sizes, drawn from one distribution, exceed with a probability of 5%, by
        Smirnov's limit. Two sets of pruned weights share members, so by chance they are closer than that."""
        return SMIRNOV * math.sqrt(1 / self.size_a + 1 / self.size_b) if self.size_a and self.size_b else math.nan

    @property
    def possible(self) -> float:
        """The largest distance that two sets of these sizes can have; NaN if one is empty.

        At high sparsity all masks prune nearly the same weights, so that no two of them are far apart: at 90% it is
        1/9. The distance divided by this is that of the kept weights, for masks of equal sparsity.
        """
        if not self.size_a or not self.size_b:
            return math.nan
        return min(1.0, max((self.total - self.size_a) / self.size_b, (self.total - self.size_b) / self.size_a))


@dataclasses.dataclass(frozen=True)
class MagnitudeDistance:
    """Comparison of the initial magnitudes that two tickets prune: by layer, and pooled as in `PrunedMagnitudes`."""

    layers: dict[str, KolmogorovSmirnov]
    pooled: KolmogorovSmirnov


@dataclasses.dataclass(frozen=True)
class _Layer:
    """The weights of one kernel that `start` keeps: magnitudes at initialization, and which of them tickets prune."""

    magnitudes: np.ndarray
    scale: float
    pruned: tuple[np.ndarray, ...]


def pruned_magnitudes(ticket: Ticket, start: Ticket, *, bins: int = 30) -> PrunedMagnitudes:
    """Histograms of |w| at initialization over the weights that a ticket prunes, beside those of all weights.

    A ticket's own params are zero where it is pruned, so the ticket that pruning started from gives the weights.

    Args:
        ticket: the pruned network.
        start: its start at initialization, usually dense; what it had already pruned plays no part.
        bins: of equal width in each histogram.

    Raises:
        ValueError: tickets of different models or initializations, `start` not at initialization, nothing pruned
            since, or weights that are not finite.

    >>> weights = {"out/kernel": np.array([[1.0, -2.0, 3.0, -4.0]])}
    >>> keep = [np.array([[True, True, True, True]]), np.array([[False, True, False, True]])]
    >>> start, ticket = (Ticket({"out/kernel": weights["out/kernel"] * k}, {"out/kernel": k}, {}, None) for k in keep)
    >>> histogram = pruned_magnitudes(ticket, start, bins=2).layers["out/kernel"]
    >>> histogram.edges.tolist(), histogram.pruned.tolist(), histogram.total.tolist()
    ([0.0, 2.0, 4.0], [1, 1], [1, 3])
    """
    if bins < 1:
        raise ValueError(f"Expected at least one bin. Received: bins={bins}.")
    layers = _layers(start, ticket=ticket)
    pooled = _pooled(layers)
    return PrunedMagnitudes({path: _histogram(layer, bins) for path, layer in layers.items()}, _histogram(pooled, bins))


def pruned_magnitude_distance(a: Ticket, b: Ticket, start: Ticket) -> MagnitudeDistance:
    """Kolmogorov-Smirnov distance between the initial magnitudes that two tickets of one start prune.

    McDermott & Parhi (arXiv 2503.17905, section 4) observe that they "share the same distribution" in IMP's and
    synthetic subnetworks. A distance, as with many weights the smallest difference is significant.

    Args, Raises: as `pruned_magnitudes`.

    >>> weights = np.array([[1.0, -2.0, 3.0, -4.0]])
    >>> keep = [np.array([[True, True, True, True]]), np.array([[False, False, True, True]])]
    >>> start, a = (Ticket({"out/kernel": weights * k}, {"out/kernel": k}, {}, None) for k in keep)
    >>> b = Ticket({"out/kernel": weights * ~keep[1]}, {"out/kernel": ~keep[1]}, {}, None)
    >>> pruned_magnitude_distance(a, b, start).pooled.distance
    1.0
    """
    layers = _layers(start, a=a, b=b)
    pooled = _pooled(layers)
    return MagnitudeDistance({path: _compare(layer) for path, layer in layers.items()}, _compare(pooled))


def _layers(start: Ticket, **tickets: Ticket) -> dict[str, _Layer]:
    for name, ticket in tickets.items():
        _check(start, name, ticket)
    layers = {}
    for path, kept in start.mask.items():
        weights = start.params[path][kept].astype(float)
        pruned = tuple(~ticket.mask[path][kept] for ticket in tickets.values())
        layers[path] = _Layer(np.abs(weights), float(weights.std()) if weights.size else 0.0, pruned)
    return layers


def _pooled(layers: dict[str, _Layer]) -> _Layer:
    """Layers whose weights are all equal have no scale, so they stay out."""
    scaled = [layer for layer in layers.values() if layer.scale]
    if not scaled:
        raise ValueError("Expected initial weights that differ within a layer. Received: layers of equal weights only.")
    magnitudes = np.concatenate([layer.magnitudes / layer.scale for layer in scaled])
    return _Layer(magnitudes, 1.0, tuple(np.concatenate(p) for p in zip(*(s.pruned for s in scaled), strict=True)))


def _histogram(layer: _Layer, bins: int) -> Histogram:
    edges = np.linspace(0, layer.magnitudes.max(initial=0.0) or 1.0, bins + 1)
    pruned, total = (np.histogram(m, edges)[0] for m in (layer.magnitudes[layer.pruned[0]], layer.magnitudes))
    return Histogram(edges, pruned, total)


def _compare(layer: _Layer) -> KolmogorovSmirnov:
    a, b = (layer.magnitudes[pruned] for pruned in layer.pruned)
    distance = math.nan
    if a.size and b.size:
        # The p-value is not wanted: the exact one takes minutes, the other divides by zero for a weight or two.
        with np.errstate(divide="ignore"):
            distance = float(ks_2samp(a, b, method="asymp").statistic)
    return KolmogorovSmirnov(distance, a.size, b.size, layer.magnitudes.size)


def _check(start: Ticket, name: str, ticket: Ticket) -> None:
    check_masks(start=start.mask, **{name: ticket.mask})
    if start.rewind_epoch:
        raise ValueError(
            f"Expected `start` at initialization, as its weights there are measured. "
            f"Received: one of epoch {start.rewind_epoch}."
        )
    if not masks.is_nested(ticket.mask, start.mask) or ticket.kept == start.kept:
        raise ValueError(
            f"Expected `{name}` to prune weights that `start` keeps, and to keep none that it prunes. Received: "
            f"{ticket.kept:,} kept weights of {start.kept:,}. Pass the ticket that pruning started from, usually dense."
        )
    for path, mask in ticket.mask.items():
        weights = start.params[path]
        if not np.isfinite(weights).all():
            raise ValueError(f"Expected finite weights. Received: NaN or infinity in `start` at '{path}'.")
        if not ticket.rewind_epoch and not np.array_equal(weights[mask], ticket.params[path][mask]):
            raise ValueError(
                f"Expected `{name}` and `start` of one initialization. Received: other weights at '{path}'. Pass the "
                "ticket that pruning started from."
            )
