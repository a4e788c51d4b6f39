"""Schedules of sparsity over a training: how much is to be pruned by when."""

import dataclasses
import math
import numbers
from collections.abc import Callable, Mapping

import numpy as np
from matplotlib.figure import Figure

from kerasticket.checks import choose
from kerasticket.pruning.allocation import Target, check_target

Shape = Callable[[float, float, float], float]


def one_shot(x: float, initial: float, target: float) -> float:
    """All at the beginning; with a late `begin`: train, prune, fine-tune (Han et al. 2015)."""
    return target


def linear(x: float, initial: float, target: float) -> float:
    """Equal numbers at every update."""
    return initial + (target - initial) * x


def cubic(x: float, initial: float, target: float) -> float:
    """Fast at first, slow at the end (Zhu & Gupta 2018, arXiv 1710.01878, equation 1; Gale et al. 2019)."""
    return target + (initial - target) * (1 - x) ** 3


def exponential(x: float, initial: float, target: float) -> float:
    """The same fraction of what remains at every update, as in iterative pruning."""
    return 1 - (1 - initial) * ((1 - target) / (1 - initial)) ** x


def polynomial(power: float) -> Shape:
    """The shape of which `linear` and `cubic` are the powers 1 and 3.

    >>> polynomial(2)(0.5, 0.0, 0.8)
    0.6000000000000001
    """
    if not power > 0:
        raise ValueError(f"Expected a power above 0. Received: power={power}")
    return lambda x, initial, target: target + (initial - target) * (1 - x) ** power


# "constant" is TF-MOT's: the target from `begin` on. Pruned weights do not come back here, so it is the same.
SHAPES: dict[str, Shape] = {
    "one_shot": one_shot,
    "constant": one_shot,
    "linear": linear,
    "cubic": cubic,
    "exponential": exponential,
}


@dataclasses.dataclass(frozen=True)
class Schedule:
    """Sparsity as a function of time.

    Attributes:
        target: sparsity at `end` and after it, a share of all prunable weights; or a dict of patterns to such shares.
        begin, end: first and last update, before epoch (or step) number begin and end, counted from 0. One-shot
            shapes need no `end`.
        frequency: epochs or steps from update to update; there is always one at `end`.
        unit: "epoch" or "step".
        shape: a name in `SHAPES`, `polynomial(power)`, or a function of (share of the time, initial, target).
        initial: sparsity at `begin`.

    Raises:
        ValueError: anything out of range.

    >>> schedule = Schedule(0.8, begin=2, end=6, frequency=2)
    >>> [round(schedule.at(epoch), 3) for epoch in (1, 2, 4, 6, 9)]
    [0.0, 0.0, 0.7, 0.8, 0.8]
    """

    target: Target
    begin: int = 0
    end: int | None = None
    frequency: int = 1
    unit: str = "epoch"
    shape: str | Shape = "cubic"
    initial: float = 0.0

    def __post_init__(self):
        targets = self.target.values() if isinstance(self.target, Mapping) else [self.target]
        for target in targets:
            check_target(target)
        if not targets or not (0 <= self.initial <= min(targets)):
            raise ValueError(f"Expected 0 <= initial <= target. Received: initial={self.initial}, target={self.target}")
        if self.unit not in ("epoch", "step"):
            raise ValueError(f"Expected unit to be 'epoch' or 'step'. Received: unit={self.unit!r}")
        shape = self.shape if callable(self.shape) else choose(self.shape, SHAPES, "shape")
        if self.end is None and shape is one_shot:
            object.__setattr__(self, "end", self.begin)
        for name in ("begin", "end", "frequency"):  # NumPy's whole numbers too
            if isinstance(getattr(self, name), numbers.Integral):
                object.__setattr__(self, name, int(getattr(self, name)))
        whole = all(isinstance(n, int) for n in (self.begin, self.end, self.frequency))
        if not (whole and 0 <= self.begin <= self.last and self.frequency >= 1):
            raise ValueError(
                "Expected whole numbers with 0 <= begin <= end and frequency >= 1. "
                f"Received: begin={self.begin}, end={self.end}, frequency={self.frequency}"
            )

    @property
    def last(self) -> int:
        """`end` as a number."""
        return -1 if self.end is None else self.end

    def at(self, time: int) -> Target:
        """The target at a time; 0 before `begin`."""
        if time < self.begin:
            return 0.0
        if time >= self.last:
            return self.target
        x = (time - self.begin) / (self.last - self.begin)
        if isinstance(self.target, Mapping):
            return {pattern: self._between(x, target) for pattern, target in self.target.items()}
        return self._between(x, self.target)

    def targets(self) -> list[Target]:
        """Those of the first update and of the last."""
        return [self.at(self.begin), self.target] if self.begin < self.last else [self.target]

    def last_update(self, until: int) -> int | None:
        """The last update before a time; None if there is none.

        >>> Schedule(0.5, begin=1, end=6, frequency=2).last_update(5)
        3
        """
        if until > self.last:
            return self.last
        if until <= self.begin:
            return None
        return self.begin + (until - 1 - self.begin) // self.frequency * self.frequency

    def next_update(self, after: int) -> int | None:
        """The first update later than `after`; None when all are done.

        >>> Schedule(0.5, begin=1, end=6, frequency=2).next_update(5)
        6
        """
        if after >= self.last:
            return None
        if after < self.begin:
            return self.begin
        passed = (after - self.begin) // self.frequency + 1
        return min(self.begin + passed * self.frequency, self.last)

    def plot(self, until: int | None = None) -> Figure:
        """A step curve of the sparsity against time, with a point at each update.

        Args:
            until: where the time axis ends; default a tenth beyond `end`.
        """
        until = self.last + max(1, math.ceil(0.1 * self.last)) if until is None else until
        figure = Figure(figsize=(5, 3), layout="constrained")
        axes = figure.subplots()
        curves = self.target if isinstance(self.target, Mapping) else {"": self.target}
        for pattern in curves:
            updates = self._updates()
            values = [100 * self._of(pattern, update) for update in updates]
            axes.step([0, *updates, until], [0, *values, values[-1]], where="post", label=pattern)
            axes.plot(updates, values, ".", color=axes.lines[-1].get_color(), label="_updates")
        if isinstance(self.target, Mapping):
            axes.legend(frameon=False)
        axes.set_xlabel(self.unit)
        axes.set_ylabel("sparsity (% of prunable weights)")
        axes.set_ylim(0, 100)
        return figure

    def _updates(self) -> list[int]:
        updates, time = [], self.next_update(-1)
        while time is not None:
            updates.append(time)
            time = self.next_update(time)
        return updates

    def _of(self, pattern: str, time: int) -> float:
        value = self.at(time)
        return value[pattern] if isinstance(value, Mapping) else value

    def _between(self, x: float, target: float) -> float:
        shape = self.shape if callable(self.shape) else SHAPES[self.shape]
        return float(np.clip(shape(x, self.initial, target), self.initial, target))
