"""`kerasticket COMMAND`: what it knows, what it refuses, and help that does not wait for Keras."""

import importlib
import re
import resource
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from kerasticket.cli import commands
from kerasticket.cli.commands import COMMANDS

pytestmark = pytest.mark.same_on_every_backend

ROOT = Path(__file__).parents[2]
DOORS = sorted((ROOT / "scripts").glob("*.py"))
MOST = 2.0  # seconds of CPU; on an idle machine it is a quarter of that, and Keras alone takes longer
# Ends as `--help` does, unless Keras was imported on the way.
HELP = """
import sys
from kerasticket.cli.commands import main
try:
    main()
finally:
    loaded = {"keras", "tensorflow", "numpy", "matplotlib"} & sys.modules.keys()
    assert not loaded, loaded
"""


def called(monkeypatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["kerasticket", *arguments])
    commands.main()


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.parametrize("arguments", [(), ("-h",), ("--help",)])
def test_without_a_command_all_are_listed(arguments, monkeypatch, capsys):
    called(monkeypatch, *arguments)
    printed = capsys.readouterr().out
    assert printed.startswith("usage: kerasticket COMMAND [FLAGS]")
    assert all(f"  {name} " in printed and does in printed for name, does in COMMANDS.items())


def test_an_unknown_command_is_one_line_with_those_near_it(monkeypatch):
    with pytest.raises(SystemExit) as left:
        called(monkeypatch, "landscap", "runs/digits")
    assert left.value.code.startswith("error: Expected command to be one of ['bench', 'compare'")
    assert left.value.code.endswith("Received: command='landscap'. Did you mean 'landscape'?")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_a_module_with_run(name):
    module = importlib.import_module(f"kerasticket.cli.{name}")
    assert callable(module.run)
    assert module.__doc__


@pytest.mark.parametrize("name", COMMANDS)
def test_help_comes_at_once_under_the_commands_name(name):
    before = cpu_seconds()
    done = subprocess.run([sys.executable, "-c", HELP, name, "--help"], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert f"usage: kerasticket {name} " in done.stdout
    assert cpu_seconds() - before < MOST


@pytest.mark.parametrize("path", DOORS, ids=lambda path: path.stem)
def test_every_script_is_a_command(path, monkeypatch, capsys):
    """Its help is that of the command, under its own name, and so is its first line."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "orig_argv", ["python", f"scripts/{path.name}"])
    monkeypatch.setattr(sys, "argv", [f"scripts/{path.name}", "--help"])
    with pytest.raises(SystemExit) as left:
        runpy.run_path(f"scripts/{path.name}", run_name="__main__")
    assert not left.value.code
    printed = capsys.readouterr().out
    assert printed.startswith(f"usage: python scripts/{path.name} ")
    first = runpy.run_path(str(path))["__doc__"]
    assert any(importlib.import_module(f"kerasticket.cli.{name}").__doc__.startswith(first) for name in COMMANDS)


def test_the_readme_names_each_command_beside_its_script():
    rows = re.findall(r"^\| `kerasticket (\w+)[^`]*` \| `(scripts/\S+)` \|", (ROOT / "README.md").read_text(), re.M)
    assert {name for name, _ in rows} == set(COMMANDS)
    doors = {f"scripts/{path.name}": re.search(r'run\("(\w+)"\)', path.read_text())[1] for path in DOORS}
    assert {path: name for name, path in rows if name != "bench"} == doors
    assert dict(rows)["bench"] == "scripts/bench/benchmark.py"
