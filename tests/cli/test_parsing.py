"""Flags of a study: a preset, any field on top of it, and where its jobs run."""

import dataclasses

import pytest

from kerasticket.cli.execution import Execution
from kerasticket.cli.parsing import parse
from kerasticket.experiments.config import CONFIGS, Config

pytestmark = pytest.mark.same_on_every_backend

EVERY = [field.name for kind in (Config, Execution) for field in dataclasses.fields(kind)]


def test_presets_and_flags():
    config, execution = parse(["--preset", "cifar10-cpu", "--rounds", "4", "--init-seeds", "3", "5"], CONFIGS, doc="")
    assert config == CONFIGS["cifar10-cpu"].replace(rounds=4, init_seeds=(3, 5))
    assert execution == Execution()


def test_flags_of_execution_stand_beside_those_of_the_configuration():
    flags = ["--executor", "processes", "--workers", "2", "--threads-per-worker", "1", "--workers-per-gpu", "3"]
    config, execution = parse([*flags, "--address", "auto", "--mixed", "--dry-run", "--width", "None"], CONFIGS, doc="")
    assert execution == Execution("processes", 2, 1, 3, "auto", True, True)
    assert config == Config(width=None)


def test_an_unknown_preset_is_refused_with_one_near_it():
    with pytest.raises(ValueError, match=r"Expected a preset among .*Received: 'digit'. Did you mean 'digits'"):
        parse(["--preset", "digit"], CONFIGS, doc="")


def test_help_has_each_field_the_presets_and_the_text(capsys):
    with pytest.raises(SystemExit) as left:
        parse(["--help"], CONFIGS, doc="What it does.")
    assert not left.value.code
    printed = capsys.readouterr().out
    assert [name for name in EVERY if f"--{name.replace('_', '-')}" not in printed] == []
    assert "What it does." in printed
    assert all(name in printed for name in CONFIGS)


def test_no_field_of_both_has_the_same_name():
    assert len(set(EVERY)) == len(EVERY)


@pytest.mark.parametrize(("flags", "word"), [(["--workers", "many"], "workers"), (["--widht", "3"], "--width")])
def test_what_cannot_be_read_is_named(flags, word, capsys):
    with pytest.raises(SystemExit) as left:
        parse(flags, CONFIGS, doc="")
    assert left.value.code
    assert word in capsys.readouterr().err
