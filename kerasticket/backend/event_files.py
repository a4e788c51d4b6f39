"""Event files that TensorBoard shows: scalars and histograms, written without the tensorboard package.

`tf.summary.scalar` and `keras.callbacks.TensorBoard` need that package, which TensorFlow no longer installs. A summary
is a tensor and the name of the plugin that shows it; TensorFlow itself writes such on every Keras backend.
"""

from pathlib import Path

import numpy as np

BINS = 30  # as TensorBoard's own histograms


class EventWriter:
    """Appends summaries to one new event file in a folder, which is made with it.

    >>> import tempfile
    >>> with EventWriter(tempfile.mkdtemp()) as writer:
    ...     writer.scalar("sparsity", 0.8, step=3)
    """

    def __init__(self, folder: str | Path):
        import tensorflow as tf

        self._summary = tf.summary
        self._writer = tf.summary.create_file_writer(str(folder))

    def __enter__(self) -> "EventWriter":
        return self

    def __exit__(self, *error) -> None:
        self.close()

    def scalar(self, tag: str, value: float, step: int) -> None:
        self._write("scalars", tag, np.float32(value), step)

    def histogram(self, tag: str, values: np.ndarray, step: int) -> None:
        """Counts of the finite values in bins of equal width; all bins are empty if there are none."""
        values = np.asarray(values, np.float64)
        counts, edges = np.histogram(values[np.isfinite(values)], BINS)
        self._write("histograms", tag, np.stack([edges[:-1], edges[1:], counts], axis=1), step)

    def flush(self) -> None:
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()

    def _write(self, plugin: str, tag: str, value, step: int) -> None:
        with self._writer.as_default(), self._summary.record_if(True):
            self._summary.write(tag, value, step=step, metadata=_metadata(plugin))


def _metadata(plugin: str) -> bytes:
    """The protobuf message SummaryMetadata: its field 1 is a message whose field 1 is the plugin's name."""
    name = plugin.encode()
    inner = b"\x0a" + bytes([len(name)]) + name
    return b"\x0a" + bytes([len(inner)]) + inner
