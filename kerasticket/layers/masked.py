"""Layers whose kernel is held to a mask: one mixin, and one two-line class per Keras layer.

The mask is a non-trainable weight and `kernel` is `where(mask, kernel, 0)`. So gradients of pruned weights are
exactly zero on every backend, masks may change between epochs without a retrace, and they travel with the
layer into every file. (A mask in a constraint or a closure is frozen into the trace on TensorFlow and JAX.)
"""

import keras
import numpy as np
from keras import layers, ops


class Masked:
    """Mixin that holds the kernel of a Keras layer to a boolean `mask` of the same shape, True = kept.

    It goes before the layer that it masks: `class MaskedDense(Masked, keras.layers.Dense)`. The layer must
    keep its kernel in `_kernel` and read it through a `kernel` property, as Dense, EinsumDense and Conv*D do.
    """

    name: str
    _kernel: keras.Variable

    def build(self, input_shape):
        if getattr(self, "lora_rank", None):
            raise ValueError(f"Expected a layer without LoRA, which adds to pruned weights. Received: '{self.name}'.")
        super().build(input_shape)
        self.mask = self.add_weight(
            name="mask", shape=self._kernel.shape, initializer="ones", dtype="bool", trainable=False
        )

    @property
    def kernel(self):
        kernel = ops.convert_to_tensor(super().kernel)  # JAX takes no Keras variables in `where`
        return ops.where(ops.convert_to_tensor(self.mask), kernel, ops.zeros((), kernel.dtype))

    def set_mask(self, mask) -> None:
        """Takes a boolean array of the kernel's shape and zeroes the pruned weights themselves."""
        mask = np.asarray(mask)
        if mask.dtype != bool or mask.shape != tuple(self._kernel.shape):
            raise ValueError(
                f"Layer '{self.name}' expects a boolean mask of shape {tuple(self._kernel.shape)}. "
                f"Received: dtype {mask.dtype}, shape {mask.shape}."
            )
        self.mask.assign(mask)
        self._kernel.assign(np.where(mask, ops.convert_to_numpy(self._kernel.value), 0))

    def save_own_variables(self, store):
        super().save_own_variables(store)  # writes `kernel`, that is, exact zeros where pruned
        if self.built:
            store["mask"] = ops.convert_to_numpy(self.mask.value)

    def load_own_variables(self, store):
        super().load_own_variables(store)
        if self.built:
            self.mask.assign(np.asarray(store["mask"]))


@keras.saving.register_keras_serializable(package="kerasticket")
class MaskedDense(Masked, layers.Dense):
    """`keras.layers.Dense` with a mask on its kernel."""


@keras.saving.register_keras_serializable(package="kerasticket")
class MaskedEinsumDense(Masked, layers.EinsumDense):
    """`keras.layers.EinsumDense` with a mask on its kernel."""


@keras.saving.register_keras_serializable(package="kerasticket")
class MaskedConv1D(Masked, layers.Conv1D):
    """`keras.layers.Conv1D` with a mask on its kernel."""


@keras.saving.register_keras_serializable(package="kerasticket")
class MaskedConv2D(Masked, layers.Conv2D):
    """`keras.layers.Conv2D` with a mask on its kernel."""


@keras.saving.register_keras_serializable(package="kerasticket")
class MaskedConv3D(Masked, layers.Conv3D):
    """`keras.layers.Conv3D` with a mask on its kernel."""


MASKED: dict[type[layers.Layer], type[layers.Layer]] = {
    layers.Dense: MaskedDense,
    layers.EinsumDense: MaskedEinsumDense,
    layers.Conv1D: MaskedConv1D,
    layers.Conv2D: MaskedConv2D,
    layers.Conv3D: MaskedConv3D,
}
