"""What is left to do of a study, on the terminal: jobs, time and disk."""

import collections
import shutil
from pathlib import Path

from rich.console import Console
from rich.table import Table

from kerasticket.experiments.costs import Estimate

MOST = 40  # jobs that are listed one by one


def show(estimate: Estimate, out: str | Path) -> None:
    """Prints the jobs, at most 40 of them by name, and what all of them cost."""
    console = Console(highlight=False, width=130)
    console.print(table(estimate))
    free = shutil.disk_usage(_there(Path(out))).free
    console.print(
        f"{len(estimate.jobs)} jobs; about {duration(estimate.seconds)} with {estimate.workers} "
        f"worker{'s' if estimate.workers > 1 else ''} (measured: {estimate.measured}), and what starting takes; "
        f"about {size(estimate.bytes)} of {size(free)} that are free in {Path(out).resolve()}"
    )


def table(estimate: Estimate) -> Table:
    """A line for each job or, of many, for each kind of job."""
    drawn = Table(title="left to do")
    for heading in ("job", "number", "time"):
        drawn.add_column(heading, justify="left" if heading == "job" else "right")
    if len(estimate.jobs) <= MOST:
        for job in estimate.jobs:
            drawn.add_row(job.name, "1", duration(job.cost * estimate.seconds_per_image))
        return drawn
    groups: dict[tuple[str, str], list[float]] = collections.defaultdict(list)
    for job in estimate.jobs:
        groups[job.action, str(job.arguments.get("kind", ""))].append(job.cost)
    for (action, kind), costs in groups.items():
        drawn.add_row(f"{action} {kind}", str(len(costs)), duration(sum(costs) * estimate.seconds_per_image))
    return drawn


def duration(seconds: float) -> str:
    """
    >>> [duration(seconds) for seconds in (0.2, 59, 600, 9000, 200_000)]
    ['0 s', '59 s', '10 min', '2.5 h', '2.3 d']
    """
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 36 * 3600 else f"{seconds / 86400:.1f} d"


def size(count: float) -> str:
    """
    >>> size(900), size(3.2e6), size(5e9)
    ('0.0 MB', '3.2 MB', '5.0 GB')
    """
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def _there(folder: Path) -> Path:
    """The folder, or the nearest above it that there is."""
    return next(one for one in (folder.resolve(), *folder.resolve().parents) if one.exists())
