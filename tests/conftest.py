"""What all tests share: the backend under test, real data where it is present, small seeds."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
_SHARED = Path(__file__).parents[2] / "shared" / "tfds"
if "TFDS_DATA_DIR" not in os.environ and _SHARED.is_dir():
    os.environ["TFDS_DATA_DIR"] = str(_SHARED)

BACKEND = os.environ["KERAS_BACKEND"]
if BACKEND in ("jax", "torch"):
    try:
        __import__(BACKEND)
    except ImportError:
        pytest.exit(f"KERAS_BACKEND={BACKEND} but {BACKEND} is not installed: nothing was tested", returncode=0)


def _tfds_or_skip(folder: str) -> None:
    root = os.environ.get("TFDS_DATA_DIR")
    if not root or not (Path(root) / folder).is_dir():
        pytest.skip(f"real {folder} is absent: set TFDS_DATA_DIR to a TensorFlow Datasets folder that holds it")


@pytest.fixture
def real_cifar10() -> None:
    """Skips, saying so, where CIFAR-10 is not at hand."""
    _tfds_or_skip("cifar10")


@pytest.fixture
def real_imagenette() -> None:
    """Skips, saying so, where Imagenette is not at hand."""
    _tfds_or_skip("imagenette")
