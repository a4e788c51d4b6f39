"""Batches that several devices share: each device must get as many examples as the others."""

from typing import Any

import keras

from kerasticket.backend.distribution import devices_of
from kerasticket.data.positions import pipelines_in


def check_shares(dataset: Any, model: keras.Model, *, training: bool = True) -> None:
    """Raises ValueError if the batches of a pipeline cannot be shared equally by the devices that the model lies on.

    JAX refuses such a batch when it comes. A strategy of TensorFlow takes it in silence, and the examples of the
    smaller share count for more in the gradient; of a first batch alone it raises, as Keras tries that out.

    Args:
        dataset: a pipeline, or a dataset with as many batches made of one; of others nothing is known here.
        training: False for an evaluation, which on TensorFlow counts examples right in any shares.
    """
    devices = devices_of(model)
    for pipeline in pipelines_in(dataset) if devices > 1 else ():
        if int(dataset.cardinality()) != int(pipeline.cardinality()):  # by `take`, perhaps, without the smaller batch
            continue
        sizes = _sizes(pipeline.stream)
        matter = sizes if training or keras.config.backend() == "jax" else sizes[:1]
        if any(size % devices for size in matter):
            raise ValueError(
                f"Expected batches that {devices} devices share equally. Received: {pipeline.stream.count} images in "
                f"batches of {' and '.join(map(str, sizes))}. Choose a batch_size such that all of them are multiples "
                f"of {devices}, leave some images out, or go on without a distribution."
            )


def _sizes(stream: Any) -> list[int]:
    """Of the batches of a pass: that of the first, and that of the last if it is smaller."""
    first, rest = min(stream.batch_size, stream.count), stream.count % stream.batch_size
    return [first, rest] if rest and stream.count > first else [first]
