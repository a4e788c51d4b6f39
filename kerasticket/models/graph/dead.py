"""Which channels of a network can be taken out without a change of its outputs."""

import dataclasses
from typing import Any

import keras
import numpy as np
from keras import layers

from kerasticket.models.graph.calls import Shape
from kerasticket.models.graph.channel_rules import FIXED, IN, OUT, RULES, SCALE, Signal, Walk, refusal
from kerasticket.models.graph.channels import channel_walk, components
from kerasticket.models.graph.constants import Constants, Reading
from kerasticket.models.paths import named_variables
from kerasticket.params import Params


@dataclasses.dataclass(frozen=True)
class Dead:
    """Channels that nothing needs.

    Attributes:
        stay: for each (path, axis) of a variable with channels on it, True where a channel stays.
        outputs: for each kernel that has channels on its axes, the axis of those that it makes.
        shifts: what the bias of a kernel must gain for inputs that are constant and go, in float64, for outputs that
            stay; only where that is not zero.
        widths: channels that stay on the last axis behind each Reshape, by the id of the layer.
        unknown: layers through which channels are not followed.
    """

    stay: dict[tuple[str, int], np.ndarray]
    outputs: dict[str, int]
    shifts: dict[str, np.ndarray]
    widths: dict[int, int]
    unknown: tuple[Any, ...]

    def cut(self, params: Params) -> Params:
        """The params without these channels; constants are not yet in the biases."""
        params = dict(params)
        for (path, axis), stays in self.stay.items():
            params[path] = np.compress(stays, params[path], axis)
        return params


@dataclasses.dataclass(frozen=True)
class _Kernel:
    """A kernel that reads channels and makes others.

    Attributes:
        inputs, outputs: the channel of each input and output.
        uses: (inputs, outputs), True where weights are not zero and the input is not a constant that can be folded.
        values: (inputs,), the constants that can be folded; 0 for other inputs.
        array: (positions of the window, inputs, outputs), the weights.
    """

    inputs: np.ndarray
    outputs: np.ndarray
    uses: np.ndarray
    values: np.ndarray
    array: np.ndarray

    def shift(self, gone: np.ndarray) -> np.ndarray:
        """What the constants among the inputs that go have added to each output."""
        constant = gone[self.inputs] & (self.values != 0)
        return self.values[constant] @ self.array[:, constant].sum(0, dtype=np.float64)


def dead_channels(model: keras.Model) -> Dead:
    """The channels of a model of plain layers that nothing needs.

    A channel goes if at every kernel that reads it its weights are zero, or lead to channels that go, or it is constant
    there and can be folded into the bias. Every axis keeps one channel at least, the first. Channels that residual
    connections tie go together or stay.
    """
    reshaped: dict[int, np.ndarray] = {}
    rules = RULES | {layers.Reshape: _reshape_rule(reshaped)}
    walk = channel_walk(model, rules=rules, keep_unknown=True, keep_sides=True)
    channel_of = components(walk)
    kernels = _kernels(walk, model, channel_of)
    on_axes = {key: channel_of[labels] for key, (labels, _) in walk.axes.items()}
    gone = _gone(kernels, list(on_axes.values()), channel_of.max() + 1, int(channel_of[FIXED]))
    shifts = {path: kernel.shift(gone)[~gone[kernel.outputs]] for path, kernel in kernels.items()}
    ndims = {path: len(variable.shape) for path, variable in named_variables(model).items()}
    made = {OUT, SCALE}  # depthwise kernels scale
    return Dead(
        {key: ~gone[channels] for key, channels in on_axes.items()},
        {path: axis for (path, axis), (_, role) in walk.axes.items() if ndims[path] > 1 and role in made},
        {path: shift for path, shift in shifts.items() if shift.any()},
        {number: int((~gone[channel_of[labels]]).sum()) for number, labels in reshaped.items()},
        tuple({id(layer): layer for layer in walk.unknown.values()}.values()),
    )


def _reshape_rule(found: dict[int, np.ndarray]):
    """The rule for Reshape where channels go; it notes the labels behind each such layer, by its id."""

    def reshaped(walk: Walk, layer, inputs: list[Signal], shape: Shape) -> np.ndarray:
        labels = RULES[layers.Reshape](walk, layer, inputs, shape)
        again, fixed = id(layer) in found, np.array([FIXED])
        if again or any(side != 1 for side in labels.shape[:-1]):
            walk.fix(found.get(id(layer), fixed))  # both calls have one target shape, which now stays
            found[id(layer)] = fixed
            raise refusal(layer, "a Reshape that is called once and leaves channels on the last axis")
        found[id(layer)] = np.broadcast_to(labels.ravel(), shape[-1:])
        return labels

    return reshaped


def _kernels(walk: Walk, model: keras.Model, channel_of: np.ndarray) -> dict[str, _Kernel]:
    constants = Constants(model, set(walk.unknown))
    axis_of = {(path, role): axis for (path, axis), (_, role) in walk.axes.items()}
    found = {}
    for path, variable in named_variables(model).items():
        if (path, IN) not in axis_of:
            continue
        read, made = axis_of[path, IN], axis_of[path, OUT]
        kernel = np.moveaxis(constants.array(variable), (read, made), (-2, -1))
        kernel = kernel.reshape(-1, *kernel.shape[-2:])
        inputs, outputs = (channel_of[walk.axes[path, axis][0]] for axis in (read, made))
        nothing = Reading(np.zeros(len(inputs)), np.zeros(len(inputs), bool))
        reading = constants.readings.get(id(variable), nothing)
        uses = kernel.any(0) & ~reading.folds[:, None]
        found[path] = _Kernel(inputs, outputs, uses, np.where(reading.folds, reading.values, 0), kernel)
    return found


def _gone(kernels: dict[str, _Kernel], on_axes: list[np.ndarray], count: int, fixed: int) -> np.ndarray:
    """True for each channel that goes."""
    stays = np.zeros(count, bool)
    stays[fixed] = True
    while True:
        gone = _unneeded(kernels, stays)
        emptied = [channels[0] for channels in on_axes if gone[channels].all()]
        if not emptied:
            return gone
        stays[emptied] = True


def _unneeded(kernels: dict[str, _Kernel], stays: np.ndarray) -> np.ndarray:
    """The channels that nothing needs, found from the outputs of the network backwards."""
    gone = np.zeros_like(stays)
    while True:
        needed = stays.copy()
        for kernel in kernels.values():
            reads = kernel.uses[:, ~gone[kernel.outputs]].any(1)
            needed[kernel.inputs[reads]] = True
        if (needed == ~gone).all():
            return gone
        gone = ~needed
