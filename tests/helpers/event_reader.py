"""Reads back what event files of TensorBoard hold."""

import numpy as np


def read(folder) -> dict[tuple[str, int], np.ndarray]:
    """(tag, step) -> value of every summary in the one event file of a folder; TensorFlow checks its checksums."""
    import tensorflow as tf

    (path,) = folder.iterdir()
    found = {}
    for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
        event = tf.compat.v1.Event.FromString(record)
        for value in event.summary.value:
            kind = value.metadata.plugin_data.plugin_name
            assert kind == ("histograms" if value.tag.startswith("kept/") else "scalars")
            found[value.tag, event.step] = tf.make_ndarray(value.tensor)
    return found
