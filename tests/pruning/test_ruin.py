"""Structured pruning does not ruin single layers: groups of unlike size compare, each keeps a share, and it is said."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers

import kerasticket as kt
from kerasticket import masks
from kerasticket.pruning.allocation import Allocation
from kerasticket.pruning.coupled import CoupledChannels
from kerasticket.pruning.ruin import with_minimum

COUPLED = "coupled_channels"


def inverted_bottleneck() -> keras.Model:
    """As MobileNetV2: depthwise blocks, a residual, and a last convolution that is as wide as all before."""
    x = inputs = keras.Input((16, 16, 3), name="images")
    x = layers.Conv2D(8, 3, strides=2, padding="same", name="stem")(x)
    for index in range(2):
        before = x
        for name, width in (("expand", 24), ("project", 8)):
            x = layers.Conv2D(width, 1, use_bias=False, name=f"{name}_{index}")(x)
            x = layers.BatchNormalization(name=f"{name}_norm_{index}")(x)
            if name == "expand":
                x = layers.DepthwiseConv2D(3, padding="same", name=f"depthwise_{index}")(layers.ReLU(6.0)(x))
        x = x + before
    x = layers.GlobalAveragePooling2D(name="pool")(layers.Conv2D(160, 1, activation="relu", name="last")(x))
    return keras.Model(inputs, layers.Dense(10, name="out")(x), name="inverted")


def plain() -> keras.Model:
    x = inputs = keras.Input((16, 16, 3), name="images")
    for index, width in enumerate((8, 16, 32)):
        x = layers.Conv2D(width, 3, padding="same", activation="relu", name=f"conv_{index}")(x)
        x = layers.MaxPooling2D(2, name=f"pool_{index}")(x)
    x = layers.Dense(128, activation="relu", name="wide")(layers.Flatten(name="flatten")(x))
    return keras.Model(inputs, layers.Dense(10, name="out")(x), name="plain")


def with_layer_norm() -> keras.Model:
    """As ConvNeXt: its stream goes through norms over all channels, its hidden channels do not."""
    x = inputs = keras.Input((16, 16, 3), name="images")
    x = layers.Conv2D(12, 4, strides=4, name="stem")(x)
    for index in range(2):
        y = layers.LayerNormalization(name=f"norm_{index}")(x)
        y = layers.Dense(48, activation="gelu", name=f"expand_{index}")(y)
        x = x + layers.Dense(12, name=f"project_{index}")(y)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, layers.Dense(10, name="out")(x), name="normed")


NETWORKS = {"inverted": inverted_bottleneck, "plain": plain, "normed": with_layer_norm}


def magnitudes(model) -> masks.Scores:
    return {path: np.abs(kt.get_params(model)[path]) for path in kt.get_mask(model)}


def shares(model, structure=COUPLED) -> dict[str, float]:
    from kerasticket.pruning import structures

    return {name: kept.mean() for name, kept in structures.get(structure).units(model, kt.get_mask(model)).items()}


@pytest.mark.parametrize("target", [0.3, 0.5, 0.8])
@pytest.mark.parametrize("name", NETWORKS)
def test_multiplications_fall_by_half_of_the_asked_share_at_least(name, target):
    keras.utils.set_random_seed(3)
    model = kt.masked(NETWORKS[name]())
    kt.set_mask(model, Allocation("global", COUPLED).to_sparsity(model, magnitudes(model), kt.get_mask(model), target))
    compacted = kt.compact(model)
    before, after = compacted.macs
    assert 1 - after / before >= target / 2
    assert min(shares(model).values()) >= 0.1
    x = np.random.default_rng(0).normal(size=(4, 16, 16, 3)).astype("float32")
    small, large = (keras.ops.convert_to_numpy(one(x, training=False)) for one in (compacted.model, model))
    np.testing.assert_allclose(small, large, atol=1e-5)


def test_without_normalization_and_minimum_the_last_convolution_is_ruined_and_named():
    keras.utils.set_random_seed(3)
    model = kt.masked(inverted_bottleneck())
    structure = CoupledChannels(minimum=0, normalized=False)
    scores = magnitudes(model)
    scores["last/kernel"] = scores["last/kernel"] / 10
    scores["out/kernel"] = scores["out/kernel"] / 10
    with pytest.warns(UserWarning, match=r"over 95% of these layers, and 73.1% of all: \{'last': '2 of 160 left'\}"):
        Allocation("global", structure).to_sparsity(model, scores, kt.get_mask(model), 0.73)
    again = Allocation("global", COUPLED).to_sparsity(model, scores, kt.get_mask(model), 0.73)
    assert 16 <= CoupledChannels().units(model, again)["last"].sum() < 80


@pytest.mark.parametrize("structure", ["filters", "channels"])
def test_a_layer_that_loses_nearly_all_its_filters_is_named(structure):
    model = kt.masked(plain())
    scores = magnitudes(model)
    scores["wide/kernel"] = scores["wide/kernel"] * 1e-3
    with pytest.warns(UserWarning, match="over 95% of these layers.*'wide/kernel'.*scope='layer'"):
        Allocation("global", structure, "warn").to_sparsity(model, scores, kt.get_mask(model), 0.65)


def test_what_is_asked_for_is_not_warned_of(recwarn):
    model = kt.masked(plain())
    whole, scores = kt.get_mask(model), magnitudes(model)
    Allocation("layer", "filters").to_sparsity(model, scores, whole, {"wide": 0.97})
    Allocation("layer", COUPLED).to_sparsity(model, scores, whole, {"wide": 0.97})
    Allocation("global", COUPLED).to_sparsity(model, scores, whole, 0.96)
    Allocation("global", "filters").to_sparsity(model, scores, whole, 0.96)
    assert not [w for w in recwarn if "95%" in str(w.message)]


def test_a_dict_of_targets_goes_below_the_minimum():
    model = kt.masked(plain())
    mask = Allocation("layer", COUPLED).to_sparsity(model, magnitudes(model), kt.get_mask(model), {"wide": 0.95})
    assert CoupledChannels().units(model, mask)["wide"].sum() == 128 - round(0.95 * 128)


@pytest.mark.parametrize("minimum", [0, 0.1, 0.4])
def test_a_group_of_low_scores_keeps_its_minimum_and_counts_stay_exact(minimum):
    model = kt.masked(plain())
    structure = CoupledChannels(minimum=minimum, normalized=False)
    scores = magnitudes(model)
    scores |= {path: scores[path] * 1e-6 for path in ("wide/kernel", "out/kernel")}
    mask = Allocation("global", structure).to_sparsity(model, scores, kt.get_mask(model), 0.5)
    units = structure.units(model, mask)
    assert masks.kept(units) == masks.total(units) // 2 == 92
    assert units["wide"].sum() == max(92 - 56, round(minimum * 128 + 0.49))


@given(st.lists(st.integers(1, 40), min_size=1, max_size=5), st.floats(0, 0.99), st.floats(0, 1), st.integers(0, 99))
@settings(max_examples=50, deadline=None)
def test_a_minimum_keeps_the_total_and_every_layers_share(sizes, minimum, share, seed):
    rng = np.random.default_rng(seed)
    scores = {str(i): rng.random(size) * 10 ** rng.uniform(-3, 3) for i, size in enumerate(sizes)}
    whole = {name: np.ones(array.size, bool) for name, array in scores.items()}
    after = masks.keep_top(scores, whole, round(share * sum(sizes)))
    kept = with_minimum(scores, whole, after, minimum)
    assert masks.kept(kept) == masks.kept(after)
    least = min(minimum, masks.kept(after) / sum(sizes))
    for name, array in kept.items():
        assert array.sum() >= int(least * array.size)
        best = np.sort(scores[name])[::-1][: array.sum()]
        assert set(scores[name][array]) == set(best)  # of each layer the best stay


@pytest.mark.parametrize("wrong", [{"minimum": 1.0}, {"minimum": True}, {"unknown": "skip"}])
def test_options_out_of_range_are_refused(wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=rf"Expected {name}.*Received: {name}="):
        CoupledChannels(**wrong)
