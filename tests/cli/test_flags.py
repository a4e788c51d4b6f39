"""Flags: any field of a study's settings, and those without a default by their place."""

import dataclasses

import pytest

from kerasticket.cli.flags import read
from kerasticket.experiments.settings import MaskSettings, PathSettings, PlaneSettings

pytestmark = pytest.mark.same_on_every_backend


def test_fields_are_flags_and_those_without_default_are_not():
    settings = read(PathSettings, ["runs/digits", "--rounds", "4", "9", "--alphas", "30"], "What it does.")
    assert settings == PathSettings("runs/digits", rounds=(4, 9), alphas=30)
    assert read(PlaneSettings, ["a.keras", "b.keras", "--no-filter-normalize"], None).paths == ("a.keras", "b.keras")
    assert read(MaskSettings, ["runs/digits", "--rounds", "4"], None).rounds == (4,)


def test_help_has_the_text_and_each_field(capsys):
    with pytest.raises(SystemExit) as left:
        read(PathSettings, ["--help"], "What it does.")
    assert left.value.code == 0
    printed = capsys.readouterr().out
    assert "What it does." in printed
    for field in dataclasses.fields(PathSettings)[1:]:
        assert f"--{field.name.replace('_', '-')}" in printed


def test_what_is_missing_or_unknown_is_named(capsys):
    for arguments, word in (([], "required"), (["runs/digits", "--alfas", "3"], "--alphas")):
        with pytest.raises(SystemExit) as left:
            read(PathSettings, arguments, None)
        assert left.value.code
        assert word in capsys.readouterr().err
