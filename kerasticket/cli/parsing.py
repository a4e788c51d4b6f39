"""Flags of a study: `--preset NAME`, then any field of its configuration on top of it."""

import argparse
import difflib

import tyro

from kerasticket.cli.door import program
from kerasticket.experiments.config import Config


def parse(arguments: list[str], presets: dict[str, Config], doc: str | None) -> Config:
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
    return tyro.cli(Config, default=presets[known.preset], args=rest, description=heading, prog=called)
