"""A run of `distilled_pruning.py` seen from behind: the networks that it has trained, and its data."""

import dataclasses
import json
import typing
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import keras

import kerasticket as kt
from kerasticket.data.images import choose_per_class
from kerasticket.experiments.config import FREE, Config
from kerasticket.experiments.images import DIGESTS, load_data
from kerasticket.files import typed
from kerasticket.files.atomic import check_writable
from kerasticket.files.json_files import read_json, write_json
from kerasticket.files.lock import RunLock
from kerasticket.models import saved
from kerasticket.params import Params


class Subnetwork(NamedTuple):
    """What the trainings of one ticket have in common; sorts by kind, then round."""

    kind: str
    round: int
    init_seed: int
    sparsity: float

    def __str__(self) -> str:
        return f"{self.kind}, round {self.round} ({self.sparsity:.1%}), init seed {self.init_seed}"


@dataclasses.dataclass(frozen=True)
class TrainedRun:
    """The tickets and the trained networks of a run folder.

    Attributes:
        run: the folder.
        config: that it was made with.
        locks: what keeps others from deleting the run, and from writing to the folder that was claimed.
    """

    run: kt.Run
    config: Config
    locks: list[RunLock] = dataclasses.field(default_factory=list, compare=False, repr=False)

    @classmethod
    def open(cls, folder: str) -> "TrainedRun":
        """Reads the configuration of a run.

        Raises:
            ValueError: the folder is no run of `distilled_pruning.py`, or it has not kept trained networks.
        """
        path = Path(folder) / "config.json"
        stored = read_json(path) if path.exists() else {}
        fields = {field.name for field in dataclasses.fields(Config)}
        if not fields <= stored.keys():
            raise ValueError(f"Expected the folder of a run of distilled_pruning.py. Received: '{folder}'.")
        typed.check(stored, typing.get_type_hints(Config), f"'{path}'")
        values: dict[str, Any] = {name: tuple(v) if isinstance(v := stored[name], list) else v for name in fields}
        reads = RunLock.of_readers(folder)
        opened = cls(kt.Run(Path(folder)), Config(**values), [reads] if reads else [])
        if not opened.trainings:
            raise ValueError(
                f"Expected trained networks in '{folder}'. Received: none. Make them with distilled_pruning.py "
                f"--out {folder} and the flags of that run, without --no-keep-trained."
            )
        return opened

    def claim(self, out: Path) -> None:
        """Takes a folder for results, and notes in it which run they are of.

        Raises:
            ValueError: they are of another run, or another process writes there.
        """
        check_writable(out)
        self.locks.append(RunLock.of_folder(out))
        about = {name: v for name, v in dataclasses.asdict(self.config).items() if name not in FREE}
        about, known = json.loads(json.dumps(about)) | self.digests, out / "run.json"
        before = read_json(known) if known.exists() else about
        before = self.digests | before  # folders of earlier versions have none
        other = [name for name in about if before.get(name) != about[name]]
        if other:
            raise ValueError(
                f"Expected --out with results of '{self.run.folder}', or an empty one. Received: '{out}', whose "
                f"results are of a run with another {', '.join(other)}. Choose another --out."
            )
        write_json(known, about)

    def close(self) -> None:
        """Ends the work; raises FileNotFoundError if the run or the claimed folder was deleted on the way."""
        for lock in self.locks:
            lock.__exit__(None, None, None)

    @cached_property
    def trainings(self) -> dict[Subnetwork, dict[int, dict]]:
        """The results of all kept trainings: by subnetwork, then by data order."""
        found: dict[Subnetwork, dict[int, dict]] = {}
        for row in self.run.results():
            of = Subnetwork(row["kind"], row["round"], row["init_seed"], row["sparsity"])
            if self._file(of, row["data_order"]).exists():
                found.setdefault(of, {})[row["data_order"]] = row
        return dict(sorted(found.items()))

    def chosen(self, kinds: tuple[str, ...], rounds: tuple[int, ...], seeds: tuple[int, ...]) -> list[Subnetwork]:
        """The subnetworks of these kinds, rounds and initialization seeds; none named: all of them.

        The network that everything starts from is always among those of the seeds.

        Raises:
            ValueError: a kind, round or seed that the run has not trained.
        """
        every = list(self.trainings)
        for name, wanted, known in (
            ("kinds", kinds, {of.kind for of in every}),
            ("rounds", rounds, {of.round for of in every}),
            ("init-seeds", seeds, {of.init_seed for of in every}),
        ):
            if not set(wanted) <= known:
                raise ValueError(f"Expected --{name} among {sorted(known)}, which are trained. Received: {wanted}.")
        return [
            of
            for of in every
            if (not seeds or of.init_seed in seeds)
            and (of.kind in ("dense", "start") or not kinds or of.kind in kinds)
            and (of.kind in ("dense", "start") or not rounds or of.round in rounds)
        ]

    def params(self, of: Subnetwork, data_order: int) -> Params:
        """What became of a ticket."""
        return kt.get_params(saved.load(self._file(of, data_order)))

    def ticket(self, of: Subnetwork) -> kt.Ticket:
        return kt.Ticket.load(self.run.ticket(of.init_seed, of.kind, of.round))

    def model(self, of: Subnetwork) -> keras.Model:
        """The masked network at its rewind point, compiled for evaluation."""
        model = self.ticket(of).model()
        model.compile(loss=keras.losses.CategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
        return model

    def images(self, split: str, images_per_class: int | None = None) -> Any:
        """Images of the split "train" or "test" as the run takes them, or fewer of each class."""
        images = self._data[split]
        if images_per_class is None:
            return images
        chosen = choose_per_class(images.labels, images.class_names, images_per_class, seed=0)
        return dataclasses.replace(images, images=images.images[chosen], labels=images.labels[chosen])

    @cached_property
    def _data(self) -> dict[str, Any]:
        train, test, _, found = load_data(self.config)
        other = [name for name, of_run in self.digests.items() if found[name] != of_run]
        if other:
            raise ValueError(
                f"Expected the data that the run in '{self.run.folder}' was made with. Received: other images or "
                f"labels of '{self.config.dataset}' ({', '.join(other)} differ). Put the data back or make a new run."
            )
        return {"train": train, "test": test}

    @cached_property
    def digests(self) -> dict[str, str]:
        """Of the real data, as the run has noted them; none in runs of earlier versions."""
        stored = read_json(self.run.folder / "config.json")
        return {name: stored[name] for name in DIGESTS if stored.get(name)}

    def _file(self, of: Subnetwork, data_order: int) -> Path:
        return self.run.order(of.init_seed, of.kind, of.round, data_order) / "trained.keras"
