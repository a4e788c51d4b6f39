"""Tickets without training: the start, random masks, and pruning at initialization to IMP's numbers of weights."""

import numpy as np
import pytest
from tiny_experiments import tiny

import kerasticket as kt
from kerasticket.experiments.events import ignore
from kerasticket.experiments.jobs.tickets import kept_after, prune_at_initialization, random_mask, start
from kerasticket.params import differing

pytestmark = pytest.mark.same_on_every_backend


@pytest.fixture
def experiment(tmp_path):
    made = tiny(tmp_path, rounds=2, images_per_class=10)
    start(made, ignore, seed=3)
    return made


def ticket(experiment, *of) -> kt.Ticket:
    return kt.Ticket.load(experiment.run.ticket(3, *of))


def test_the_start_is_the_network_of_the_seed(experiment):
    dense = ticket(experiment, "dense", 0)
    model = kt.models.MODELS["lenet_300_100"](experiment.train.input_shape, 10, seed=3)
    assert sorted(a.tobytes() for a in dense.params.values()) == sorted(a.tobytes() for a in model.get_weights())
    assert (dense.sparsity, dense.round) == (0, 0)


def test_a_random_mask_keeps_as_many_weights_as_the_other_ticket_and_the_initial_values(experiment):
    dense = ticket(experiment, "dense", 0)
    mask = {path: np.arange(kept.size).reshape(kept.shape) % 3 > 0 for path, kept in dense.mask.items()}
    other = dense.pruned(mask, {"name": "imp"}, round=2)
    other.save(experiment.run.ticket(3, "imp", 2))
    random_mask(experiment, ignore, seed=3, like="imp", index=2)
    made = ticket(experiment, "random", 2)
    assert (made.kept, made.round) == (other.kept, 2)
    assert differing(made.mask, other.mask)
    for path, mask in made.mask.items():
        np.testing.assert_array_equal(made.params[path], np.where(mask, dense.params[path], 0))


@pytest.mark.parametrize("criterion", ["magnitude", "random"])
def test_criteria_keep_as_many_weights_as_imp_does_after_those_rounds(criterion, experiment):
    dense = ticket(experiment, "dense", 0)
    prune_at_initialization(experiment, ignore, seed=3, criterion=criterion, index=2)
    made = ticket(experiment, criterion, 2)
    first = dense.total - round(0.2 * dense.total)
    assert made.kept == first - round(0.2 * first)
    if criterion == "magnitude":
        sizes = np.sort(np.concatenate([abs(dense.params[path]).ravel() for path in dense.mask]))
        smallest = min(abs(dense.params[path][mask]).min() for path, mask in made.mask.items())
        assert smallest == sizes[-made.kept]


def test_criteria_refuse_whitened_images(experiment):
    train = kt.data.ZCA.fit(experiment.train).whiten(experiment.train)
    experiment.images = experiment.images._replace(train=train)
    with pytest.raises(ValueError, match="real images as they are. Received: whitened ones"):
        prune_at_initialization(experiment, ignore, seed=3, criterion="snip", index=1)
    assert not experiment.run.ticket(3, "snip", 1).exists()


@pytest.mark.parametrize(
    ("rounds", "total", "fraction", "expected"),
    [(0, 100, 0.2, 100), (1, 100, 0.2, 80), (2, 100, 0.2, 64), (3, 100, 0.2, 51), (1, 318_848, 0.2, 255_078)],
)
def test_weights_left_by_hand(rounds, total, fraction, expected):
    """100 - 20 - 16 - 13; and the paper's ConvNet-3."""
    assert kept_after(rounds, total, fraction) == expected
