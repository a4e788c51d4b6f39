"""Distilled pruning in one process: data, networks and pipelines, made once for all jobs of a run."""

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import keras

import kerasticket as kt
from kerasticket.checks import check_choice
from kerasticket.experiments.config import FREE, SEARCHED, Config
from kerasticket.experiments.executors.threads import threads_here
from kerasticket.experiments.images import DIGESTS, Images, Own, StudyImages, load_data
from kerasticket.experiments.plan import Sizes, trained_rounds
from kerasticket.models import MODELS
from kerasticket.models import own as own_networks
from kerasticket.tickets.ticket import Ticket

LATER = (*DIGESTS, "model_sha256", "threads")  # runs of earlier versions have none
STEPS_PER_EPOCH = 500
PRECISIONS = {"float32", "mixed_bfloat16"}
AUGMENTATIONS = {"none": None} | kt.data.RECIPES


@dataclasses.dataclass
class Experiment:
    """Data, networks and folder of one run; `open` checks all of it before any work is done."""

    config: Config
    run: kt.Run
    images: StudyImages
    start: Ticket | None
    builder: own_networks.Builder | None = None
    models: dict[str, keras.Model] = dataclasses.field(default_factory=dict)
    pipelines: dict[tuple[str, int], Any] = dataclasses.field(default_factory=dict)

    @classmethod
    def open(cls, config: Config, **own: Any) -> "Experiment":
        """Checks everything, then makes the folder or goes on in it, and locks it.

        Args:
            config: of the run.
            **own: of `load`.

        Raises:
            ValueError: bad settings, data that do not fit, a folder of another configuration or of another process.
        """
        experiment = cls.load(config, **own)
        experiment.check()
        about = dataclasses.asdict(config) | experiment.identity()
        experiment.run = kt.Run.open(config.out, about, free=FREE, later=LATER, force=config.force)
        return experiment

    @classmethod
    def load(
        cls,
        config: Config,
        *,
        own: Own | None = None,
        builder: own_networks.Builder | None = None,
        images: StudyImages | None = None,
    ) -> "Experiment":
        """Loads the data, without a look at the folder.

        Args:
            config: of the run.
            own: images of the caller's.
            builder: the caller's function for networks, in place of `config.model`.
            images: the same that the configuration would load, where they are loaded already.
        """
        _check(config, builder)
        keras.config.set_dtype_policy(config.precision)
        start = Ticket.load(config.start) if config.start else None
        return cls(config, kt.Run(Path(config.out)), images or load_data(config, own or Own()), start, builder)

    @property
    def train(self) -> Images:
        return self.images.train

    @property
    def test(self) -> Images:
        return self.images.test

    @property
    def distilled(self) -> kt.data.DistilledSet | None:
        return self.images.distilled

    @property
    def sizes(self) -> Sizes:
        distilled = self.distilled.decoded_count if self.distilled else 0
        return Sizes(len(self.train), distilled, self.first_round)

    def check(self) -> None:
        """Builds all that the run is made of, so that bad settings are refused before its folder exists."""
        config = self.config
        if config.rounds <= self.first_round:
            raise ValueError(f"Expected --rounds above the {self.first_round} of --start. Received: {config.rounds}.")
        outside = set(config.train_rounds or ()) - set(range(self.first_round + 1, config.rounds + 1))
        if outside:
            raise ValueError(
                f"Expected --train-rounds within {self.first_round + 1}..{config.rounds}. Received: {sorted(outside)}."
            )
        for kind in self.searched:
            epochs = self.recipe(kind).keras_epochs
            kt.callbacks.IterativeMagnitudePruning(
                rounds=config.rounds, epochs_per_round=epochs, start=self.start, **self.pruning(kind)
            )
        for kind in {"imp", *self.searched}:
            for data_order in config.data_orders:
                self.pipeline(kind, data_order)
            if self.start:
                self.start.apply(self.model(kind))
        self.pipeline("test", 0)

    def identity(self) -> dict[str, Any]:
        """What decides the results beside the flags: contents of the files that they name, backend and threads."""
        distilled = [self.distilled.images, self.distilled.labels] if self.distilled else []
        start = [*self.start.params.values(), *self.start.mask.values()] if self.start else []
        own = [] if self.config.model in MODELS else list(kt.get_params(self.new_model(0)).values())
        return {
            "search_order": self.config.data_orders[0],
            "backend": keras.config.backend(),
            "threads": threads_here(),
            "distilled_sha256": _digest(distilled),
            "start_sha256": _digest(start),
            "model_sha256": _digest(own),
            **self.images.digests,
        }

    @property
    def first_round(self) -> int:
        """Rounds of pruning behind the ticket that everything starts from."""
        return self.start.round if self.start else 0

    @property
    def origin(self) -> tuple[str, int]:
        """(kind, round) of the network that everything starts from."""
        return ("start" if self.start else "dense", self.first_round)

    @property
    def searched(self) -> list[str]:
        """The kinds of ticket that iterative pruning finds."""
        return [kind for kind in SEARCHED if kind in self.config.kinds]

    def about(self) -> list[str]:
        """Data and network in a few lines."""
        config = self.config
        lines = [f"{self.train.source}: {len(self.train):,} real training images, {len(self.test):,} test images"]
        if self.distilled and "synthetic" in config.kinds:
            decoded = self.distilled.decoded_count
            lines.append(f"{config.distilled}: {len(self.distilled.images)} distilled images ({decoded} decoded)")
        return [*lines, f"{config.model}: {kt.summary(self.model('imp')).prunable:,} prunable weights"]

    def close(self, seeds: tuple[int, ...] | None = None) -> None:
        """Ends the work on these initializations, or all; raises FileNotFoundError if what was made did not stay."""
        seeds, orders = self.config.init_seeds if seeds is None else seeds, self.config.data_orders
        rounds = trained_rounds(self.config, self.first_round)
        tickets = [self.origin, *((kind, index) for kind in self.config.kinds for index in rounds)]
        results = [self.run.result(seed, *of, order) for seed in seeds for of in tickets for order in orders]
        gone = [path for path in results if not path.exists()]
        self.run.close()
        if gone:
            raise FileNotFoundError(
                f"{len(gone)} of {len(results)} results are not where they were written, such as '{gone[0]}': they "
                "were deleted while this command worked. Run the same command again; it makes what is missing."
            )

    def recipe(self, kind: str) -> kt.training.Recipe:
        """The training inside the rounds of a search; "imp" is the training on real data too."""
        config = self.config
        distilled = kind == "synthetic"
        epochs = config.distilled_epochs if distilled else config.epochs
        rewind_epoch = 0 if distilled else config.rewind_epoch
        rewinds = rewind_epoch or (self.start and self.start.rewind_epoch)  # the ticket then counts passes
        images = self.sizes.distilled if distilled else self.sizes.train
        passes = 1 if rewinds else _passes_per_epoch(epochs, images / config.batch_size)
        return kt.training.Recipe(
            epochs=epochs,
            batch_size=config.batch_size,
            learning_rate=config.distilled_learning_rate if distilled else config.learning_rate,
            momentum=config.momentum,
            l2=config.l2,
            augmentation=AUGMENTATIONS[config.augmentation],
            passes_per_epoch=passes,
        )

    def pruning(self, kind: str) -> dict[str, Any]:
        """Options of `IterativeMagnitudePruning` in a search."""
        config = self.config
        return {
            "fraction": config.fraction,
            "rewind_epoch": config.rewind_epoch if kind == "imp" else 0,  # synthetic: always to initialization
            "rewind_scope": config.rewind_scope,
            "scope": config.scope,
            "criterion": config.criterion,
        }

    def images_of_a_training(self, kind: str) -> int:
        """Images that a round of a search shows to the network; the unit of progress."""
        if kind == "synthetic":
            return self.config.distilled_epochs * self.sizes.distilled
        return self.config.epochs * self.sizes.train

    def model(self, kind: str) -> keras.Model:
        """The masked network compiled for real or distilled training; two in all, so that each is traced once."""
        if kind not in self.models:
            model = self.new_model(seed=0)
            self.recipe(kind).compile(model, self.pipeline(kind, self.config.data_orders[0]))
            self.models[kind] = model
        return self.models[kind]

    def new_model(self, seed: int) -> keras.Model:
        """A fresh masked network with the initial weights of a seed."""
        config = self.config
        builder = self.builder or own_networks.builder_of(config.model)
        return kt.masked(
            own_networks.build(builder, self.train.input_shape, self.train.num_classes, seed, config.width)
        )

    def start_ticket(self, seed: int) -> Ticket:
        """What everything starts from."""
        return self.start or Ticket.dense(self.new_model(seed))

    def pipeline(self, kind: str, data_order: int) -> Any:
        """Batches of real ("imp"), distilled ("synthetic") or test images, made once for all trainings."""
        if (kind, data_order) not in self.pipelines:
            if kind == "test":
                made = kt.data.pipeline(self.test, batch_size=256, shuffle=False)
            else:
                images = self.distilled if kind == "synthetic" else self.train
                made = self.recipe(kind).pipeline(images, data_order)
            self.pipelines[kind, data_order] = made
        return self.pipelines[kind, data_order]

    def evaluate(self, model: keras.Model) -> dict[str, float]:
        """Loss and accuracy on the test images."""
        return kt.training.evaluate(model, self.pipeline("test", 0))


def _digest(arrays: list[Any]) -> str | None:
    """SHA-256 of the arrays' bytes; None if there are none."""
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest() if arrays else None


def _passes_per_epoch(epochs: int, steps: float) -> int:
    """Passes that make one Keras epoch: enough for 500 steps, so that what Keras does between epochs is no cost."""
    divisors = [number for number in range(1, epochs + 1) if epochs % number == 0]
    return next((number for number in divisors if number * steps >= STEPS_PER_EPOCH), divisors[-1])


def _check(config: Config, builder: own_networks.Builder | None) -> None:
    """Raises ValueError for what only a study can get wrong; the package checks the rest."""
    if not builder:
        own_networks.builder_of(config.model, "--model")
    check_choice(config.augmentation, AUGMENTATIONS, "--augmentation")
    check_choice(config.precision, PRECISIONS, "--precision")
    for name in ("epochs", "distilled_epochs", "batch_size"):
        if getattr(config, name) < 1:
            raise ValueError(f"Expected --{name.replace('_', '-')} of at least 1. Received: {getattr(config, name)}.")
    unknown = set(config.kinds) - {*SEARCHED, "random"}
    if unknown or not set(config.kinds) & set(SEARCHED):
        raise ValueError(
            f"Expected --kinds among imp, synthetic, random, one of the first two at least, whose sparsities random "
            f"masks share. Received: {config.kinds}."
        )
    if not (config.init_seeds and config.data_orders) or min(config.init_seeds + config.data_orders) < 0:
        raise ValueError(
            f"Expected at least one of --init-seeds and one of --data-orders, none negative. "
            f"Received: {config.init_seeds} and {config.data_orders}."
        )
    for name in ("init_seeds", "data_orders", "kinds"):
        if len(set(getattr(config, name))) < len(getattr(config, name)):
            raise ValueError(f"Expected --{name.replace('_', '-')} to be distinct. Received: {getattr(config, name)}.")
    if config.start and len(config.init_seeds) > 1:
        raise ValueError("A --start ticket has its own initial weights: pass one --init-seeds as its label.")
