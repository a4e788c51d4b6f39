"""Flags of a study: one for each field of its settings."""

from typing import TypeVar

import tyro

from kerasticket.cli.door import program

Settings = TypeVar("Settings")


def read(kind: type[Settings], arguments: list[str], doc: str | None) -> Settings:
    """Settings from arguments; fields without a default are named without a flag."""
    positional = (tyro.conf.PositionalRequiredArgs,)
    return tyro.cli(kind, description=doc, prog=program(), args=arguments, config=positional)
