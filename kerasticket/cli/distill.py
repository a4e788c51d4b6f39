"""Distills a data set and measures the result beside real images and the images that the method began with.

    python scripts/distill_dataset.py                                    # IDC, digits, 10 images per class
    python scripts/distill_dataset.py --method dm --out my.h5            # by distribution matching; also dc, dsa,
                                                                         # mtt, tesla, rded, selection
    python scripts/distill_dataset.py --preset cifar10-cpu               # CIFAR-10 within 3 hours on two cores
    python scripts/distill_dataset.py --preset cifar10-paper             # IDC as published: days on a GPU

Writes one HDF5 file with settings, seeds and measured accuracies in its attributes, and a preview picture. A run
that is killed goes on from its state file, at most a minute back; more --networks or --iterations go on from it too.
"""

import argparse
import dataclasses
from typing import Annotated, Any

import tyro

from kerasticket.backend.quiet import import_keras
from kerasticket.cli.bars import Bars
from kerasticket.cli.door import program
from kerasticket.experiments.settings import DISTILLATIONS, METHODS, DistillationSettings


def parse(arguments: list[str]) -> tuple[DistillationSettings, Any]:
    """The settings, and the method with its own, of `--preset NAME --method NAME` and flags."""
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--preset", default="digits", choices=DISTILLATIONS)
    first.add_argument("--method", choices=METHODS)
    first.add_argument("--ipc", type=int, default=10)  # DC and DSA choose their loops by it
    known, _ = first.parse_known_args(arguments)
    settings = dataclasses.replace(DISTILLATIONS[known.preset], ipc=known.ipc)
    if known.method is None and {"-h", "--help"} & set(arguments):
        flags(settings, None, known.preset, "idc", arguments)  # which ends the process, before Keras is needed
    import_keras()
    from kerasticket.experiments.distillation_presets import method_of

    name = known.method or "idc"
    return flags(settings, method_of(known.preset, name, known.ipc), known.preset, name, arguments)


def flags(
    settings: DistillationSettings, method: Any, preset: str, name: str, arguments: list[str]
) -> tuple[DistillationSettings, Any]:
    """Any field of the settings, or of the method if there is one, as a flag."""
    parts = {"settings": settings, "method_settings": method} if method else {"settings": settings}
    fields = [(part, Annotated[type(value), tyro.conf.arg(name="")]) for part, value in parts.items()]
    more = "" if method else " --method NAME --help shows the settings of a method, which are flags too."
    command = dataclasses.make_dataclass("Command", [("preset", str), ("method", str), *fields])
    given = tyro.cli(
        command,
        default=command(preset, name, *parts.values()),
        args=arguments,
        prog=program(),
        description=f"{__doc__}\nPresets: {', '.join(DISTILLATIONS)}; methods: {', '.join(METHODS)}.{more}\n",
        config=(tyro.conf.AvoidSubcommands,),
    )
    return given.settings, given.method_settings


def main(settings: DistillationSettings, method: Any, command: str) -> None:
    from kerasticket.experiments.jobs.distill import distill

    with Bars() as bars:
        path, minutes = distill(settings, method, command=command, listener=bars)
    print(f"{minutes:.1f} minutes of distillation; set in {path}, preview in {path.with_suffix('.png')}")


def run(arguments: list[str]) -> None:
    settings, method = parse(arguments)
    main(settings, method, command=" ".join([program(), *arguments]))
