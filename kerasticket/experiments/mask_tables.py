"""The tables of masks: one function for each, of the rows of a group of tickets that are compared."""

import dataclasses
import functools
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import kerasticket as kt
from kerasticket.analysis.distances import distance
from kerasticket.analysis.magnitudes import KolmogorovSmirnov, pruned_magnitude_distance, pruned_magnitudes
from kerasticket.analysis.mask_statistics import Overlap, layer_sparsity, layer_sparsity_difference, mask_overlap
from kerasticket.experiments.settings import MaskSettings
from kerasticket.masks import dead_units
from kerasticket.models import saved
from kerasticket.params import Params

ALL = "all"  # the name of all layers together, in the column of layers
ticket = functools.lru_cache(maxsize=16)(kt.Ticket.load)  # a group is read by several tables


@dataclasses.dataclass(frozen=True)
class Group:
    """Tickets that are compared with each other.

    Attributes:
        seed, round: of the tickets in a run; empty for ticket files.
        start: ticket that all were pruned from, if known.
        tickets: files by name.
        trained: files of trained networks by name and data order.
    """

    seed: int | str
    round: int | str
    start: Path | None
    tickets: dict[str, Path]
    trained: dict[tuple[str, int], Path] = dataclasses.field(default_factory=dict)


def masks(group: Group, settings: MaskSettings) -> list[dict]:
    """One row per ticket and layer: kept weights, beside ERK and uniform densities; units that are cut off."""
    rows = []
    for name, path in group.tickets.items():
        dead = dead_units(ticket(path).mask)
        for layer, found in layer_sparsity(ticket(path).mask).items():
            of_layer = {"size": found.size, "kept": found.kept, "sparsity": found.sparsity}
            of_layer |= {"density": found.density, "erk_density": found.erk, "uniform_density": found.uniform}
            for side in ("outputs", "inputs"):
                units = getattr(dead[layer], side) if layer in dead else np.zeros(0, bool)
                of_layer |= {side: units.size, f"dead_{side}": int(np.count_nonzero(units))}
            rows.append(_about(group) | {"kind": name, "layer": layer} | of_layer)
    return rows


def pairs(group: Group, settings: MaskSettings) -> list[dict]:
    """One row per two tickets and layer, and one of all layers, where z and phi are pooled over the layers."""
    rows = []
    start = ticket(group.start) if group.start else None
    for a, b in itertools.combinations(group.tickets, 2):
        first, second = (ticket(group.tickets[name]) for name in (a, b))
        overlap = mask_overlap(first.mask, second.mask, within=start.mask if start else None)
        difference = layer_sparsity_difference(first.mask, second.mask)
        magnitudes = pruned_magnitude_distance(first, second, start) if start else None
        about = _about(group) | {"a": a, "b": b}
        pooled = {"expected": overlap.expected, "expected_iou": overlap.expected_iou}
        pooled |= {"phi": overlap.phi, "phi_std": overlap.phi_std, "z": overlap.z}
        differences = {"sparsity_difference": difference.mean, "largest_sparsity_difference": difference.largest}
        ks = magnitudes.pooled if magnitudes else None
        rows.append(about | {"layer": ALL} | _counts(overlap.overall) | pooled | differences | _magnitudes(ks))
        for layer, counts in overlap.layers.items():
            apart = abs(difference.layers[layer])
            differences = {"sparsity_difference": apart, "largest_sparsity_difference": apart}
            ks = magnitudes.layers[layer] if magnitudes else None
            rows.append(about | {"layer": layer} | _counts(counts) | differences | _magnitudes(ks))
    return rows


def magnitudes(group: Group, settings: MaskSettings) -> list[dict]:
    """One row per ticket, layer and bin; "all" is in standard deviations of each layer's initial weights."""
    rows: list[dict] = []
    for name, path in group.tickets.items() if group.start else ():
        found = pruned_magnitudes(ticket(path), ticket(group.start), bins=settings.bins)
        for layer, histogram in {ALL: found.pooled, **found.layers}.items():
            columns = (histogram.edges[:-1], histogram.edges[1:], histogram.pruned, histogram.total)
            for low, high, pruned, total in zip(*(column.tolist() for column in columns), strict=True):
                of_bin = {"low": low, "high": high, "pruned": pruned, "total": total}
                rows.append(_about(group) | {"kind": name, "layer": layer} | of_bin)
    return rows


def distances(group: Group, settings: MaskSettings) -> list[dict]:
    """One row per two trained networks, of one ticket or of two."""
    rows = []
    nets = {key: _trained(path) for key, path in group.trained.items()}
    for (a, first), (b, second) in itertools.combinations(nets, 2):
        found = distance(nets[a, first], nets[b, second])
        row: dict[str, Any] = {"a": a, "order_a": first, "b": b, "order_b": second}
        for name, each in vars(found).items():
            row |= {f"{name}_{column}": value for column, value in vars(each).items()}
        rows.append(_about(group) | row)
    return rows


TABLES: dict[str, Callable[[Group, MaskSettings], list[dict]]] = {
    "masks": masks,
    "pairs": pairs,
    "magnitudes": magnitudes,
    "distances": distances,
}


def _about(group: Group) -> dict[str, Any]:
    return {"seed": group.seed, "round": group.round}


def _counts(overlap: Overlap) -> dict[str, Any]:
    counts = {name: getattr(overlap, name) for name in ("size", "kept_a", "kept_b", "both")}
    names = ("iou", "expected_iou", "share_of_a", "share_of_b", "expected", "phi", "phi_std", "z")
    return counts | {name: getattr(overlap, name) for name in names}


def _magnitudes(found: KolmogorovSmirnov | None) -> dict[str, Any]:
    values = (found.distance, found.noise, found.possible) if found else ("", "", "")
    return dict(zip(("ks", "ks_noise", "ks_possible"), values, strict=True))


def _trained(path: Path) -> Params:
    return kt.get_params(saved.load(path))
