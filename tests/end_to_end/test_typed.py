"""What type checkers and editors see of the public names."""

import ast
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import kerasticket as kt

pytestmark = pytest.mark.same_on_every_backend

ROOT = Path(__file__).parents[2]
USER = """
import kerasticket as kt

reveal_type(kt.masked)
reveal_type(kt.Ticket.load)
reveal_type(kt.analysis.linear_path)
reveal_type(kt.callbacks.GradualPruning)
reveal_type(kt.pruning.Schedule)
reveal_type(kt.training.Recipe)
kt.misspelled
"""
REVEALED = (
    "def (model: Any, *, where:",
    "def (path: str | pathlib.Path) -> kerasticket.tickets.ticket.Ticket",
    "-> kerasticket.analysis.results.Curve",
    "-> kerasticket.pruning.gradual.GradualPruning",
    "-> kerasticket.pruning.schedules.Schedule",
    "-> kerasticket.training.recipe.Recipe",
)


def test_mypy_sees_the_types_of_public_names(tmp_path):
    (tmp_path / "user.py").write_text(USER)
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--follow-imports",
        "silent",
        "--config-file",
        "",
        "--cache-dir",
        str(tmp_path),
        "user.py",
    ]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env={"MYPYPATH": str(ROOT)})
    lines = ran.stdout.splitlines()
    revealed = [line.partition('Revealed type is "')[2] for line in lines if "Revealed type" in line]
    assert len(revealed) == len(REVEALED)
    for expected, line in zip(REVEALED, revealed, strict=True):
        assert expected in line
    assert sum("error:" in line for line in lines) == 1
    assert 'has no attribute "misspelled"' in ran.stdout


def test_what_type_checkers_see_is_what_there_is():
    tree = ast.parse((ROOT / "kerasticket" / "__init__.py").read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    seen = {alias.asname: node.module for node in block.body for alias in node.names}
    modules = {name: path.rpartition(".")[0] for name, path in kt._MODULES.items()}
    assert all(path.endswith(f".{name}") for name, path in kt._MODULES.items())
    assert seen == modules | kt._NAMES
    assert dir(kt) == sorted(kt.__all__)
    for name in kt.__all__:
        assert getattr(kt, name) is not None


def test_importing_the_package_imports_no_keras():
    code = """
    import sys
    import kerasticket
    assert not {"keras", "tensorflow", "numpy"} & set(sys.modules), sorted(sys.modules)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], cwd=ROOT, check=True)


@pytest.mark.parametrize("name", ["analysis", "callbacks", "data", "distillation", "figures", "pruning", "training"])
def test_rooms_export_what_they_say(name):
    room = getattr(kt, name)
    for public in room.__all__:
        assert getattr(room, public) is not None
