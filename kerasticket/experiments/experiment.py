"""The experiment of `distilled_pruning.py`: find tickets of each kind, train them on real data, keep every result."""

import dataclasses
import hashlib
import inspect
import time
from pathlib import Path
from typing import Any

import keras

import kerasticket as kt
from kerasticket.checks import check_choice
from kerasticket.data.classes import check_same, in_the_order_of
from kerasticket.data.digest import digest
from kerasticket.experiments.config import Config
from kerasticket.experiments.epoch_events import EpochEvents
from kerasticket.experiments.events import Event, Listener, ignore
from kerasticket.experiments.records import Trained
from kerasticket.experiments.search import Search, random_ticket
from kerasticket.files.json_files import write_json
from kerasticket.params import Params
from kerasticket.pruning.round import Round
from kerasticket.tickets.ticket import Ticket

# What may differ between two calls: none of it changes a result that is finished.
FREE = ("out", "data_dir", "force", "init_seeds", "data_orders", "rounds", "kinds", "train_rounds", "keep_trained")
Images = kt.data.ImageSet | kt.data.StreamedImages | kt.data.DistilledSet  # the last: whitened real images
DIGESTS = ("train_sha256", "test_sha256")  # of the real data; runs of earlier versions have none
STEPS_PER_EPOCH = 500
SEARCHED = ("imp", "synthetic")
PRECISIONS = {"float32", "mixed_bfloat16"}
AUGMENTATIONS = {"none": None} | kt.data.RECIPES


@dataclasses.dataclass
class Experiment:
    """Data, networks and folder of one run; `open` checks all of it before any work is done."""

    config: Config
    run: kt.Run
    train: Images
    test: Images
    distilled: kt.data.DistilledSet | None
    start: Ticket | None
    listener: Listener = ignore
    digests: dict[str, str] = dataclasses.field(default_factory=dict)
    models: dict[str, keras.Model] = dataclasses.field(default_factory=dict)
    pipelines: dict[tuple[str, int], Any] = dataclasses.field(default_factory=dict)

    @classmethod
    def open(cls, config: Config, listener: Listener = ignore) -> "Experiment":
        _check(config)
        keras.config.set_dtype_policy(config.precision)
        train, test, distilled, digests = load_data(config)
        start = Ticket.load(config.start) if config.start else None
        experiment = cls(config, kt.Run(Path(config.out)), train, test, distilled, start, listener, digests)
        experiment.check()
        about = dataclasses.asdict(config) | experiment.identity()
        experiment.run = kt.Run.open(config.out, about, free=FREE, later=DIGESTS, force=config.force)
        return experiment

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
        for kind in self._searched():
            epochs = self.recipe(kind).keras_epochs
            pruning = self._pruning(kind)
            kt.callbacks.IterativeMagnitudePruning(
                rounds=config.rounds, epochs_per_round=epochs, start=self.start, **pruning
            )
        for kind in {"imp", *self._searched()}:
            for data_order in config.data_orders:
                self.pipeline(kind, data_order)
            if self.start:
                self.start.apply(self.model(kind))
        self.pipeline("test", 0)

    def identity(self) -> dict:
        """What decides the results beside the flags: contents of the files that they name, and the backend."""
        distilled = [self.distilled.images, self.distilled.labels] if self.distilled else []
        start = [*self.start.params.values(), *self.start.mask.values()] if self.start else []
        return {
            "search_order": self.config.data_orders[0],
            "backend": keras.config.backend(),
            "distilled_sha256": _digest(distilled),
            "start_sha256": _digest(start),
            **self.digests,
        }

    @property
    def first_round(self) -> int:
        """Rounds of pruning behind the ticket that everything starts from."""
        return self.start.round if self.start else 0

    @property
    def origin(self) -> tuple[str, int]:
        """(kind, round) of the network that everything starts from."""
        return ("start" if self.start else "dense", self.first_round)

    def about(self) -> list[str]:
        """Data and network in a few lines."""
        config = self.config
        lines = [f"{config.dataset}: {len(self.train):,} real training images, {len(self.test):,} test images"]
        if self.distilled and "synthetic" in config.kinds:
            decoded = self.distilled.decoded_count
            lines.append(f"{config.distilled}: {len(self.distilled.images)} distilled images ({decoded} decoded)")
        return [*lines, f"{config.model}: {kt.summary(self.model('imp')).prunable:,} prunable weights"]

    def note(self, text: str) -> None:
        self.listener(Event("note", text=text))

    def find_tickets(self, seed: int) -> None:
        """All searches of one initialization, and the random masks beside them."""
        origin = self.run.ticket(seed, *self.origin)
        if not origin.exists():
            self.start_ticket(seed).save(origin)
        for kind in self._searched():
            self._search(seed, kind)
        if "random" in self.config.kinds:
            self._random_tickets(seed)

    def train_tickets(self, seed: int) -> None:
        """Trains each ticket on the real data once per data order."""
        for data_order in self.config.data_orders:
            self._train(seed, *self.origin, data_order)
            for kind in self.config.kinds:
                for index in self.train_rounds():
                    self._train(seed, kind, index, data_order)

    def close(self, seeds: tuple[int, ...] | None = None) -> None:
        """Ends the work on these initializations, or all; raises FileNotFoundError if what was made did not stay."""
        seeds, orders = self.config.init_seeds if seeds is None else seeds, self.config.data_orders
        tickets = [self.origin, *((kind, index) for kind in self.config.kinds for index in self.train_rounds())]
        results = [self.run.result(seed, *of, order) for seed in seeds for of in tickets for order in orders]
        gone = [path for path in results if not path.exists()]
        self.run.close()
        if gone:
            raise FileNotFoundError(
                f"{len(gone)} of {len(results)} results are not where they were written, such as '{gone[0]}': they "
                "were deleted while this command worked. Run the same command again; it makes what is missing."
            )

    def train_rounds(self) -> list[int]:
        every = range(self.first_round + 1, self.config.rounds + 1)
        return [index for index in every if self.config.train_rounds is None or index in self.config.train_rounds]

    def recipe(self, kind: str) -> kt.training.Recipe:
        """The training inside the rounds of a search; "imp" is the training on real data too."""
        config = self.config
        distilled = kind == "synthetic"
        epochs = config.distilled_epochs if distilled else config.epochs
        rewind_epoch = 0 if distilled else config.rewind_epoch
        rewinds = rewind_epoch or (self.start and self.start.rewind_epoch)  # the ticket then counts passes
        passes = 1 if rewinds else _passes_per_epoch(epochs, self._images(kind) / config.batch_size)
        return kt.training.Recipe(
            epochs=epochs,
            batch_size=config.batch_size,
            learning_rate=config.distilled_learning_rate if distilled else config.learning_rate,
            momentum=config.momentum,
            l2=config.l2,
            augmentation=AUGMENTATIONS[config.augmentation],
            passes_per_epoch=passes,
        )

    def model(self, kind: str) -> keras.Model:
        """The masked network compiled for real or distilled training; two in all, so that each is traced once."""
        if kind not in self.models:
            model = self._new_model(seed=0)
            self.recipe(kind).compile(model, self.pipeline(kind, self.config.data_orders[0]))
            self.models[kind] = model
        return self.models[kind]

    def pipeline(self, kind: str, data_order: int):
        """Batches of real ("imp"), distilled ("synthetic") or test images, made once for all trainings."""
        if (kind, data_order) not in self.pipelines:
            if kind == "test":
                made = kt.data.pipeline(self.test, batch_size=256, shuffle=False)
            else:
                made = self.recipe(kind).pipeline(self._data(kind), data_order)
            self.pipelines[kind, data_order] = made
        return self.pipelines[kind, data_order]

    def evaluate(self, model: keras.Model) -> dict[str, float]:
        return kt.training.evaluate(model, self.pipeline("test", 0))

    def start_ticket(self, seed: int) -> Ticket:
        return self.start or Ticket.dense(self._new_model(seed))

    def _new_model(self, seed: int) -> keras.Model:
        builder = kt.models.MODELS[self.config.model]
        has_width = self.config.width is not None and "width" in inspect.signature(builder).parameters
        width = {"width": self.config.width} if has_width else {}
        return kt.masked(builder(self.train.input_shape, self.train.num_classes, seed=seed, **width))

    def _searched(self) -> list[str]:
        return [kind for kind in SEARCHED if kind in self.config.kinds]

    def _data(self, kind: str):
        return self.distilled if kind == "synthetic" else self.train

    def _images(self, kind: str) -> int:
        return self.distilled.decoded_count if kind == "synthetic" and self.distilled else len(self.train)

    def _search(self, seed: int, kind: str) -> None:
        """Finds the tickets of one kind; the rounds of IMP are trainings on real data, and are kept as such."""
        config, recipe = self.config, self.recipe(kind)
        log = kt.training.EpochLog(recipe)

        def on_round_end(record: Round, trained: Params) -> None:
            self.note(_line(seed, kind, record.index, record.sparsity, record.evaluation, record.seconds))
            history, data_order = log.take(), config.data_orders[0]
            if kind != "imp":
                history.save(self.run.round(seed, kind, record.index) / "history.csv")
                return
            of = self.origin if record.index == self.first_round else (kind, record.index)
            if not self.run.result(seed, *of, data_order).exists():
                self._keep(seed, of[0], Ticket.load(self.run.ticket(seed, *of)), data_order, record, trained, history)

        Search(self.run, kind, seed, config.rounds).iterate(
            self.model(kind),
            self.start_ticket(seed),
            self.pipeline(kind, config.data_orders[0]),
            recipe.keras_epochs,
            callbacks=[self._bar(kind, f"seed {seed}  {kind}"), log],
            on_round_end=on_round_end,
            evaluate=self.evaluate,
            seed=seed,
            **self._pruning(kind),
        )

    def _pruning(self, kind: str) -> dict:
        config = self.config
        return {
            "fraction": config.fraction,
            "rewind_epoch": config.rewind_epoch if kind == "imp" else 0,  # synthetic: always to initialization
            "rewind_scope": config.rewind_scope,
            "scope": config.scope,
            "criterion": config.criterion,
        }

    def _random_tickets(self, seed: int) -> None:
        like = self._searched()[0]
        for index in self.train_rounds():
            path = self.run.ticket(seed, "random", index)
            if not path.exists():
                wanted = Ticket.load(self.run.ticket(seed, like, index))
                random_ticket(self.start_ticket(seed), wanted, seed).save(path)

    def _train(self, seed: int, kind: str, index: int, data_order: int) -> None:
        """One training of one ticket on real data, unless its result is there."""
        if self.run.result(seed, kind, index, data_order).exists():
            return
        recipe, model = self.recipe("imp"), self.model("imp")
        ticket = Ticket.load(self.run.ticket(seed, kind, index))
        ticket.apply(model)
        started = time.perf_counter()
        try:
            history = kt.training.train(
                model,
                self.pipeline("imp", data_order),
                recipe,
                # As in the search, so that a longer search later finds the same result.
                round=index if kind in ("imp", "start") else 0,
                first_epoch=ticket.rewind_epoch,
                callbacks=[self._bar("imp", f"seed {seed}  {kind}  round {index}")],
            )
        except FloatingPointError as error:
            raise FloatingPointError(f"The {kind} ticket of round {index}, seed {seed}: {error}") from error
        seconds = time.perf_counter() - started
        evaluation = self.evaluate(model)
        self.note(_line(seed, f"{kind} ticket", index, ticket.sparsity, evaluation, seconds))
        loss, kept, total = history.final["loss"], ticket.kept, ticket.total
        accuracy = history.final["accuracy"]
        record = Round(index, ticket.sparsity, kept, total, loss, accuracy, seconds, evaluation)
        self._keep(seed, kind, ticket, data_order, record, kt.get_params(model), history)

    def _keep(
        self,
        seed: int,
        kind: str,
        ticket: Ticket,
        data_order: int,
        record: Round,
        trained: Params,
        history: kt.training.History,
    ) -> None:
        """Writes history, trained network, then the result; the result's presence says that all are whole."""
        stored, decoded = self._images_used(kind, record.index)
        result = Trained(
            kind=kind,
            round=record.index,
            init_seed=seed,
            data_order=data_order,
            sparsity=record.sparsity,
            loss=record.evaluation["loss"],
            accuracy=record.evaluation["accuracy"],
            train_loss=record.loss,
            stored=stored,
            decoded=decoded,
            seconds=record.seconds,
        )
        if self.config.keep_trained:
            ticket.save_trained(self.run.order(seed, kind, record.index, data_order) / "trained.keras", trained)
        history.save(self.run.order(seed, kind, record.index, data_order) / "history.csv")
        write_json(self.run.result(seed, kind, record.index, data_order), dataclasses.asdict(result))

    def _images_used(self, kind: str, rounds: int) -> tuple[int, int]:
        """Images that finding a ticket has used: stored x epochs x rounds, and the same after decoding.

        Of searches that begin with --start, without what that ticket has used.
        """
        if kind not in SEARCHED:
            return 0, 0
        config, trainings = self.config, rounds - self.first_round
        if kind == "synthetic":
            assert self.distilled is not None
            stored = len(self.distilled.images) * config.distilled_epochs * trainings
            return stored, stored * self.distilled.factor**2
        before = self.start.rewind_epoch if self.start else 0
        saved = before + config.rewind_epoch * (trainings - 1) if trainings else 0
        images = len(self.train) * (config.epochs * trainings - saved)
        return images, images

    def _bar(self, kind: str, name: str) -> EpochEvents:
        return EpochEvents(self.listener, name, self._cost(kind) / self.recipe(kind).keras_epochs)

    def _cost(self, kind: str) -> int:
        """Images that one round of a search shows to the network; the unit of progress."""
        epochs = self.config.distilled_epochs if kind == "synthetic" else self.config.epochs
        return epochs * self._images(kind)

    def work(self, seed: int) -> int:
        """Images still to be seen for one initialization."""
        config, work = self.config, 0
        for kind in self._searched():
            latest = Search(self.run, kind, seed, config.rounds).latest()
            work += (config.rounds - (latest.round if latest else self.first_round)) * self._cost(kind)
        for data_order in config.data_orders:
            tickets = [self.origin, *((kind, index) for kind in config.kinds for index in self.train_rounds())]
            for kind, index in tickets:
                found_on_the_way = (
                    "imp" in config.kinds
                    and data_order == config.data_orders[0]
                    and kind in (self.origin[0], "imp")
                    and index < config.rounds
                )
                if not found_on_the_way and not self.run.result(seed, kind, index, data_order).exists():
                    work += self._cost("imp")
        return work


def load_data(config: Config) -> tuple[Images, Images, kt.data.DistilledSet | None, dict[str, str]]:
    """Real training and test images, in the space of the distilled set, that set, and `DIGESTS` of the real images.

    Digests are of the images before they are whitened, whose bits depend on the machine.
    Whatever kinds there are: with others added later, all results of a run are of one space.
    """
    train = _load(config, "train", config.images_per_class)
    test = _load(config, "test", None)
    check_same(train.class_names, test.class_names, "the training images", "the test images")
    test = in_the_order_of(test, train.class_names, "the training images")
    digests = dict(zip(DIGESTS, map(digest, (train, test)), strict=True))
    distilled = _load_distilled(config)
    if distilled and "synthetic" in config.kinds:
        distilled = in_the_order_of(distilled, train.class_names, f"the real data of {train.source!r}")
    if distilled:
        train, test = _in_the_space_of(distilled, config, train, test)
        if "synthetic" in config.kinds:
            distilled.check_matches(train)
    return train, test, distilled, digests


def _load(config: Config, split: str, images_per_class: int | None) -> Images:
    return kt.data.load(
        config.dataset,
        split,
        images_per_class=images_per_class,
        data_dir=config.data_dir,
        image_size=config.image_size,
    )


def _line(seed: int, kind: str, index: int, sparsity: float, evaluation: dict[str, float], seconds: float) -> str:
    return (
        f"seed {seed}  {kind:16} round {index:2}  sparsity {sparsity:6.2%}  "
        f"test accuracy {evaluation['accuracy']:6.2%}  {seconds:6.1f} s"
    )


def _in_the_space_of(distilled: kt.data.DistilledSet, config: Config, train: Images, test: Images) -> list[Images]:
    """Real images as networks of the distilled set's space take them: whitened for ZCA, else as they are."""
    if distilled.space != "zca":
        return [train, test]
    zca = kt.data.ZCA.fit(_in_memory(_load(config, "train", None)), distilled.zca["epsilon"])
    return [zca.whiten(_in_memory(images)) for images in (train, test)]


def _in_memory(images: Images) -> kt.data.ImageSet:
    if not isinstance(images, kt.data.ImageSet):
        raise ValueError(f"Distilled images in ZCA space need real ones in memory. Received: {type(images).__name__}")
    return images


def _load_distilled(config: Config) -> kt.data.DistilledSet | None:
    """The distilled set; it may be absent where no search uses it, but counts as part of the run if it is there."""
    if not Path(config.distilled).exists():
        if "synthetic" not in config.kinds:
            return None
        preset = {"cifar10": " --preset cifar10-cpu", "digits": ""}.get(config.dataset, "")
        size = f" --image-size {config.image_size}" if config.image_size else ""
        augmentation = "" if preset else f" --augmentation {config.augmentation}"
        raise ValueError(
            f"Expected a distilled set (HDF5). Received: --distilled '{config.distilled}': no such file. Make one, "
            f"e.g. python scripts/distill_dataset.py{preset} --dataset {config.dataset}{size}{augmentation} --out "
            f"{config.distilled}"
        )
    return kt.data.DistilledSet.load(config.distilled)


def _digest(arrays: list) -> str | None:
    """SHA-256 of the arrays' bytes; None if there are none."""
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest() if arrays else None


def _passes_per_epoch(epochs: int, steps: float) -> int:
    """Passes that make one Keras epoch: enough for 500 steps, so that what Keras does between epochs is no cost."""
    divisors = [number for number in range(1, epochs + 1) if epochs % number == 0]
    return next((number for number in divisors if number * steps >= STEPS_PER_EPOCH), divisors[-1])


def _check(config: Config) -> None:
    """Raises ValueError for what only this script can get wrong; the package checks the rest."""
    known_names: dict[str, Any] = {"model": kt.models.MODELS, "augmentation": AUGMENTATIONS, "precision": PRECISIONS}
    for name, known in known_names.items():
        check_choice(getattr(config, name), known, f"--{name}")
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
    if config.start and len(config.init_seeds) > 1:
        raise ValueError("A --start ticket has its own initial weights: pass one --init-seeds as its label.")
