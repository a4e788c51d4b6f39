"""What all tests share: the backend under test, real data where it is present, small seeds."""

import gc
import importlib.util
import mmap
import os
from pathlib import Path

import lanes
import pytest

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as the commands set it
if "PYTEST_XDIST_WORKER" in os.environ:  # a worker for each core: threads of their own would wait for each other
    for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"):
        os.environ.setdefault(name, "1")
_SHARED = Path(__file__).parents[2] / "shared" / "tfds"
if "TFDS_DATA_DIR" not in os.environ and _SHARED.is_dir():
    os.environ["TFDS_DATA_DIR"] = str(_SHARED)

collect_ignore_glob = ["helpers/*", "golden/*"]  # no tests, but doctests would import them

BACKEND = os.environ["KERAS_BACKEND"]
if BACKEND in ("jax", "torch"):
    try:
        __import__(BACKEND)
    except ImportError:
        pytest.exit(f"KERAS_BACKEND={BACKEND} but {BACKEND} is not installed: nothing was tested", returncode=0)


def _names(library: Path, flag: str) -> bool:
    with library.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(flag.encode()) >= 0


def _xla_knows(flag: str) -> bool:
    """Whether each XLA that is installed has the flag: one that does not know it ends its process."""
    files = {"jaxlib": "libjax_common.so", "tensorflow": "libtensorflow_framework.so.2"}
    libraries = [Path(spec.origin).parent / files[spec.name] for spec in map(importlib.util.find_spec, files) if spec]
    return all(library.is_file() and _names(library, flag) for library in libraries)


# XLA compiles thousands of little programs that run once or twice: in less than half the time without these.
_FLAGS = {"xla_backend_optimization_level": "0", "xla_cpu_use_fusion_emitters": "false"}
_KNOWN = [f"--{flag}={value}" for flag, value in _FLAGS.items() if _xla_knows(flag)]
os.environ["XLA_FLAGS"] = " ".join([*_KNOWN, os.environ.get("XLA_FLAGS", "")])  # the caller's win
if BACKEND == "torch":
    import torch

    # On GPUs: float32 as tests compare it, and the same numbers at every call.
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.deterministic = True
if BACKEND == "jax":
    os.environ["XLA_FLAGS"] += " --xla_gpu_deterministic_ops=true"
    import jax

    jax.config.update("jax_default_matmul_precision", "highest")  # on GPUs: float32, as tests compare it

    # Many tests build the same small networks, and compiling them took most of the time.
    jax.config.update("jax_compilation_cache_dir", str(Path(__file__).parents[1] / ".pytest_cache" / "jax"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def pytest_addoption(parser) -> None:
    parser.addoption("--fast", action="store_true", help="of each file only the quickest tests, within its budget")
    parser.addoption("--record-durations", metavar="CSV", type=Path, help="writes the seconds of each test")


def pytest_configure(config) -> None:
    path = config.getoption("--record-durations")
    if path and not hasattr(config, "workerinput"):  # xdist: the process that gets all reports
        config.pluginmanager.register(lanes.Recorder(path))


def pytest_collection_modifyitems(config, items) -> None:
    """Files, pictures and examples, not numbers of a backend: testing them three times would triple the time of it."""
    if config.getoption("--fast"):
        chosen = lanes.fast(items, lanes.read_durations())
        config.hook.pytest_deselected(items=[item for item in items if item.nodeid not in chosen])
        items[:] = [item for item in items if item.nodeid in chosen]
    skip = pytest.mark.skip(reason="what depends on the backend is tested elsewhere: this on tensorflow alone")
    for item in items if BACKEND != "tensorflow" else ():
        if "same_on_every_backend" in item.keywords or isinstance(item, pytest.DoctestItem):
            item.add_marker(skip)
        if BACKEND == "jax" and "long_on_jax" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="many programs to compile: this on tensorflow and torch alone"))


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


@pytest.fixture(scope="module")
def plain_operations():
    """Networks without fused operations: XLA takes seconds for each shape, longer than the trainings of such files."""
    from kerasticket.backend import fused

    with fused.mode("never"):
        yield


@pytest.fixture(autouse=True, scope="module")
def no_garbage_of_others():
    """What TensorFlow keeps of earlier files is not looked through again whenever Python collects garbage."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def float64():
    """Double precision for one test: steps of 1e-6 then leave ten digits."""
    import keras

    from kerasticket.backend.keras_internals import float64_kept

    if BACKEND == "jax":
        import jax

        jax.config.update("jax_enable_x64", True)
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    with float64_kept():  # otherwise batch norm and (torch) matmul turn it into float32
        yield
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")
    if BACKEND == "jax":
        jax.config.update("jax_enable_x64", False)
