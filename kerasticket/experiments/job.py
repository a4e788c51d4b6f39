"""One piece of a study's work: from files that it needs to files that it makes."""

import dataclasses
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Job:
    """What one worker does at a time.

    A job is done when the last of its files is there, which is written last, and whole.

    Attributes:
        name: for people, such as "seed 0  imp  round 3".
        action: name of the function in `kerasticket.experiments.jobs.table.JOBS` that does it.
        arguments: of that function.
        needs, makes: files, relative to the folder of the study, with "/" on every system.
        cost: images shown to a network; 0 for what takes no time.
    """

    name: str
    action: str
    arguments: dict[str, int | str]
    needs: tuple[str, ...]
    makes: tuple[str, ...]
    cost: float = 0.0

    def done(self, folder: Path) -> bool:
        return (folder / self.makes[-1]).exists()
