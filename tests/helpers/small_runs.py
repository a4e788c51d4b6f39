"""Runs of distilled pruning that take seconds, for what looks at trained networks."""

import dataclasses
from pathlib import Path

import numpy as np

import kerasticket as kt
from kerasticket import masks
from kerasticket.cli import prune
from kerasticket.experiments.config import Config
from kerasticket.experiments.search import random_ticket
from kerasticket.files.json_files import write_json

ROOT = Path(__file__).parents[2]
SMALL = Config(
    distilled=str(ROOT / "assets/distilled/digits_ipc1.h5"),
    images_per_class=4,
    model="lenet_300_100",
    width=None,
    init_seeds=(0,),
    data_orders=(1, 2),
    rounds=1,
    kinds=("imp",),
    epochs=1,
    augmentation="none",
)


def trained_in_two_orders(folder: Path) -> Path:
    """Dense and IMP networks of one pruning round, trained in two data orders; statistics play no part."""
    prune.main(dataclasses.replace(SMALL, out=str(folder)))
    return folder


def pruned(start: kt.Ticket, index: int, noise: float, seed: int) -> kt.Ticket:
    """A ticket that keeps .8^index of the weights, the largest after noise has been added."""
    rng = np.random.default_rng(seed)
    scores = {path: abs(start.params[path] + noise * rng.normal(size=mask.shape)) for path, mask in start.mask.items()}
    mask = masks.keep_top(scores, start.mask, round(start.kept * 0.8**index))
    return start.pruned(mask, {"name": "test"}, round=start.round + index)


def run_of_tickets(folder: Path) -> kt.Run:
    """Two seeds; IMP and synthetic tickets of rounds 1 and 2, a random one and trained networks of round 2."""
    run = kt.Run.open(folder, {"rounds": 2})
    for seed in (0, 1):
        dense = kt.Ticket.dense(kt.masked(kt.models.MODELS["convnet"]((8, 8, 1), 10, width=4, seed=seed)))
        dense.save(run.ticket(seed, "dense", 0))
        dense.save(run.ticket(seed, "imp", 0))
        for index in (1, 2):
            pruned(dense, index, 0.02, 1).save(run.ticket(seed, "imp", index))
            pruned(dense, index, 0.05, 2).save(run.ticket(seed, "synthetic", index))
        random_ticket(dense, pruned(dense, 2, 0.1, 3), seed).save(run.ticket(seed, "random", 2))
    for kind, orders in (("imp", (1, 2)), ("synthetic", (1,))):
        for order in orders:
            row = {"init_seed": 0, "round": 2, "kind": kind, "data_order": order}
            ticket = kt.Ticket.load(run.ticket(0, kind, 2))
            ticket.save_trained(run.order(0, kind, 2, order) / "trained.keras", ticket.params)
            write_json(run.result(0, kind, 2, order), row)
    run.close()
    return run
