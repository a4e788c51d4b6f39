"""The house: rooms import only from rooms above them, without circles, and each idea has one place."""

import ast
import functools
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import keras
import pytest

pytestmark = pytest.mark.same_on_every_backend

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "kerasticket"
ROOMS = (
    *("params", "masks", "files", "checks", "backend", "layers", "models", "tickets", "data"),
    *("training", "pruning", "distillation", "analysis", "experiments", "cli"),
)
LOOSE = {"__init__", "params", "masks", "checks"}
BACKENDS = {"tensorflow", "jax", "torch"}
BACKENDS_IN = {"backend": BACKENDS, "data": {"tensorflow"}}
NO_KERAS_IN = {"params", "masks", "files", "checks"}
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path.relative_to(PACKAGE).parts != ("__init__.py",))
OF_PYTHON = {"_exit", "_replace", "_make", "_fields", "_asdict", "_Unpickler"}
SPEAKS = {"print", "rich", "tyro", "argparse", "sys.argv"}  # of a terminal, which cli alone has
SPEAKS_TOO = {"files/environment.py": {"sys.argv"}}  # the command stands in what is kept of a run
# Private to tf.data, not Keras: a dataset of our own class needs it.
EXCEPTIONS = {
    "data/positioned.py": {"_inputs", "_variant_tensor"},
    "data/positions.py": {"_inputs"},
}


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


def words_of_a_terminal(path: Path) -> set[str]:
    """Which of SPEAKS a file uses: calls of print, modules that read flags or draw, and the arguments."""
    used = {name.split(".")[0] for name in imports(path)} | imports(path)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            used.add(node.func.id)
        elif isinstance(node, ast.Attribute):
            used.add(ast.unparse(node))
    return used & SPEAKS


@each_file([path for path in FILES if room(path) != "cli"])
def test_the_library_prints_nothing_and_reads_no_flags(path):
    name = str(path.relative_to(PACKAGE))
    assert words_of_a_terminal(path) == SPEAKS_TOO.get(name, set()), "tell a Listener; kerasticket/cli draws it"


def test_words_of_a_terminal_are_seen():
    """Each of them in the one room that may use them, which names no backend."""
    cli = [path for path in FILES if room(path) == "cli"]
    assert set().union(*map(words_of_a_terminal, cli)) == SPEAKS
    assert not {name.split(".")[0] for path in cli for name in imports(path)} & BACKENDS


@each_file([path for path in FILES if room(path) in NO_KERAS_IN])
def test_the_first_rooms_need_no_keras(path):
    assert not {name.split(".")[0] for name in imports(path)} & {"keras", *BACKENDS}


@functools.cache
def own_private_names() -> set[str]:
    """Names with `_` that classes of this package define, as methods or attributes, or Python's."""
    names = set(OF_PYTHON)
    for path in FILES:
        for kind in (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ClassDef)):
            for node in ast.walk(kind):
                if isinstance(node, ast.FunctionDef):
                    names.add(node.name)
                elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and _is_own(node.value):
                    names.add(node.attr)
                elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                    names.add(node.target.id)
    return {name for name in names if name.startswith("_") and not name.startswith("__")}


def _is_own(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in ("self", "cls")


@functools.cache
def private_to_keras() -> frozenset[str]:
    """Names with `_` that layers, models, optimizers, variables, tensors and callbacks of Keras have."""
    inputs, layer = keras.Input((1,)), keras.layers.Dense(1)
    model = keras.Model(inputs, layer(inputs))
    model.compile("sgd", "mse")
    things = [
        inputs,
        layer,
        model,
        layer.kernel,
        model.optimizer,
        keras.callbacks.Callback(),
        keras.DTypePolicy("float32"),
    ]
    names = {name for one in things for name in dir(one)}
    return frozenset(name for name in names if name.startswith("_") and not name.startswith("__"))


def private_uses(path: Path) -> set[str]:
    """Private names of Keras in a file: attributes of anything but self, names of methods, and whole strings."""
    own, found = own_private_names() - private_to_keras(), {name for name in imports(path) if "keras.src" in name}
    tree = ast.parse(path.read_text())
    within = {id(leaf) for node in ast.walk(tree) if _joins_strings(node) for leaf in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
            found |= set() if _is_own(node.value) or node.attr in own else {node.attr}
        elif isinstance(node, ast.ClassDef):
            methods = {one.name for one in node.body if isinstance(one, ast.FunctionDef)}
            found |= methods & private_to_keras() if node.bases else set()
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found |= {"keras.src"} if "keras.src" in node.value else set()
            found |= {node.value} & private_to_keras() if id(node) not in within else set()
    return found


def _joins_strings(node: ast.AST) -> bool:
    """Whether strings in it are parts of longer ones: "_initializer" of "kernel_initializer"."""
    tails = ("endswith", "removesuffix", "replace")
    of_tails = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in tails
    return of_tails or isinstance(node, ast.JoinedStr)


@each_file([path for path in FILES if path.name != "keras_internals.py"])
def test_what_is_private_in_keras_is_used_in_one_file(path):
    name = str(path.relative_to(PACKAGE))
    assert private_uses(path) == EXCEPTIONS.get(name, set()), "move it to backend/keras_internals.py, with its reason"


def test_private_uses_are_seen():
    """In the file that is full of them, each way of using them."""
    found = private_uses(PACKAGE / "backend" / "keras_internals.py")
    assert found >= {"_flatten_layers", "_post_build", "_use_weight_decay", "keras.src"}


def mirrors(path: Path) -> list[Path]:
    """Where the tests of a file may be: a file of its own, or that of the folder, where this lies within a room."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    own = Path("tests", *parts[:-1], f"test_{parts[-1]}.py")
    folder = Path("tests", *parts[:-2], f"test_{parts[-2]}.py") if len(parts) > 2 else own
    return [own, folder]


@each_file([path for path in FILES if path.name != "__init__.py"])
def test_every_file_has_its_tests(path):
    assert any((ROOT / mirror).exists() for mirror in mirrors(path)), f"expected one of {mirrors(path)}"


@each_file()
def test_names_of_exceptions_end_in_error(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ClassDef) and any("Error" in ast.unparse(base) for base in node.bases):
            assert node.name.endswith("Error")
