"""Structures say what is pruned as one: single weights, N of M, blocks, channels or filters, of a kernel or a network.

A structure turns scores and mask into those of its groups, a scope ranks the groups, and the groups that stay make
the new mask. The score of a group is the mean over its remaining weights, so groups of unlike size compare.
"""

import dataclasses
from collections.abc import Callable
from typing import ClassVar

import keras
import numpy as np

from kerasticket import masks
from kerasticket.checks import choose
from kerasticket.layers.traits import Axes
from kerasticket.masks import Mask, Scores, Select
from kerasticket.pruning.axes import count, index_along, kernel_axes, length, numbered, others
from kerasticket.pruning.coupled import CoupledChannels
from kerasticket.pruning.ranking import rank_in_groups

Groups = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Weights:
    """Single weights: unstructured."""

    takes_all_scopes: ClassVar[bool] = True
    crosses_kernels: ClassVar[bool] = False
    counts_groups: ClassVar[bool] = False
    minimum: ClassVar[float] = 0.0

    def units(self, model: keras.Model, mask: Mask) -> Mask:
        """What is counted and ranked, as a mask."""
        return mask

    def prune(self, model: keras.Model, scores: Scores, mask: Mask, select: Select) -> Mask:
        """The mask of what `select` keeps."""
        return select(scores, mask)


@dataclasses.dataclass(frozen=True)
class _Grouped:
    """Groups of weights that stay or go together; subclasses say which."""

    takes_all_scopes: ClassVar[bool] = False
    crosses_kernels: ClassVar[bool] = False
    counts_groups: ClassVar[bool] = True
    minimum: ClassVar[float] = 0.0

    def groups(self, path: str, shape: tuple[int, ...], axes: Axes) -> np.ndarray:
        """The number of the group that each weight of a kernel belongs to."""
        raise NotImplementedError

    def units(self, model: keras.Model, mask: Mask) -> Mask:
        """One flag for each group: does it have weights left?"""
        groups = self._all_groups(model, mask)
        return {path: np.bincount(groups[path][kept], minlength=count(groups[path])) > 0 for path, kept in mask.items()}

    def prune(self, model: keras.Model, scores: Scores, mask: Mask, select: Select) -> Mask:
        """The mask without the groups that `select` drops."""
        masks.check_scores(scores, mask)
        groups = self._all_groups(model, mask)
        means = {path: _means(scores[path], kept, groups[path]) for path, kept in mask.items()}
        chosen = select(means, self.units(model, mask))
        return {path: kept & chosen[path][groups[path]] for path, kept in mask.items()}

    def _all_groups(self, model: keras.Model, mask: Mask) -> Groups:
        axes = kernel_axes(model, mask)
        return {path: self.groups(path, kept.shape, axes[path]) for path, kept in mask.items()}


@dataclasses.dataclass(frozen=True)
class Filters(_Grouped):
    """Everything that makes one output unit: the filters of a convolution, the columns of a Dense kernel."""

    def groups(self, path: str, shape: tuple[int, ...], axes: Axes) -> np.ndarray:
        return index_along(shape, axes.outputs)


@dataclasses.dataclass(frozen=True)
class Channels(_Grouped):
    """Everything that reads one input: the input channels of a convolution, the rows of a Dense kernel."""

    def groups(self, path: str, shape: tuple[int, ...], axes: Axes) -> np.ndarray:
        return index_along(shape, axes.inputs)


@dataclasses.dataclass(frozen=True)
class Blocks(_Grouped):
    """Blocks of inputs x outputs; every position of a convolution's window has its own.

    Attributes:
        inputs, outputs: sides of a block; they must divide those of every kernel.
    """

    inputs: int = 4
    outputs: int = 4

    def __post_init__(self):
        if not all(isinstance(side, int) and side >= 1 for side in (self.inputs, self.outputs)):
            raise ValueError(f"Expected blocks with whole sides of at least 1. Received: {self}")

    def groups(self, path: str, shape: tuple[int, ...], axes: Axes) -> np.ndarray:
        for what, side, along in (("inputs", self.inputs, axes.inputs), ("outputs", self.outputs, axes.outputs)):
            sides = length(shape, along)
            if sides % side:
                raise ValueError(
                    f"Expected kernels whose {what} blocks of {side} divide. Received: '{path}' with {sides}. "
                    f"Choose {what}= among {_divisors(sides)}, or leave that layer out of the model's masks."
                )
        return numbered(
            index_along(shape, others(shape, axes)),
            index_along(shape, axes.inputs) // self.inputs,
            index_along(shape, axes.outputs) // self.outputs,
        )


@dataclasses.dataclass(frozen=True)
class NOfM:
    """In every run of `of` weights along the inputs the `keep` with the highest scores (N:M sparsity).

    Mishra et al. 2021 (arXiv 2104.08378), for 2:4. Inputs of a Dense kernel are its first axis, of a convolution the
    last but one (Keras' HWIO). The sparsity follows from the structure, and scopes have nothing to choose.

    Attributes:
        keep, of: N and M. TF-MOT counts what is removed; here it is always what is kept.
        ragged: "refuse", or "dense": kernels that `of` does not divide stay as they are.
    """

    keep: int = 2
    of: int = 4
    ragged: str = "refuse"

    takes_all_scopes: ClassVar[bool] = False
    crosses_kernels: ClassVar[bool] = False
    counts_groups: ClassVar[bool] = False
    minimum: ClassVar[float] = 0.0

    def __post_init__(self):
        if not (isinstance(self.keep, int) and isinstance(self.of, int) and 1 <= self.keep < self.of):
            raise ValueError(f"Expected whole numbers 1 <= keep < of. Received: keep={self.keep}, of={self.of}")
        if self.ragged not in ("refuse", "dense"):
            raise ValueError(f"Expected ragged to be 'refuse' or 'dense'. Received: ragged={self.ragged!r}")

    def units(self, model: keras.Model, mask: Mask) -> Mask:
        """Single weights."""
        return mask

    def prune(self, model: keras.Model, scores: Scores, mask: Mask, select: Select) -> Mask:
        """The N:M mask; `select` is asked how many weights it would keep, and must agree.

        Raises:
            ValueError: the target is not what the structure gives, or a kernel does not divide.
        """
        masks.check_scores(scores, mask)
        axes, pruned = kernel_axes(model, mask), {}
        for path, kept in mask.items():
            inputs = length(kept.shape, axes[path].inputs)
            if inputs % self.of:
                self._refuse_ragged(path, inputs)
                pruned[path] = kept
                continue
            rank = rank_in_groups(scores[path], kept, self._groups(kept.shape, axes[path]))
            pruned[path] = kept & (rank < self.keep)
        wanted = masks.kept(select(scores, mask))
        # As exact as the sparsity in the message, which is what people pass.
        if abs(wanted - masks.kept(pruned)) > 1e-6 * masks.total(mask):
            raise ValueError(
                f"Expected the sparsity that {self.keep} of {self.of} gives this model, {masks.sparsity(pruned):.6f} "
                f"({masks.kept(pruned)} weights kept). Received: one with {wanted} weights kept. Pass that sparsity, "
                "in one step."
            )
        return pruned

    def _groups(self, shape: tuple[int, ...], axes: Axes) -> np.ndarray:
        rest = tuple(axis for axis in range(len(shape)) if axis not in axes.inputs)
        return numbered(index_along(shape, rest), index_along(shape, axes.inputs) // self.of)

    def _refuse_ragged(self, path: str, inputs: int) -> None:
        if self.ragged == "refuse":
            raise ValueError(
                f"Expected kernels whose inputs {self.of} divides. Received: '{path}' with {inputs}. Choose of= among "
                f"{_divisors(inputs)}, or pass ragged='dense' to leave such kernels as they are."
            )


Structure = Weights | _Grouped | NOfM | CoupledChannels
STRUCTURES: dict[str, Callable[..., Structure]] = {
    "weights": Weights,
    "filters": Filters,
    "channels": Channels,
    "coupled_channels": CoupledChannels,
    "blocks": Blocks,
    "n_of_m": NOfM,
}


def get(structure: str | Structure) -> Structure:
    """The structure of that name with its defaults, or the structure itself.

    Raises:
        ValueError: no such name; the known ones are listed.

    >>> get("n_of_m")
    NOfM(keep=2, of=4, ragged='refuse')
    """
    return structure if isinstance(structure, Structure) else choose(structure, STRUCTURES, "structure")()


def _means(scores: np.ndarray, kept: np.ndarray, groups: np.ndarray) -> np.ndarray:
    sums = np.bincount(groups[kept], weights=scores[kept].astype(float), minlength=count(groups))
    return sums / np.maximum(np.bincount(groups[kept], minlength=count(groups)), 1)


def _divisors(number: int) -> list[int]:
    return [divisor for divisor in range(1, number + 1) if number % divisor == 0]
