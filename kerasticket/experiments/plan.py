"""What is left to do of a run of distilled pruning, as a list of jobs. Pure: it looks at nothing but file names."""

import dataclasses
from pathlib import Path

from kerasticket.experiments.config import SEARCHED, Config
from kerasticket.experiments.job import Job
from kerasticket.experiments.run import Run


@dataclasses.dataclass(frozen=True)
class Sizes:
    """What the data and the start of a run decide about its jobs.

    Attributes:
        train, distilled: images that one epoch shows to a network: real ones, and distilled ones after decoding.
        first_round: rounds of pruning behind the ticket that everything starts from.
    """

    train: int
    distilled: int = 0
    first_round: int = 0


def plan(config: Config, folder: str | Path, sizes: Sizes) -> list[Job]:
    """The jobs whose files are not there yet, searches first; those that others wait for stand before these.

    Args:
        config: of the run.
        folder: of the run; it need not exist.
        sizes: of the data.

    Example:
        >>> jobs = plan(Config(init_seeds=(0,), rounds=1, kinds=("imp",)), "absent", Sizes(train=1000))
        >>> [(job.name, job.cost) for job in jobs][-2:]
        [('seed 0  imp  search 1', 12000), ('seed 0  imp  round 1  order 1', 12000)]
    """
    planner = Planner(config, Run(Path(folder)), sizes)
    return [job for seed in config.init_seeds for job in planner.of_seed(seed)]


def trained_rounds(config: Config, first_round: int) -> list[int]:
    """The rounds whose tickets are trained on real data."""
    every = range(first_round + 1, config.rounds + 1)
    return [index for index in every if config.train_rounds is None or index in config.train_rounds]


@dataclasses.dataclass(frozen=True)
class Planner:
    """Makes the jobs of a run, done or not; see `plan`."""

    config: Config
    run: Run
    sizes: Sizes

    @property
    def origin(self) -> tuple[str, int]:
        """(kind, round) of the network that everything starts from."""
        return ("start" if self.config.start else "dense", self.sizes.first_round)

    def of_seed(self, seed: int) -> list[Job]:
        """What is left of an initialization."""
        return self.left(self.every(seed))

    def every(self, seed: int) -> list[Job]:
        """All jobs of an initialization, done or not."""
        searches = [job for kind in SEARCHED if kind in self.config.kinds for job in self.searches(seed, kind)]
        return [self.start(seed), *searches, *self.random_masks(seed), *self.trainings(seed, self.config.kinds)]

    def left(self, jobs: list[Job]) -> list[Job]:
        """Those whose files are not there, and which no other one makes on its way, as searches of IMP do."""
        jobs = [job for job in jobs if not job.done(self.run.folder)]
        on_the_way = {name for job in jobs for name in job.makes[:-1]}
        return [job for job in jobs if job.makes[-1] not in on_the_way]

    def _name(self, path: Path) -> str:
        return path.relative_to(self.run.folder).as_posix()

    def ticket(self, seed: int, kind: str, index: int) -> str:
        """The file of a ticket, as jobs name it."""
        return self._name(self.run.ticket(seed, kind, index))

    def start(self, seed: int) -> Job:
        """The ticket that everything starts from."""
        return Job(f"seed {seed}  start", "start", {"seed": seed}, (), (self.ticket(seed, *self.origin),))

    def searches(self, seed: int, kind: str) -> list[Job]:
        """A job for each round, from the ticket of the round before."""
        rounds = range(self.sizes.first_round + 1, self.config.rounds + 1)
        return [self._search(seed, kind, index) for index in rounds]

    def _search(self, seed: int, kind: str, index: int) -> Job:
        first = index == self.sizes.first_round + 1
        before = self.ticket(seed, *self.origin) if first else self.ticket(seed, kind, index - 1)
        makes = [self._name(self.run.record(seed, kind, index - 1))]
        if first:
            makes.append(self.ticket(seed, kind, index - 1))  # where it starts from, at its rewind point
        if kind == "imp":
            of = self.origin if first else (kind, index - 1)
            makes += self._results(seed, *of, self.config.data_orders[0])
        else:
            makes.append(self._name(self.run.round(seed, kind, index - 1) / "history.csv"))
        epochs, images = self.config.epochs, self.sizes.train
        if kind == "synthetic":
            epochs, images = self.config.distilled_epochs, self.sizes.distilled
        return Job(
            f"seed {seed}  {kind}  search {index}",
            "search",
            {"seed": seed, "kind": kind, "index": index},
            tuple(dict.fromkeys([self.ticket(seed, *self.origin), before])),
            (*makes, self.ticket(seed, kind, index)),
            epochs * images,
        )

    def random_masks(self, seed: int) -> list[Job]:
        """A job for each random mask, after the search whose sparsity it shares."""
        if "random" not in self.config.kinds:
            return []
        like = next(kind for kind in SEARCHED if kind in self.config.kinds)
        return [self._random_mask(seed, like, index) for index in trained_rounds(self.config, self.sizes.first_round)]

    def _random_mask(self, seed: int, like: str, index: int) -> Job:
        arguments: dict[str, int | str] = {"seed": seed, "like": like, "index": index}
        needs = (self.ticket(seed, *self.origin), self.ticket(seed, like, index))
        makes = (self.ticket(seed, "random", index),)
        return Job(f"seed {seed}  random  mask {index}", "random_mask", arguments, needs, makes)

    def trainings(self, seed: int, kinds: tuple[str, ...]) -> list[Job]:
        """A job for each training of the first network and of the tickets of these kinds on real data."""
        rounds = trained_rounds(self.config, self.sizes.first_round)
        tickets = [self.origin, *((kind, index) for kind in kinds for index in rounds)]
        return [self._training(seed, *ticket, order) for order in self.config.data_orders for ticket in tickets]

    def _training(self, seed: int, kind: str, index: int, order: int) -> Job:
        return Job(
            f"seed {seed}  {kind}  round {index}  order {order}",
            "train",
            {"seed": seed, "kind": kind, "index": index, "data_order": order},
            (self.ticket(seed, kind, index),),
            tuple(self._results(seed, kind, index, order)),
            self.config.epochs * self.sizes.train,
        )

    def barrier(self, seed: int, kind: str, index: int, first: int, second: int) -> Job:
        """The barrier between two trainings of a ticket."""
        trained = [self.run.order(seed, kind, index, order) / "trained.keras" for order in (first, second)]
        return Job(
            f"seed {seed}  {kind}  round {index}  barrier {first} {second}",
            "barrier",
            {"seed": seed, "kind": kind, "index": index, "first": first, "second": second},
            tuple(self._name(path) for path in trained),
            (self._name(self.run.barrier(seed, kind, index, first, second)),),
        )

    def _results(self, seed: int, kind: str, index: int, order: int) -> list[str]:
        folder = self.run.order(seed, kind, index, order)
        trained = [folder / "trained.keras"] if self.config.keep_trained else []
        paths = [*trained, folder / "history.csv", self.run.result(seed, kind, index, order)]
        return [self._name(path) for path in paths]
