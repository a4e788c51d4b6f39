"""Files import only downwards, and backend names live on floor 1 (tensorflow also in data/)."""

import ast
from pathlib import Path

import pytest

pytestmark = pytest.mark.same_on_every_backend

PACKAGE = Path(__file__).parents[1] / "kerasticket"
FLOORS = {
    0: ["names", "params", "masks", "records", "run_lock", "runs", "seeds", "files", "hdf5", "dead_units", "tables"],
    1: ["autodiff", "fused", "precision", "events", "live"],
    2: [
        *("layers", "models", "optimizers", "optimizer_state", "variables", "where", "exchange", "masking"),
        *("graph", "model_summary", "compaction", "sparse_files"),
        *("controls", "tickets", "npz", "foreign"),
    ],
    3: ["data"],
    4: ["ends", "training", "pruning", "distillation"],
    5: ["analysis"],
    6: ["figures"],
}
FLOOR_OF = {room: floor for floor, rooms in FLOORS.items() for room in rooms}
BACKENDS = {"tensorflow", "jax", "torch"}
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path.relative_to(PACKAGE).parts != ("__init__.py",))


def imports(path: Path) -> set[str]:
    """Absolute dotted names of everything that the file imports, at any depth of nesting."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def room(path: Path) -> str:
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_only_downwards(path):
    floor = FLOOR_OF[room(path)]
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "kerasticket" and len(parts) > 1 and parts[1] in FLOOR_OF:
            assert FLOOR_OF[parts[1]] <= floor, f"{path.name} (floor {floor}) imports {name}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_backend_names_live_on_floor_one(path):
    allowed = {1: BACKENDS, 3: {"tensorflow"}}.get(FLOOR_OF[room(path)], set())
    used = {name.split(".")[0] for name in imports(path)} & BACKENDS
    assert used <= allowed, f"{path.name} names {used - allowed}"


@pytest.mark.parametrize("path", [p for p in FILES if FLOOR_OF[room(p)] == 0], ids=lambda path: path.name)
def test_the_ground_floor_needs_no_keras(path):
    assert not {name.split(".")[0] for name in imports(path)} & {"keras", *BACKENDS}
