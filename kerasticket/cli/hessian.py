"""How sharp is the minimum that a ticket ends in? The diagonal of the Hessian after training (paper, section 4.2).

    python scripts/hessian.py runs/digits                                              # a run of distilled_pruning.py
    python scripts/hessian.py runs/cifar10-cpu --rounds 4 9 --coordinates 2000 --images 512

Exact second derivatives of the mean training loss at random surviving weights of each trained network. Writes
hessian.csv, with the paper's columns over all entries and over surviving ones, each diagonal as HDF5, and a figure
into RUN/hessian. Diagonals that are there are not computed again, so a killed command goes on where it was.
"""

import dataclasses
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tyro

from kerasticket.backend.quiet import import_keras
from kerasticket.cli.door import program

MEASURED = ("count", "minimum", "maximum", "mean", "mean_error", "std", "magnitude")


@dataclasses.dataclass(frozen=True)
class Config:
    """What is measured."""

    run: tyro.conf.Positional[str]
    """Folder of a run of distilled_pruning.py."""
    kinds: tuple[str, ...] = ()
    """imp, synthetic, random; default: all that the run has trained. The dense network always is."""
    rounds: tuple[int, ...] = ()
    """Rounds of pruning; default: all that the run has trained."""
    init_seeds: tuple[int, ...] = ()
    """Seeds of the initial weights; default: all of the run."""
    data_orders: tuple[int, ...] = ()
    """Which trainings of each ticket; default: the first."""
    coordinates: int = 2000
    """Surviving weights per network, drawn at random; all of a network that has fewer."""
    images: int = 512
    """Training images, drawn at random; the paper's code takes 64."""
    seed: int = 0
    """Of these draws."""
    out: str | None = None
    """Folder of the results; default: RUN/hessian."""


def main(config: Config) -> None:
    import_keras()
    from kerasticket.cli.progress import Progress
    from kerasticket.experiments.trained_run import TrainedRun

    started = time.perf_counter()
    run = TrainedRun.open(config.run)
    networks = list(planned(config, run))
    out = Path(config.out or Path(config.run) / "hessian")
    missing = [network for network in networks if not file_of(config, out, *network).exists()]
    images = chosen_images(config, run) if missing else None
    run.claim(out)
    if missing:
        model = run.model(missing[0][0])
        with Progress(total=len(missing)) as bar:
            for subnetwork, order in missing:
                measure(config, run, model, images, subnetwork, order).save(file_of(config, out, subnetwork, order))
                bar.advance(1, f"{subnetwork}, data order {order}")
    write_report(config, run, networks, out)
    run.close()
    print(f"\n{time.perf_counter() - started:.0f} s; hessian.csv, diagonals and the figure lie in {out.resolve()}")


def planned(config: Config, run: Any) -> Iterator[tuple[Any, int]]:
    """(subnetwork, data order) of each network; bad settings are refused here, before any work."""
    for name in ("coordinates", "images"):
        if getattr(config, name) < 1:
            raise ValueError(f"Expected --{name} of at least 1. Received: {getattr(config, name)}.")
    for of in run.chosen(config.kinds, config.rounds, config.init_seeds):
        trained = run.trainings[of]
        if not set(config.data_orders) <= trained.keys():
            raise ValueError(
                f"Expected --data-orders among {sorted(trained)}, which are trained of: {of}. "
                f"Received: {config.data_orders}."
            )
        yield from ((of, order) for order in config.data_orders or (min(trained),))


def file_of(config: Config, out: Path, of: Any, order: int) -> Path:
    """Where a diagonal lies; its name says all that decides it."""
    what = f"{of.kind}_{of.round:02d}_seed_{of.init_seed}_order_{order}"
    return out / f"{what}_{config.coordinates}_coordinates_{config.images}_images_seed_{config.seed}.h5"


def chosen_images(config: Config, run: Any) -> Any:
    """As many random training images as are asked for."""
    import numpy as np

    images = run.images("train")
    if config.images > len(images):
        raise ValueError(f"Expected --images of at most {len(images)}. Received: {config.images}.")
    chosen = np.sort(np.random.default_rng(config.seed).choice(len(images), config.images, replace=False))
    return dataclasses.replace(images, images=images.images[chosen], labels=images.labels[chosen])


def measure(config: Config, run: Any, model: Any, images: Any, of: Any, order: int) -> Any:
    """The diagonal of one trained network."""
    import kerasticket as kt

    ticket = run.ticket(of)
    kt.set_mask(model, ticket.mask)
    kt.set_params(model, run.params(of, order))
    surviving = sum(math.prod(v.shape) for v in model.trainable_variables) - ticket.total + ticket.kept
    coordinates = None if config.coordinates >= surviving else config.coordinates
    return kt.analysis.hessian_diagonal(model, images, coordinates=coordinates, seed=config.seed)


def write_report(config: Config, run: Any, networks: list[tuple[Any, int]], out: Path) -> None:
    """The table on the terminal, hessian.csv and the figure, from the files of the diagonals."""
    from rich.console import Console

    from kerasticket.analysis.results import Diagonal
    from kerasticket.experiments import figures
    from kerasticket.files.atomic import atomic
    from kerasticket.files.rows import write_rows

    diagonals = [(of, order, Diagonal.load(file_of(config, out, of, order))) for of, order in networks]
    rows = [row for of, order, diagonal in diagonals for row in rows_of(of, order, diagonal)]
    write_rows(rows, out / "hessian.csv")
    title = f"{run.config.dataset}, {run.config.model}"
    figure = figures.diagonals([(of.kind, of.round, entries(diagonal)) for of, _, diagonal in diagonals], title)
    for ending in ("png", "pdf"):
        with atomic(out / f"figure.{ending}") as temporary:
            figure.savefig(temporary, dpi=150, format=ending)
    console = Console(highlight=False, width=150)
    for scope in ("surviving", "all"):
        console.print(
            table([row for row in rows if row["entries"] == scope], f"{title}: Hessian diagonal, {scope} entries")
        )


def rows_of(of: Any, order: int, diagonal: Any) -> list[dict[str, Any]]:
    """One row over surviving entries, one over all, where pruned ones count as zeros."""
    about = of._asdict() | {"data_order": order, "images": diagonal.examples}
    rows = []
    for scope in ("surviving", "all"):
        found = dataclasses.asdict(diagonal.statistics(surviving_only=scope == "surviving"))
        rows.append(about | {"entries": scope} | {name: found[name] for name in MEASURED})
    return rows


def entries(diagonal: Any) -> Any:
    """The sampled entries as one array."""
    import numpy as np

    return np.concatenate([diagonal.values[path][seen] for path, seen in diagonal.sampled.items()])


def table(rows: list[dict[str, Any]], title: str) -> Any:
    """A line per kind and round in the paper's columns: extremes over the networks, else mean ± std over them."""
    from rich.table import Table

    from kerasticket.experiments.figures import KINDS, mean_and_std

    drawn = Table(title=title)
    for heading in ("kind", "round", "networks", "min / max", "mean", "std", "mean |h|"):
        drawn.add_column(heading, justify="right")
    keys = sorted({(row["kind"], row["round"]) for row in rows}, key=lambda key: (KINDS.index(key[0]), key[1]))
    for kind, index in keys:
        group = [row for row in rows if (row["kind"], row["round"]) == (kind, index)]
        cells = []
        for name in ("mean", "std", "magnitude"):
            mean, std = mean_and_std(row[name] for row in group)
            cells.append(f"{mean:.5f} ± {std:.5f}" if len(group) > 1 else f"{mean:.5f}")
        extremes = f"{min(row['minimum'] for row in group):.3f} / {max(row['maximum'] for row in group):.3f}"
        drawn.add_row(kind, str(index), str(len(group)), extremes, *cells)
    return drawn


def run(arguments: list[str]) -> None:
    main(tyro.cli(Config, description=__doc__, prog=program(), args=arguments))
