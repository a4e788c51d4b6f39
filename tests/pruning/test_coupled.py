"""Coupled channels: what goes together in chains and residual blocks, exact counts, targets by group, compaction."""

import keras
import numpy as np
import pytest

import kerasticket as kt
from kerasticket import masks
from kerasticket.pruning.allocation import Allocation
from kerasticket.pruning.coupled import CoupledChannels

COUPLED = "coupled_channels"


def chain() -> keras.Model:
    """Two convolutions and a classifier behind Flatten: groups "a" (4 channels) and "b" (6)."""
    inputs = keras.Input((4, 4, 3), name="images")
    x = keras.layers.Conv2D(4, 3, padding="same", name="a")(inputs)
    x = keras.layers.ReLU(name="relu")(x)
    x = keras.layers.Flatten(name="flatten")(keras.layers.Conv2D(6, 3, strides=2, name="b")(x))
    return kt.masked(keras.Model(inputs, keras.layers.Dense(2, name="out")(x), name="chain"))


def residual() -> keras.Model:
    """A residual block: its stream of 4 channels is one group, the hidden 5 another."""
    inputs = keras.Input((4, 4, 3), name="images")
    stream = keras.layers.Conv2D(4, 3, padding="same", name="stem")(inputs)
    hidden = keras.layers.ReLU(name="relu")(keras.layers.Conv2D(5, 3, padding="same", name="one")(stream))
    back = keras.layers.Conv2D(4, 3, padding="same", name="two")(hidden)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(keras.layers.Add(name="add")([stream, back]))
    return kt.masked(keras.Model(inputs, keras.layers.Dense(2, name="out")(x), name="residual"))


def drawn(model, seed: int = 0) -> masks.Scores:
    rng = np.random.default_rng(seed)
    return {path: rng.random(mask.shape) for path, mask in kt.get_mask(model).items()}


def drop(model, dropped: dict[str, list[int]]) -> masks.Mask:
    def select(scores, units):
        return {name: kept & ~np.isin(np.arange(kept.size), dropped.get(name, [])) for name, kept in units.items()}

    return CoupledChannels().prune(model, drawn(model), kt.get_mask(model), select)


def test_a_channel_goes_with_its_filters_and_all_that_reads_it():
    mask = drop(chain(), {"a": [1], "b": [0, 5]})
    by_hand = {path: np.ones(kept.shape, bool) for path, kept in mask.items()}
    by_hand["a/kernel"][..., 1] = by_hand["b/kernel"][:, :, 1] = False
    by_hand["b/kernel"][..., [0, 5]] = False
    by_hand["out/kernel"].reshape(-1, 6, 2)[:, [0, 5]] = False
    for path, kept in mask.items():
        np.testing.assert_array_equal(kept, by_hand[path], err_msg=path)


def test_a_residual_stream_is_one_group():
    mask = drop(residual(), {"stem": [2]})
    assert not mask["stem/kernel"][..., 2].any()
    assert not mask["one/kernel"][:, :, 2].any()
    assert not mask["two/kernel"][..., 2].any()
    assert not mask["out/kernel"][2].any()
    assert masks.total(mask) - masks.kept(mask) == 9 * 3 + 9 * 5 + 9 * 5 + 2


def test_the_score_of_a_channel_is_the_mean_over_its_remaining_weights():
    model, seen = residual(), {}
    scores, mask = drawn(model), kt.get_mask(model)
    mask["stem/kernel"][0] = False

    def look(means, units):
        seen.update(means)
        return units

    CoupledChannels(normalized=False).prune(model, scores, mask, look)
    lying = [scores["stem/kernel"][1:, ..., 3], scores["one/kernel"][:, :, 3], scores["two/kernel"][..., 3]]
    lying.append(scores["out/kernel"][3])
    assert seen["stem"][3] == pytest.approx(np.concatenate([part.ravel() for part in lying]).mean())
    plain = dict(seen)
    CoupledChannels().prune(model, scores, mask, look)
    for name, means in plain.items():
        np.testing.assert_allclose(seen[name], means / means.mean(), err_msg=name)


def test_signed_scores_keep_their_signs_and_order():
    model, seen = residual(), {}
    scores = {path: array - 0.5 for path, array in drawn(model).items()}

    def look(means, units):
        seen.update(means)
        return units

    CoupledChannels(normalized=False).prune(model, scores, kt.get_mask(model), look)
    plain = dict(seen)
    CoupledChannels().prune(model, scores, kt.get_mask(model), look)
    for name, means in plain.items():
        np.testing.assert_allclose(seen[name], means / np.abs(means).mean(), err_msg=name)


@pytest.mark.parametrize("make", [chain, residual])
@pytest.mark.parametrize("scope", ["global", "layer"])
def test_targets_count_channels_exactly(make, scope):
    model = make()
    mask = Allocation(scope, COUPLED).to_sparsity(model, drawn(model), kt.get_mask(model), 0.5)
    left = {name: int(kept.sum()) for name, kept in CoupledChannels().units(model, mask).items()}
    whole = {name: kept.size for name, kept in CoupledChannels().units(model, kt.get_mask(model)).items()}
    if scope == "layer":
        assert left == {name: size - masks.number_to_prune(size, 0.5) for name, size in whole.items()}
    assert abs(sum(left.values()) - sum(whole.values()) / 2) < 1
    assert masks.is_nested(mask, kt.get_mask(model))


def test_a_dict_names_groups_and_goes_on_from_an_earlier_mask():
    model = chain()
    once = Allocation("layer", COUPLED).to_sparsity(model, drawn(model), kt.get_mask(model), {"b": 0.5})
    assert [int(kept.sum()) for kept in CoupledChannels().units(model, once).values()] == [4, 3]
    twice = Allocation("layer", COUPLED).to_sparsity(model, drawn(model), once, 0.75)
    assert [int(kept.sum()) for kept in CoupledChannels().units(model, twice).values()] == [1, 2]
    assert masks.is_nested(twice, once)
    with pytest.raises(ValueError, match=r"one of \['a', 'b'\].*matches none"):
        Allocation("layer", COUPLED).to_sparsity(model, drawn(model), once, {"out": 0.5})
    with pytest.raises(ValueError, match="pruned weights do not come back"):
        Allocation("layer", COUPLED).to_sparsity(model, drawn(model), twice, 0.25)


def test_a_group_that_would_be_emptied_keeps_a_channel_or_is_refused():
    model, scores = chain(), drawn(chain())
    scores["a/kernel"] *= 0
    scores["b/kernel"] *= 1e-3
    kept = Allocation("global", COUPLED).to_sparsity(model, scores, kt.get_mask(model), 0.8)
    assert all(flags.any() for flags in CoupledChannels().units(model, kept).values())
    with pytest.raises(ValueError, match="'a'"):
        Allocation("global", CoupledChannels(minimum=0), "refuse").to_sparsity(model, scores, kt.get_mask(model), 0.8)


@pytest.mark.parametrize("make", [chain, residual])
def test_compact_takes_what_was_pruned(make):
    model = make()
    kt.callbacks.PruneAtInitialization("magnitude", 0.5, scope="layer", structure=COUPLED).find(model).apply(model)
    compacted = kt.compact(model)
    x = np.random.default_rng(0).normal(size=(5, 4, 4, 3)).astype("float32")
    np.testing.assert_allclose(compacted.model.predict(x, verbose=0), model.predict(x, verbose=0), atol=1e-5)
    *hidden, _ = compacted.layers
    assert all(line.units[1] == (line.units[0] + 1) // 2 for line in hidden)


def test_it_goes_through_gradual_pruning_and_rewinding():
    model = chain()
    x, y = np.random.default_rng(0).normal(size=(32, 4, 4, 3)).astype("float32"), np.arange(32) % 2
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    schedule = kt.pruning.Schedule(0.5, begin=0, end=2)
    model.fit(x, y, epochs=3, verbose=0, callbacks=[kt.callbacks.GradualPruning(schedule, structure=COUPLED)])
    assert sum(flags.sum() for flags in CoupledChannels().units(model, kt.get_mask(model)).values()) == 5
    rounds = kt.callbacks.IterativeMagnitudePruning(rounds=2, fraction=0.2, epochs_per_round=1, structure=COUPLED)
    fresh = chain()
    fresh.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    fresh.fit(x, y, epochs=rounds.total_epochs, verbose=0, callbacks=[rounds])
    assert [sum(f.sum() for f in CoupledChannels().units(fresh, t.mask).values()) for t in rounds.tickets] == [10, 8, 6]


def test_subclassed_models_are_refused():
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(3, name="dense")

        def call(self, x):
            return self.dense(x)

    own = Own()
    own(np.zeros((1, 2), "float32"))
    model = kt.masked(own)
    with pytest.raises(ValueError, match="functional"):
        Allocation("global", COUPLED).to_sparsity(model, drawn(model), kt.get_mask(model), 0.5)
