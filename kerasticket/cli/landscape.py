"""The loss on planes through networks that differ in data order alone (paper, Fig. 5), or around one network.

    python scripts/distilled_pruning.py --out runs/digits --data-orders 0 1 2 3   # each ticket trained four times
    python scripts/loss_landscape.py runs/digits                                  # minutes
    python scripts/loss_landscape.py runs/cifar10-cpu --rounds 9 --points 10000   # 20 minutes per network, two cores
    python scripts/loss_landscape.py runs/digits --plane random --layout grid
    python scripts/loss_landscape.py a.keras b.keras c.keras --plane through_three --dataset digits --out landscape

Writes each surface (HDF5, and its points and networks as CSV), surfaces.csv, and maps of loss and accuracy (PNG and
PDF) with the dense network and the tickets of a round side by side, into RUN/landscape/PLANE. Every finished surface
is kept, and the points of the one that is being made: the same command again goes on where it was killed.
"""

import dataclasses
import hashlib
import shutil
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import tyro

from kerasticket.backend.quiet import import_keras
from kerasticket.cli.door import program

# What may differ between two calls: none of it changes a surface that is finished.
FREE = ("paths", "kinds", "rounds", "init_seeds", "data_dir", "out", "force")
SETTINGS = ("points", "layout", "filter_normalize", "statistics", "seed")


@dataclasses.dataclass(frozen=True)
class Config:
    """What is looked at, and how."""

    paths: tyro.conf.Positional[tuple[str, ...]]
    """Folder of a run of distilled_pruning.py with four --data-orders; or trained networks (.keras) of one model."""
    kinds: tuple[str, ...] = ()
    """Of a run: imp, synthetic, random; default: all that the run has trained. The dense network always is."""
    rounds: tuple[int, ...] = ()
    """Of a run: rounds of pruning; default: the last one that was trained."""
    init_seeds: tuple[int, ...] = ()
    """Of a run: seeds of the initial weights; default: all."""
    data_orders: tuple[int, ...] = ()
    """Of a run: the trainings w0, w1, ... of each ticket; default: all, in increasing order."""
    plane: str = "paper"
    """"paper" takes four networks, "through_three" three, "random" (two random directions) one."""
    points: int = 2500
    """10,000 in the paper; for a grid a square number."""
    layout: str = "uniform"
    """"uniform" draws the points, as the paper does; "grid"."""
    filter_normalize: bool = True
    """Of random directions: each filter as long as the network's own."""
    statistics: str = "interpolate"
    """Of batch normalization: "interpolate" as the paper's code, or "reestimate" at each point."""
    seed: int = 0
    """Of the points and of random directions."""
    images_per_class: int | None = 100
    """Training images, without augmentation, that the loss is of."""
    dataset: str = "digits"
    """Of .keras files: the data that they were trained on; a run knows its own."""
    image_size: int | None = None
    """Of .keras files: side of the images; default: the data set's."""
    data_dir: str | None = None
    """Of .keras files: TensorFlow Datasets folder; default: TFDS_DATA_DIR, then TFDS' own."""
    out: str | None = None
    """Folder of the results; default: RUN/landscape/PLANE. Needed with .keras files."""
    force: bool = False
    """Delete what is in --out and start again."""


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
    load: Callable[[], list[dict]]


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
    model: Callable[[], Any]
    images: Callable[[], Any]
    identity: dict[str, Any]
    title: str
    close: Callable[[], None] = lambda: None


def main(config: Config) -> None:
    import_keras()
    import kerasticket as kt
    from kerasticket.experiments.landscape_report import check_networks, write_report

    started = time.perf_counter()
    check(config)
    source = (from_run if Path(config.paths[0]).is_dir() else from_files)(config)
    out = Path(config.out or Path(config.paths[0]) / "landscape" / config.plane)
    fresh = config.force or not (out / "config.json").exists()
    identity = dataclasses.asdict(config) | source.identity
    landscape = kt.Run.open(out, identity, free=FREE, later=("data_sha256",), force=config.force)
    check_networks(out, {work.name: work.about["networks"] for work in source.works})
    missing = [work for work in source.works if not (out / f"{work.name}.h5").exists()]
    try:
        if missing:
            evaluate(config, source, missing, out)
    except ValueError:
        if fresh and not any(out.glob("*_points.csv")):
            shutil.rmtree(out)  # nothing was made: the next call may have other settings
        raise
    write_report(out, source.title)
    landscape.close()
    source.close()
    print(f"\n{time.perf_counter() - started:.0f} s; surfaces, tables and figures lie in {out.resolve()}")


def check(config: Config) -> None:
    """Raises ValueError for settings that make no sense, before anything is read."""
    from kerasticket.analysis.landscape import check_options

    if not config.paths:
        raise ValueError("Expected the folder of a run, or trained networks (.keras). Received: nothing.")
    absent = [path for path in config.paths if not Path(path).exists()]
    if absent:
        raise ValueError(f"Expected a folder or files that exist. Received: {', '.join(absent)}.")
    folders = [path for path in config.paths if Path(path).is_dir()]
    if folders and len(config.paths) > 1:
        raise ValueError(f"Expected one run, or .keras files alone. Received: {', '.join(config.paths)}.")
    if not folders and config.out is None:
        raise ValueError("Expected --out FOLDER with .keras files. Received: none.")
    check_options(config.plane, **{name: getattr(config, name) for name in ("points", "layout", "statistics", "seed")})


def evaluate(config: Config, source: Source, works: list[Work], out: Path) -> None:
    """Makes and saves the surfaces: one model and one compiled function for all of them."""
    from kerasticket.analysis import Objective, loss_plane
    from kerasticket.cli.progress import Progress
    from kerasticket.experiments.landscape_report import record

    model, images = source.model(), source.images()
    if tuple(model.input_shape[1:]) != images.input_shape:
        raise ValueError(f"Expected networks for images {images.input_shape}. Received: {model.input_shape[1:]}.")
    objective = Objective(model, images)
    settings = {name: getattr(config, name) for name in SETTINGS}
    with Progress(total=len(works) * config.points) as bar:
        for index, work in enumerate(works):

            def tell(done: int, name: str = work.name, behind: int = index * config.points) -> None:
                bar.reach(behind + done, f"{name}  point {done:,}/{config.points:,}")

            kept, older = (out / f"{work.name}.unfinished.{ending}" for ending in ("npz", "h5"))
            if older.exists():
                raise ValueError(f"'{older}' is of an earlier version, which cannot be gone on with. Delete it.")
            surface = loss_plane(
                model, work.load(), objective, kind=config.plane, checkpoint=kept, progress=tell, **settings
            )
            record(out, work.name, work.about, surface)
            surface.save(out / f"{work.name}.h5")  # last: its presence says that all is whole
            kept.unlink()
            bar.line(
                f"{work.name:28} loss {surface.net_loss.mean():.4f} of the networks, {surface.loss.min():.4f} at best"
            )


def from_run(config: Config) -> Source:
    """The tickets of a run."""
    from kerasticket.experiments.config import FREE as FREE_IN_A_RUN
    from kerasticket.experiments.trained_run import TrainedRun

    run = TrainedRun.open(config.paths[0])
    rounds = config.rounds or (max(of.round for of in run.trainings),)
    chosen = run.chosen(config.kinds, rounds, config.init_seeds)
    works = [work_of(config, run, of) for of in chosen]
    about = {name: value for name, value in dataclasses.asdict(run.config).items() if name not in FREE_IN_A_RUN}
    return Source(
        works,
        lambda: run.model(chosen[0]),
        lambda: run.images("train", config.images_per_class),
        {"run": about, "data_sha256": run.digests},
        f"{run.config.dataset}, {run.config.model}",
        run.close,
    )


def work_of(config: Config, run: Any, of: Any) -> Work:
    """The surface of one ticket; raises ValueError with the command that trains what is missing."""
    from kerasticket.analysis.planes import PLANES

    needed, trained = PLANES[config.plane][0], sorted(run.trainings[of])
    orders = config.data_orders or tuple(trained)
    if len(orders) < needed or not set(orders) <= set(trained):
        named = dict.fromkeys((*run.config.data_orders, *config.data_orders))  # the run's first one must stay first
        wanted = [*named, *(order for order in range(needed) if order not in named)][: max(needed, len(named))]
        raise ValueError(
            f"Expected networks of at least {needed} data orders of: {of}. Received: {_listed(orders)}, of which "
            f"{_listed(trained)} are trained. Train them with the command of the run and more data orders, "
            f"distilled_pruning.py ... --out {config.paths[0]} --data-orders {_listed(wanted)}; what is finished stays."
        )
    used = orders[:1] if config.plane == "random" else orders  # others would all lie near the center
    about = of._asdict() | {"networks": _listed(used)}
    name = f"{of.kind}_round_{of.round:02d}_seed_{of.init_seed}"
    return Work(name, about, lambda: [run.params(of, order) for order in used])


def from_files(config: Config) -> Source:
    """Trained networks of one model, as `.keras` files."""
    import keras

    import kerasticket as kt
    from kerasticket.data.digest import digest
    from kerasticket.models import saved

    def params() -> list[Any]:
        return [kt.get_params(saved.load(path)) for path in config.paths]

    def model() -> keras.Model:
        made = saved.load(config.paths[0])
        made.compile(loss=keras.losses.CategoricalCrossentropy(from_logits=True))
        return made

    options = {name: getattr(config, name) for name in ("images_per_class", "image_size", "data_dir")}
    about = {"kind": "networks", "round": 0, "init_seed": 0, "sparsity": 0.0, "networks": _listed(config.paths)}
    images = kt.data.load(config.dataset, **options)
    digests = [hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in config.paths]
    return Source(
        [Work("networks", about, params)],
        model,
        lambda: images,
        {"sha256": digests, "data_sha256": digest(images)},
        config.dataset,
    )


def _listed(values: Iterable[Any]) -> str:
    return " ".join(map(str, values))


def run(arguments: list[str]) -> None:
    main(tyro.cli(Config, description=__doc__, prog=program(), args=arguments))
