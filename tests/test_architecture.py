"""The house: rooms import only from rooms above them, without circles, and each idea has one place."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

pytestmark = pytest.mark.same_on_every_backend

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "kerasticket"
ROOMS = (
    *("params", "masks", "files", "checks", "backend", "layers", "models", "tickets", "data"),
    *("training", "pruning", "distillation", "analysis", "experiments"),
)
LOOSE = {"__init__", "params", "masks", "checks"}
BACKENDS = {"tensorflow", "jax", "torch"}
BACKENDS_IN = {"backend": BACKENDS, "data": {"tensorflow"}}
NO_KERAS_IN = {"params", "masks", "files", "checks"}
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path.relative_to(PACKAGE).parts != ("__init__.py",))
# Private to Keras by their name; `_` of our own classes, and of `self`, are not meant.
PRIVATE = {"_tracker", "_inbound_nodes", "_operations", "_layers", "_nodes", "_lock", "_flatten_layers"}

# Their tests are in the files of those who use them; no new name may join these.
TESTED_ELSEWHERE = [
    "analysis/curvature.py",
    "analysis/planes.py",
    "analysis/results.py",
    "analysis/statistics.py",
    "backend/event_files.py",
    "backend/live_masks.py",
    "backend/precision.py",
    "data/arrays.py",
    "data/augmentation/presets.py",
    "data/augmentation/resize.py",
    "data/augmentation/sampling.py",
    "data/baselines.py",
    "data/digest.py",
    "data/formats/distilled_file.py",
    "data/formats/torch_files.py",
    "data/multi_formation.py",
    "data/sources/archives.py",
    "data/sources/decoding.py",
    "data/sources/digits.py",
    "data/sources/folders.py",
    "data/sources/npz.py",
    "data/sources/real.py",
    "data/tensorflow_ops.py",
    "data/zca.py",
    "distillation/controls.py",
    "distillation/distribution.py",
    "distillation/experts.py",
    "distillation/initialization.py",
    "distillation/networks.py",
    "distillation/student.py",
    "experiments/figures/cost.py",
    "experiments/figures/criteria.py",
    "experiments/figures/curvature.py",
    "experiments/figures/images.py",
    "experiments/figures/landscape.py",
    "experiments/figures/masks.py",
    "experiments/figures/performance.py",
    "experiments/figures/stability.py",
    "experiments/figures/style.py",
    "experiments/records.py",
    "experiments/search.py",
    "files/arrays.py",
    "files/atomic.py",
    "files/environment.py",
    "files/hdf5.py",
    "files/json_files.py",
    "files/json_text.py",
    "files/limits.py",
    "files/members.py",
    "files/typed.py",
    "layers/class_swap.py",
    "layers/composite.py",
    "layers/convolution.py",
    "layers/keras_layers.py",
    "models/alexnet.py",
    "models/attributes.py",
    "models/checks.py",
    "models/convnet.py",
    "models/graph/calls.py",
    "models/graph/channel_rules.py",
    "models/graph/channels.py",
    "models/graph/constants.py",
    "models/graph/costs.py",
    "models/graph/dead.py",
    "models/initializers.py",
    "models/lenet.py",
    "models/resnet.py",
    "models/saved.py",
    "params.py",
    "pruning/axes.py",
    "pruning/callbacks.py",
    "pruning/checks.py",
    "pruning/clock.py",
    "pruning/movement.py",
    "pruning/ranking.py",
    "pruning/rates.py",
    "pruning/rewinding.py",
    "pruning/round.py",
    "pruning/round_callbacks.py",
    "pruning/scopes.py",
    "pruning/text_tables.py",
    "tickets/contents.py",
    "tickets/optimizer_state.py",
]


def name_of(path: Path) -> str:
    """The dotted name of a file's module."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in PACKAGE.rglob("*.py")}


def imports(path: Path) -> set[str]:
    """Absolute dotted names of everything that the file imports: within functions and for types alone as well."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def own_modules(path: Path) -> set[str]:
    """The modules of this package that the file imports from."""
    modules = set()
    for name in imports(path):
        while name and name not in MODULES:
            name = name.rpartition(".")[0]
        if name.startswith("kerasticket."):
            modules.add(name)
    return modules - {name_of(path)}


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def each_file(files=FILES):
    return pytest.mark.parametrize("path", files, ids=lambda path: str(path.relative_to(PACKAGE)))


def test_nothing_lies_loose():
    assert {path.stem for path in PACKAGE.glob("*.py")} == LOOSE
    assert {room(path) for path in FILES} == set(ROOMS)


@each_file()
def test_imports_only_from_rooms_above(path):
    later = {name for name in own_modules(path) if ROOMS.index(name.split(".")[1]) > ROOMS.index(room(path))}
    assert not later, f"{path.name} in {room(path)} imports {later}, of rooms further down"


def test_no_file_imports_itself_in_a_circle():
    graph = {name_of(path): own_modules(path) for path in FILES if path.name != "__init__.py"}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a circle: {' -> '.join(error.args[1])}")


@each_file()
def test_backends_are_named_where_the_plan_says(path):
    used = {name.split(".")[0] for name in imports(path)} & BACKENDS
    assert used <= BACKENDS_IN.get(room(path), set()), f"{path.name} names {used}"


@each_file([path for path in FILES if room(path) in NO_KERAS_IN])
def test_the_first_rooms_need_no_keras(path):
    assert not {name.split(".")[0] for name in imports(path)} & {"keras", *BACKENDS}


def mirrors(path: Path) -> list[Path]:
    """Where the tests of a file may be: a file of its own, or that of the folder, where this lies within a room."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    own = Path("tests", *parts[:-1], f"test_{parts[-1]}.py")
    folder = Path("tests", *parts[:-2], f"test_{parts[-2]}.py") if len(parts) > 2 else own
    return [own, folder]


@each_file([path for path in FILES if path.name != "__init__.py"])
def test_every_file_has_its_tests(path):
    found = any((ROOT / mirror).exists() for mirror in mirrors(path))
    assert found != (str(path.relative_to(PACKAGE)) in TESTED_ELSEWHERE), f"expected one of {mirrors(path)}"
