"""A search on disk: a killed one goes on after its last whole round, to the same tickets; each round has a record."""

import dataclasses

import keras
import nets
import numpy as np
import pytest
import tensorflow as tf

import kerasticket as kt
from kerasticket import masks
from kerasticket.experiments.run import Run
from kerasticket.experiments.search import Search, random_ticket
from kerasticket.files.json_files import read_json
from kerasticket.params import differing

pytestmark = pytest.mark.same_on_every_backend


@pytest.fixture(scope="module")
def start() -> kt.Ticket:
    return kt.Ticket.dense(kt.masked(nets.mlp()))


def iterate(search: Search, start: kt.Ticket, **options) -> list[kt.Ticket]:
    model = nets.compile_for_test(start.model(), keras.optimizers.SGD(0.1))
    data = tf.data.Dataset.from_tensor_slices(nets.batch(model)).batch(16)
    return search.iterate(model, start, data, 1, **options)


@pytest.fixture(scope="module")
def whole(start, tmp_path_factory):
    """A search of two rounds, the tickets that it made, and what its hook was given."""
    seen = []
    search = Search(Run.open(tmp_path_factory.mktemp("whole"), {}), "imp", init_seed=4, rounds=2)
    return search, iterate(search, start, on_round_end=lambda *given: seen.append(given)), seen


def test_a_killed_search_goes_on_to_the_tickets_of_an_unbroken_one(start, whole, tmp_path):
    def kill(record, trained):
        if record.index == 1:
            raise KeyboardInterrupt

    search = Search(Run.open(tmp_path, {}), "imp", init_seed=4, rounds=2)
    assert search.latest() is None
    with pytest.raises(KeyboardInterrupt):
        iterate(search, start, on_round_end=kill)
    assert search.latest().round == 1
    assert not search.path(2).exists()
    assert [ticket.round for ticket in iterate(search, start)] == [2]
    for index in range(3):
        ours, theirs = search.ticket(index), whole[0].ticket(index)
        assert not differing(ours.params, theirs.params)
        assert not differing(ours.mask, theirs.mask)
    assert iterate(search, start) == []


def test_each_round_leaves_a_ticket_and_each_that_trained_its_record(start, whole):
    search, made, seen = whole
    assert search.run.tickets() == [(4, "imp", index) for index in range(3)]
    assert [ticket.kept / start.total for ticket in made] == pytest.approx([0.8, 0.64], abs=0.01)
    for index, (record, trained) in enumerate(seen):
        assert read_json(search.run.record(4, "imp", index)) == dataclasses.asdict(record)
        assert record.kept == search.ticket(index).kept
        assert differing(trained, search.ticket(index).params)
    assert len(seen) == 2  # the last ticket is not trained any more


def test_random_tickets_share_the_count_alone_and_differ_by_seed_and_round():
    dense = kt.Ticket.dense(kt.masked(nets.mlp()))
    stage = {"name": "imp"}
    first = dense.pruned(nets.half_mask(dense.model(), 1), stage)
    second = dense.pruned({path: mask & (np.arange(mask.shape[1]) % 2 > 0) for path, mask in first.mask.items()}, stage)
    later = dataclasses.replace(second, stages=({**stage, "first_round": 1, "last_round": 2},))
    drawn = [random_ticket(dense, like, seed) for like, seed in ((first, 0), (first, 1), (later, 0), (first, 0))]
    assert [ticket.kept for ticket in drawn] == [first.kept, first.kept, later.kept, first.kept]
    assert not differing(drawn[0].mask, drawn[3].mask)
    assert differing(drawn[0].mask, drawn[1].mask)
    assert not masks.is_nested(drawn[2].mask, drawn[0].mask)
    assert [ticket.round for ticket in drawn] == [1, 1, 2, 1]
