"""Loss and accuracy on planes through trained networks: the tickets of a run, or files of one model."""

import dataclasses
import hashlib
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import keras

import kerasticket as kt
from kerasticket import analysis
from kerasticket.analysis.landscape import check_options
from kerasticket.analysis.planes import PLANES
from kerasticket.data.digest import digest
from kerasticket.experiments import landscape_report
from kerasticket.experiments.config import FREE as FREE_IN_A_RUN
from kerasticket.experiments.events import Listener, ignore
from kerasticket.experiments.outcome import Outcome
from kerasticket.experiments.settings import PlaneSettings
from kerasticket.experiments.telling import stretch
from kerasticket.experiments.trained_run import Subnetwork, TrainedRun
from kerasticket.models import saved
from kerasticket.params import Params

# What may differ between two calls: none of it changes a surface that is finished.
FREE = ("paths", "kinds", "rounds", "init_seeds", "data_dir", "out", "force")
SETTINGS = ("points", "layout", "filter_normalize", "statistics", "seed")


@dataclasses.dataclass(frozen=True)
class Work:
    """A surface to be.

    Attributes:
        name: of its files.
        about: kind, round, init_seed, sparsity and networks, as surfaces.csv has them.
        load: reads the params of the networks.
    """

    name: str
    about: dict[str, Any]
    load: Callable[[], list[Params]]


@dataclasses.dataclass(frozen=True)
class Source:
    """Where networks and data come from.

    Attributes:
        works: the surfaces that are asked for.
        model: makes the compiled network.
        images: loads the training images.
        identity: what tells this source from others.
        title: what was trained on what.
        close: raises FileNotFoundError if the networks were deleted on the way.
    """

    works: list[Work]
    model: Callable[[], keras.Model]
    images: Callable[[], Any]
    identity: dict[str, Any]
    title: str
    close: Callable[[], None] = lambda: None


def landscape(settings: PlaneSettings, listener: Listener = ignore) -> Outcome:
    """Evaluates the surfaces that are not there yet; writes them, their tables and maps.

    Returns:
        The rows of surfaces.csv, as text.

    Raises:
        ValueError: settings that make no sense, networks that the run has not trained, or a folder of other settings.
        FileNotFoundError: results were deleted on the way.
    """
    check(settings)
    source = (from_run if Path(settings.paths[0]).is_dir() else from_files)(settings)
    out = Path(settings.out or Path(settings.paths[0]) / "landscape" / settings.plane)
    fresh = settings.force or not (out / "config.json").exists()
    identity = dataclasses.asdict(settings) | source.identity
    folder = kt.Run.open(out, identity, free=FREE, later=("data_sha256",), force=settings.force)
    landscape_report.check_networks(out, {work.name: work.about["networks"] for work in source.works})
    missing = [work for work in source.works if not (out / f"{work.name}.h5").exists()]
    try:
        if missing:
            evaluate(settings, source, missing, out, listener)
    except ValueError:
        if fresh and not any(out.glob("*_points.csv")):
            shutil.rmtree(out)  # nothing was made: the next call may have other settings
        raise
    rows = landscape_report.write_report(out, source.title)
    folder.close()
    source.close()
    return Outcome(out, source.title, rows)


def check(settings: PlaneSettings) -> None:
    """Raises ValueError for settings that make no sense, before anything is read."""
    if not settings.paths:
        raise ValueError("Expected the folder of a run, or trained networks (.keras). Received: nothing.")
    absent = [path for path in settings.paths if not Path(path).exists()]
    if absent:
        raise ValueError(f"Expected a folder or files that exist. Received: {', '.join(absent)}.")
    folders = [path for path in settings.paths if Path(path).is_dir()]
    if folders and len(settings.paths) > 1:
        raise ValueError(f"Expected one run, or .keras files alone. Received: {', '.join(settings.paths)}.")
    if not folders and settings.out is None:
        raise ValueError("Expected --out FOLDER with .keras files. Received: none.")
    options = {name: getattr(settings, name) for name in ("points", "layout", "statistics", "seed")}
    check_options(settings.plane, **options)


def evaluate(settings: PlaneSettings, source: Source, works: list[Work], out: Path, listener: Listener) -> None:
    """Makes and saves the surfaces: one model and one compiled function for all of them."""
    model, images = source.model(), source.images()
    if tuple(model.input_shape[1:]) != images.input_shape:
        raise ValueError(f"Expected networks for images {images.input_shape}. Received: {model.input_shape[1:]}.")
    objective = analysis.Objective(model, images)
    options = {name: getattr(settings, name) for name in SETTINGS}
    with stretch(listener, len(works) * settings.points) as bar:
        for index, work in enumerate(works):

            def tell(done: int, name: str = work.name, behind: int = index * settings.points) -> None:
                bar.reach(behind + done, f"{name}  point {done:,}/{settings.points:,}")

            kept, older = (out / f"{work.name}.unfinished.{ending}" for ending in ("npz", "h5"))
            if older.exists():
                raise ValueError(f"'{older}' is of an earlier version, which cannot be gone on with. Delete it.")
            surface = analysis.loss_plane(
                model, work.load(), objective, kind=settings.plane, checkpoint=kept, progress=tell, **options
            )
            landscape_report.record(out, work.name, work.about, surface)
            surface.save(out / f"{work.name}.h5")  # last: its presence says that all is whole
            kept.unlink()
            lowest = surface.loss.min()
            bar.note(f"{work.name:28} loss {surface.net_loss.mean():.4f} of the networks, {lowest:.4f} at best")


def from_run(settings: PlaneSettings) -> Source:
    """The tickets of a run."""
    run = TrainedRun.open(settings.paths[0])
    rounds = settings.rounds or (max(of.round for of in run.trainings),)
    chosen = run.chosen(settings.kinds, rounds, settings.init_seeds)
    works = [work_of(settings, run, of) for of in chosen]
    about = {name: value for name, value in dataclasses.asdict(run.config).items() if name not in FREE_IN_A_RUN}
    return Source(
        works,
        lambda: run.model(chosen[0]),
        lambda: run.images("train", settings.images_per_class),
        {"run": about, "data_sha256": run.digests},
        f"{run.config.dataset}, {run.config.model}",
        run.close,
    )


def work_of(settings: PlaneSettings, run: TrainedRun, of: Subnetwork) -> Work:
    """The surface of one ticket; raises ValueError with the command that trains what is missing."""
    needed, trained = PLANES[settings.plane][0], sorted(run.trainings[of])
    orders = settings.data_orders or tuple(trained)
    if len(orders) < needed or not set(orders) <= set(trained):
        named = dict.fromkeys((*run.config.data_orders, *settings.data_orders))  # the run's first must stay first
        wanted = [*named, *(order for order in range(needed) if order not in named)][: max(needed, len(named))]
        raise ValueError(
            f"Expected networks of at least {needed} data orders of: {of}. Received: {_listed(orders)}, of which "
            f"{_listed(trained)} are trained. Train them with the command of the run and more data orders, "
            f"distilled_pruning.py ... --out {settings.paths[0]} --data-orders {_listed(wanted)}; what is finished "
            "stays."
        )
    used = orders[:1] if settings.plane == "random" else orders  # others would all lie near the center
    about = of._asdict() | {"networks": _listed(used)}
    name = f"{of.kind}_round_{of.round:02d}_seed_{of.init_seed}"
    return Work(name, about, lambda: [run.params(of, order) for order in used])


def from_files(settings: PlaneSettings) -> Source:
    """Trained networks of one model, as `.keras` files."""

    def params() -> list[Params]:
        return [kt.get_params(saved.load(path)) for path in settings.paths]

    def model() -> keras.Model:
        made = saved.load(settings.paths[0])
        made.compile(loss=keras.losses.CategoricalCrossentropy(from_logits=True))
        return made

    options = {name: getattr(settings, name) for name in ("images_per_class", "image_size", "data_dir")}
    about = {"kind": "networks", "round": 0, "init_seed": 0, "sparsity": 0.0, "networks": _listed(settings.paths)}
    images = kt.data.load(settings.dataset, **options)
    digests = [hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in settings.paths]
    return Source(
        [Work("networks", about, params)],
        model,
        lambda: images,
        {"sha256": digests, "data_sha256": digest(images)},
        settings.dataset,
    )


def _listed(values: Iterable[Any]) -> str:
    return " ".join(map(str, values))
