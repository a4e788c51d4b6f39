"""The flow of SynFlow through gates: LSTM and GRU cells in which a product of two signals is their geometric mean.

A product of a gate and a signal is no sum of paths: doubled inputs would give it fourfold. Its root grows as the inputs
do, and w dR/dw then gives either factor one half of what flows. That is the rule "LRP-half" of Arras et al. 2019
(arXiv 1909.12114), by which relevance is shared where recurrent networks multiply. Biases count as 0, and activations,
those of gates too, as the identity.
"""

from collections.abc import Callable

import keras
from keras import layers, ops


def shared(gate, signal):
    """The root of the product of two tensors that are not negative; where it is 0, no path is left.

    Example:

    >>> [float(value) for value in shared(ops.array([4.0, 0.0]), ops.array([9.0, 5.0]))]
    [6.0, 0.0]
    """
    product = gate * signal
    open_ = product > 0
    return ops.where(open_, ops.sqrt(ops.where(open_, product, 1)), 0)  # the root has no slope at 0


def _lstm(cell: layers.LSTMCell) -> Callable:
    def call(inputs, states, training=False):
        before, carry = states
        made = ops.matmul(inputs, cell.kernel) + ops.matmul(before, cell.recurrent_kernel)
        enters, stays, signal, leaves = ops.split(made, 4, axis=-1)
        carry = shared(stays, carry) + shared(enters, signal)
        output = shared(leaves, carry)
        return output, [output, carry]

    return call


def _gru(cell: layers.GRUCell) -> Callable:
    """One gate mixes the state before with the new signal; its complement is of the same weights, and counts alike."""

    def call(inputs, states, training=False):
        before = states[0] if isinstance(states, (list, tuple)) else states
        kernels = ops.split(ops.convert_to_tensor(cell.recurrent_kernel), 3, axis=-1)
        update, reset, signal = ops.split(ops.matmul(inputs, cell.kernel), 3, axis=-1)
        update, reset = update + ops.matmul(before, kernels[0]), reset + ops.matmul(before, kernels[1])
        if cell.reset_after:
            signal = signal + shared(reset, ops.matmul(before, kernels[2]))
        else:
            signal = signal + ops.matmul(shared(reset, before), kernels[2])
        output = shared(update, before) + shared(update, signal)
        return output, [output] if isinstance(states, (list, tuple)) else output

    return call


GATED: dict[type[keras.Layer], Callable[..., Callable]] = {layers.LSTMCell: _lstm, layers.GRUCell: _gru}
