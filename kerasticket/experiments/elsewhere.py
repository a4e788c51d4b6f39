"""The files that a configuration names, and the same configuration for a machine that has these somewhere else."""

import os
from pathlib import Path

from kerasticket.data.sets import file_of
from kerasticket.data.sources.real import FOLDERS
from kerasticket.experiments.config import Config

DATASET = "dataset"


def files_of(config: Config) -> dict[str, Path]:
    """The files of this machine that the configuration names, by the names that they have elsewhere.

    What is not there is left out, as is what a package or TensorFlow Datasets brings: each machine loads that itself.

    >>> files_of(Config(dataset="digits", distilled="none"))
    {}
    """
    named = {}
    if distilled := file_of(config.distilled):
        named[_name("distilled", config.distilled)] = distilled
    if config.start:
        named[_name("start", config.start)] = Path(config.start)
    prefix, _, path = config.dataset.partition(":")
    if prefix == "npz":
        named[_name(DATASET, path)] = Path(path)
    if prefix in FOLDERS:
        named |= {f"{DATASET}/{file.relative_to(path).as_posix()}": file for file in _files_in(path)}
    return {name: path for name, path in named.items() if path.is_file()}


def elsewhere(config: Config, folder: Path, out: Path) -> Config:
    """The configuration for a machine that has the files of `files_of` in a folder, and its run in another one.

    >>> elsewhere(Config(dataset="npz:mine.npz"), Path("there"), Path("run")).dataset
    'npz:there/dataset.npz'
    """
    prefix, _, path = config.dataset.partition(":")
    dataset = config.dataset
    if prefix == "npz":
        dataset = f"{prefix}:{(folder / _name(DATASET, path)).as_posix()}"
    if prefix in FOLDERS:
        dataset = f"{prefix}:{(folder / DATASET).as_posix()}"
    return config.replace(
        dataset=dataset,
        distilled=str(folder / _name("distilled", config.distilled)),
        start=config.start and str(folder / _name("start", config.start)),
        out=str(out),
    )


def _name(what: str, path: str) -> str:
    """Its suffix stays: readers go by it."""
    return what + Path(path).suffix


def _files_in(folder: str) -> list[Path]:
    """All files; classes may be links to folders."""
    found = os.walk(folder, followlinks=True)
    return sorted(Path(within, name) for within, _, names in found for name in names)
