"""How commands end: one line and exit code 1 for what users can mend, and the name by which they were called."""

import errno
import os
import sys

import pytest

from kerasticket.cli.door import door, program
from kerasticket.cli.parsing import parse
from kerasticket.experiments.config import CONFIGS

pytestmark = pytest.mark.same_on_every_backend


@pytest.mark.parametrize("kind", [ValueError, FloatingPointError, OSError, FileNotFoundError])
def test_what_users_can_mend_is_one_line(kind):
    with pytest.raises(SystemExit) as left, door():
        raise kind("what\n is wrong")
    assert left.value.code == "error: what is wrong"  # which Python prints, with exit code 1


def test_an_error_of_the_system_names_its_file():
    with pytest.raises(SystemExit, match=r"error: \[Errno 28\] .*: 'results.csv'"), door():
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "results.csv")


def test_faults_of_the_program_show_where_they_are():
    with pytest.raises(KeyError), door():
        raise KeyError("a bug")


@pytest.mark.parametrize("preset", [[], ["--preset", "cifar10-cpu"]])
def test_help_says_how_the_command_was_called(preset, monkeypatch, capsys):
    monkeypatch.setattr(sys, "orig_argv", ["/usr/bin/python3", "scripts/distilled_pruning.py"])
    monkeypatch.setattr(sys, "argv", ["scripts/distilled_pruning.py"])
    with pytest.raises(SystemExit):
        parse([*preset, "--help"], CONFIGS, doc="What it does.")
    called = " ".join(["usage: python3 scripts/distilled_pruning.py", *preset])
    assert capsys.readouterr().out.startswith(called + " [-h]")
    monkeypatch.setattr(sys, "orig_argv", ["./distilled_pruning.py"])
    monkeypatch.setattr(sys, "argv", ["./distilled_pruning.py"])
    assert program() == "./distilled_pruning.py"
