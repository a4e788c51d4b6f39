"""The diagonal of the Hessian at the trained networks of a run, at random surviving weights."""

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np

import kerasticket as kt
from kerasticket.analysis.results import Diagonal
from kerasticket.experiments import figure_files, figures
from kerasticket.experiments.events import Listener, ignore
from kerasticket.experiments.outcome import Outcome
from kerasticket.experiments.settings import CurvatureSettings
from kerasticket.experiments.telling import stretch
from kerasticket.experiments.trained_run import Subnetwork, TrainedRun
from kerasticket.files.rows import write_rows

MEASURED = ("count", "minimum", "maximum", "mean", "mean_error", "std", "magnitude")

Network = tuple[Subnetwork, int]  # and its data order


def hessian(settings: CurvatureSettings, listener: Listener = ignore) -> Outcome:
    """Measures the diagonals that are not there yet; writes them, hessian.csv and the figure.

    Returns:
        The rows of hessian.csv: for each network one over surviving entries, one over all.

    Raises:
        ValueError: settings that make no sense, or networks that the run has not trained.
        FileNotFoundError: results were deleted on the way.
    """
    run = TrainedRun.open(settings.run)
    networks = list(planned(settings, run))
    out = Path(settings.out or Path(settings.run) / "hessian")
    missing = [network for network in networks if not file_of(settings, out, *network).exists()]
    images = chosen_images(settings, run) if missing else None
    run.claim(out)
    if missing:
        model = run.model(missing[0][0])
        with stretch(listener, len(missing)) as work:
            for network in missing:
                measure(settings, run, model, images, *network).save(file_of(settings, out, *network))
                work.advance(1, f"{network[0]}, data order {network[1]}")
    title = f"{run.config.dataset}, {run.config.model}"
    rows = write_report(settings, networks, out, title)
    run.close()
    return Outcome(out, title, rows)


def planned(settings: CurvatureSettings, run: TrainedRun) -> Iterator[Network]:
    """(subnetwork, data order) of each network; bad settings are refused here, before any work."""
    for name in ("coordinates", "images"):
        if getattr(settings, name) < 1:
            raise ValueError(f"Expected --{name} of at least 1. Received: {getattr(settings, name)}.")
    for of in run.chosen(settings.kinds, settings.rounds, settings.init_seeds):
        trained = run.trainings[of]
        if not set(settings.data_orders) <= trained.keys():
            raise ValueError(
                f"Expected --data-orders among {sorted(trained)}, which are trained of: {of}. "
                f"Received: {settings.data_orders}."
            )
        yield from ((of, order) for order in settings.data_orders or (min(trained),))


def file_of(settings: CurvatureSettings, out: Path, of: Subnetwork, order: int) -> Path:
    """Where a diagonal lies; its name says all that decides it."""
    what = f"{of.kind}_{of.round:02d}_seed_{of.init_seed}_order_{order}"
    return out / f"{what}_{settings.coordinates}_coordinates_{settings.images}_images_seed_{settings.seed}.h5"


def chosen_images(settings: CurvatureSettings, run: TrainedRun) -> Any:
    """As many random training images as are asked for."""
    images = run.images("train")
    if settings.images > len(images):
        raise ValueError(f"Expected --images of at most {len(images)}. Received: {settings.images}.")
    chosen = np.sort(np.random.default_rng(settings.seed).choice(len(images), settings.images, replace=False))
    return dataclasses.replace(images, images=images.images[chosen], labels=images.labels[chosen])


def measure(
    settings: CurvatureSettings, run: TrainedRun, model: keras.Model, images: Any, of: Subnetwork, order: int
) -> Diagonal:
    """The diagonal of one trained network."""
    ticket = run.ticket(of)
    kt.set_mask(model, ticket.mask)
    kt.set_params(model, run.params(of, order))
    surviving = sum(math.prod(v.shape) for v in model.trainable_variables) - ticket.total + ticket.kept
    coordinates = None if settings.coordinates >= surviving else settings.coordinates
    return kt.analysis.hessian_diagonal(model, images, coordinates=coordinates, seed=settings.seed)


def write_report(settings: CurvatureSettings, networks: list[Network], out: Path, title: str) -> list[dict[str, Any]]:
    """hessian.csv and the figure, from the files of the diagonals; the rows."""
    diagonals = [(of, order, Diagonal.load(file_of(settings, out, of, order))) for of, order in networks]
    rows = [row for of, order, diagonal in diagonals for row in rows_of(of, order, diagonal)]
    write_rows(rows, out / "hessian.csv")
    figure = figures.diagonals([(of.kind, of.round, entries(diagonal)) for of, _, diagonal in diagonals], title)
    figure_files.save(figure, out, "figure")
    return rows


def rows_of(of: Subnetwork, order: int, diagonal: Diagonal) -> list[dict[str, Any]]:
    """One row over surviving entries, one over all, where pruned ones count as zeros."""
    about = of._asdict() | {"data_order": order, "images": diagonal.examples}
    rows = []
    for scope in ("surviving", "all"):
        found = dataclasses.asdict(diagonal.statistics(surviving_only=scope == "surviving"))
        rows.append(about | {"entries": scope} | {name: found[name] for name in MEASURED})
    return rows


def entries(diagonal: Diagonal) -> np.ndarray:
    """The sampled entries as one array."""
    return np.concatenate([diagonal.values[path][seen] for path, seen in diagonal.sampled.items()])
