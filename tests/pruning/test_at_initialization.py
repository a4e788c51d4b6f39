"""Pruning at initialization: exact targets in one step or many, tickets that train, sanity checks, bad input."""

import keras
import nets
import numpy as np
import pytest

import kerasticket as kt
from kerasticket import masks
from kerasticket.models.paths import raw_params
from kerasticket.params import differing
from kerasticket.pruning import NOfM
from kerasticket.pruning.at_initialization import CONTROLS
from kerasticket.pruning.callbacks import PruneAtInitialization
from kerasticket.pruning.criteria import CRITERIA
from kerasticket.tickets import optimizer_state

METHODS = ["magnitude", "random", "snip", "grasp", "synflow", "wanda", "lamp"]


def compiled(build=nets.small_convnet) -> keras.Model:
    return nets.compile_for_test(kt.masked(build()), keras.optimizers.SGD(0.1, momentum=0.9))


def counts(mask: masks.Mask) -> dict[str, int]:
    return {path: int(array.sum()) for path, array in mask.items()}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("rounds", [1, 4])
def test_every_method_reaches_the_target_exactly_and_repeats(method, rounds):
    model = compiled()
    before = raw_params(model)
    prune = PruneAtInitialization(method, 0.8, rounds=rounds, data=nets.batch(model), seed=2)
    ticket, again = prune.find(model), prune.find(model)
    assert ticket.kept == 128 - round(0.8 * 128)
    assert not differing(ticket.mask, again.mask)
    assert not differing(raw_params(model), before)
    assert ticket.round == 1
    assert (ticket.stages[0]["criterion"], ticket.stages[0]["rounds"]) == (method, rounds)


def test_the_training_is_that_of_the_ticket():
    model = compiled()
    x, y = nets.batch(model)
    before = kt.get_params(model)
    prune = PruneAtInitialization("snip", 0.8, data=(x, y))
    model.fit(x, y, epochs=1, callbacks=[prune], shuffle=False, verbose=0)
    trained = kt.get_params(model)
    assert not differing(prune.dense.params, before)
    assert not differing(prune.ticket.params, masks.zeroed(before, prune.ticket.mask))
    assert all(not raw_params(model)[path][~mask].any() for path, mask in prune.ticket.mask.items())
    prune.ticket.apply(model)
    assert optimizer_state.get_state(model)["iteration"] == 0
    model.fit(x, y, epochs=1, shuffle=False, verbose=0)
    assert not differing(trained, kt.get_params(model))


def test_the_densities_of_many_rounds_fall_exponentially():
    kept = []

    def watched(model, params, mask, data, rng):
        assert all(not params[path][~array].any() for path, array in mask.items())
        kept.append(masks.kept(mask))
        return CRITERIA["magnitude"](model, params, mask, data, rng)

    PruneAtInitialization(watched, 1 - 0.5**4, rounds=4).find(compiled())
    assert kept == [128, 64, 32, 16]


def test_patterns_have_densities_of_their_own():
    ticket = PruneAtInitialization("magnitude", {"conv": 0.75, "classifier": 0.5}, rounds=3).find(compiled())
    assert counts(ticket.mask) == {"conv/kernel": 27, "classifier/kernel": 10}


def test_synflow_takes_a_hundred_rounds_and_others_one():
    assert PruneAtInitialization("synflow", 0.5).rounds == 100
    assert PruneAtInitialization("grasp", 0.5).rounds == 1
    assert PruneAtInitialization("synflow", 0.5, rounds=2).rounds == 2


@pytest.mark.parametrize("control", CONTROLS)
def test_sanity_checks_keep_the_layers_shares(control):
    model = compiled()
    options = {"rounds": 3, "data": nets.batch(model), "seed": 1}
    plain = PruneAtInitialization("snip", 0.7, **options).find(model)
    checked = PruneAtInitialization("snip", 0.7, control=control, **options).find(model)
    assert counts(checked.mask) == counts(plain.mask)
    assert checked.round == plain.round
    same_mask, same_weights = not differing(checked.mask, plain.mask), control != "reinitialized"
    assert same_mask == (control == "reinitialized")
    dense = kt.Ticket.dense(model)
    assert same_weights == (not differing(checked.params, masks.zeroed(dense.params, checked.mask)))
    checked.apply(model)
    checked.verify(model)


def test_inverted_keeps_the_lowest_scores_of_each_layer():
    model = compiled()
    checked = PruneAtInitialization("magnitude", 0.75, control="inverted", scope="layer").find(model)
    for path, mask in checked.mask.items():
        weights = np.abs(kt.get_params(model)[path])
        assert mask.sum() == mask.size - round(0.75 * mask.size)
        assert weights[mask].max() <= weights[~mask].min()
    many = PruneAtInitialization("magnitude", 0.75, control="inverted", scope="layer", rounds=5).find(model)
    assert not differing(many.mask, checked.mask)  # the order of removal is that of the scores
    assert checked.stages[0]["control"] == "inverted"


def test_it_goes_on_from_a_mask():
    model = compiled()
    kt.set_mask(model, nets.half_mask(model))
    ticket = PruneAtInitialization("magnitude", 0.9, rounds=3).find(model)
    assert ticket.kept == 128 - round(0.9 * 128)
    assert masks.is_nested(ticket.mask, kt.get_mask(model))


def test_structures_are_kept():
    model = compiled(nets.mlp)
    prune = PruneAtInitialization("magnitude", 0.5, structure=NOfM(1, 2), control="reinitialized")
    assert (prune.find(model).mask["hidden/kernel"].reshape(3, 2, 8).sum(1) == 1).all()
    filters = PruneAtInitialization("snip", 0.5, structure="filters", scope="layer", rounds=2, data=nets.batch(model))
    assert filters.find(model).mask["hidden/kernel"].any(0).sum() == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sparsity": 1.0}, r"sparsity in \[0, 1\).*1\.0"),
        ({"sparsity": {"conv": 2}}, r"sparsity in \[0, 1\).*2"),
        ({"criterion": "graps"}, "Did you mean 'grasp'"),
        ({"rounds": 0}, "rounds, a whole number.*rounds=0"),
        ({"seed": None}, "seed that is a whole number.*None"),
        ({"control": "shuffle"}, "Did you mean 'shuffled'"),
        ({"control": "shuffled", "structure": "filters"}, "would break the structure.*Filters"),
        ({"control": "inverted", "structure": NOfM(2, 4)}, "would break the structure.*NOfM"),
    ],
)
def test_bad_arguments_are_refused_at_once(options, message):
    with pytest.raises(ValueError, match=message):
        PruneAtInitialization(**{"criterion": "snip", "sparsity": 0.5, **options})


def test_bad_models_and_data_are_refused_before_training():
    model = compiled(nets.mlp)
    x, y = nets.batch(model)
    before = kt.get_params(model)
    with pytest.raises(ValueError, match="'snip' needs examples"):
        model.fit(x, y, callbacks=[PruneAtInitialization("snip", 0.5)], verbose=0)
    with pytest.raises(ValueError, match="'hiden', which matches none.*Did you mean 'hidden'"):
        model.fit(x, y, callbacks=[PruneAtInitialization("magnitude", {"hiden": 0.5})], verbose=0)
    assert not differing(before, kt.get_params(model))
    plain = nets.compile_for_test(nets.mlp())
    with pytest.raises(ValueError, match="model with masked layers"):
        plain.fit(x, y, callbacks=[PruneAtInitialization("magnitude", 0.5)], verbose=0)
    kt.set_mask(model, nets.half_mask(model))
    with pytest.raises(ValueError, match="sparsity that the mask has.*target=0.1"):
        PruneAtInitialization("magnitude", 0.1).find(model)
