"""Flags of a study: `--preset NAME`, then any field of its configuration, and where its jobs run."""

import argparse
import dataclasses
import difflib
from typing import Annotated, Any

import tyro

from kerasticket.cli.door import program
from kerasticket.cli.execution import Execution
from kerasticket.experiments.config import Config


def parse(arguments: list[str], presets: dict[str, Config], doc: str | None) -> tuple[Config, Execution]:
    """Reads `--preset NAME`, then any field as a flag on top of it.

    Raises:
        ValueError: an unknown preset; names near it are suggested.
    """
    first = argparse.ArgumentParser(add_help=False)
    first.add_argument("--preset", default="digits")
    known, rest = first.parse_known_args(arguments)
    if known.preset not in presets:
        near = difflib.get_close_matches(known.preset, presets, 1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        raise ValueError(f"Expected a preset among {list(presets)}. Received: '{known.preset}'.{hint}")
    heading = f"{doc}\nPresets (--preset NAME, default digits): {', '.join(presets)}.\n"
    called = program() if rest == arguments else f"{program()} --preset {known.preset}"
    unprefixed = tyro.conf.arg(name="")
    flags: list[tuple[str, Any]] = [
        ("config", Annotated[Config, unprefixed]),
        ("execution", Annotated[Execution, unprefixed]),
    ]
    command = dataclasses.make_dataclass("Command", flags)
    given = tyro.cli(
        command, default=command(presets[known.preset], Execution()), args=rest, description=heading, prog=called
    )
    return given.config, given.execution
