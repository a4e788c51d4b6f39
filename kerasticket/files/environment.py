"""Which machine, backend and versions stand behind a result."""

import contextlib
import os
import platform
import sys
from importlib import metadata

PACKAGES = ("kerasticket", "keras", "tensorflow", "jax", "torch", "numpy", "h5py", "tensorflow-datasets")


def environment() -> dict[str, str]:
    """Versions and machine behind a result."""
    found = {"python": platform.python_version(), "machine": platform.machine(), "cores": str(os.cpu_count())}
    for package in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    keras = sys.modules.get("keras")
    backend = keras.config.backend() if keras else "not imported"
    return found | {"backend": backend, "command": " ".join(sys.argv)}
