"""Units and channels that a mask has cut off from one side."""

import dataclasses

import numpy as np

from kerasticket.masks import Mask, check_masks


@dataclasses.dataclass(frozen=True)
class DeadUnits:
    """Units of one layer that a mask has cut off; boolean arrays.

    Attributes:
        outputs: True where every weight into an output (unit or filter) is pruned.
        inputs: True where every weight from an input (unit or channel) is pruned.
    """

    outputs: np.ndarray
    inputs: np.ndarray


def dead_units(mask: Mask) -> dict[str, DeadUnits]:
    """Outputs without an incoming weight and inputs without an outgoing one, in each layer of two axes or more.

    Outputs lie along the last axis of a kernel and inputs along the last but one, as in Dense and Conv layers. Not seen
    from masks alone, so not covered: units that are dead because all units before or after them are; what a bias or
    normalisation still sends out from a dead output (a constant); units that never activate; and kernels of other
    order (transposed and depthwise convolutions, EinsumDense with several output axes).

    >>> units = dead_units({"dense/kernel": np.array([[True, False], [True, False], [False, False]])})
    >>> units["dense/kernel"].outputs.tolist(), units["dense/kernel"].inputs.tolist()
    ([False, True], [False, False, True])
    """
    check_masks(mask=mask)
    kernels = {path: array.reshape(-1, *array.shape[-2:]) for path, array in mask.items() if array.ndim > 1}
    return {
        path: DeadUnits(np.logical_not(array.any((0, 1))), np.logical_not(array.any((0, 2))))
        for path, array in kernels.items()
    }
