"""Which channels belong together, by hand: flattened images, residual streams, and what has no rule."""

import keras
import pytest
from architectures import small
from keras import layers

from kerasticket.models.graph.channels import channel_groups, channel_walk

pytestmark = pytest.mark.same_on_every_backend


def test_channels_around_what_has_no_rule_keep_their_place():
    inputs = keras.Input((6, 2), name="inputs")
    x = layers.Dense(4, name="first")(inputs)
    x = layers.Permute((2, 1), name="turned")(x)
    x = layers.Dense(5, name="second")(x)
    model = keras.Model(inputs, layers.Dense(3, name="out")(x), name="turns")
    with pytest.raises(ValueError, match="'turned' of type Permute"):
        channel_groups(model)
    assert {name: group.size for name, group in channel_groups(model, keep_unknown=True).items()} == {"second": 5}
    assert [layer.name for layer in channel_walk(model, keep_unknown=True).unknown.values()] == ["turned"]


def test_channels_of_inputs_and_outputs_and_what_is_added_to_them_are_in_no_group():
    inputs = keras.Input((4,), name="inputs")
    x = layers.Add(name="add")([inputs, layers.Dense(4, name="branch")(layers.Dense(3, name="hidden")(inputs))])
    model = keras.Model(inputs, [layers.Dense(2, name="out")(x), x], name="stream")
    assert {name: group.size for name, group in channel_groups(model).items()} == {"hidden": 3}


def test_sides_of_nested_models_are_kept_if_asked():
    inner = keras.Sequential(
        [keras.Input((4,)), layers.Dense(5, name="one"), layers.Dense(3, name="two")], name="inner"
    )
    inputs = keras.Input((6,), name="inputs")
    outer = keras.Model(inputs, layers.Dense(2, name="out")(inner(layers.Dense(4, name="before")(inputs))))
    assert set(channel_groups(outer)) == {"before", "inner/one", "inner/two"}
    walk = channel_walk(outer, keep_sides=True)
    assert any((tie == 0).any() and {*tie.ravel()} >= {*walk.axes["before/kernel", 1][0]} for tie in walk.ties)


def test_groups_of_the_convnet_by_hand():
    """conv_2 has 4 channels on 2x2 positions behind it... flattened row by row, channel fastest."""
    model = small("convnet", depth=2)
    group = channel_groups(model)["conv_2"]
    found = {(carrier.path, carrier.axis): (carrier.role, carrier.positions.tolist()) for carrier in group.carriers}
    each = [[0, 1, 2, 3]]
    assert found == {
        ("conv_2/kernel", 3): ("out", each),
        ("conv_2/bias", 0): ("out", each),
        ("norm_2/gamma", 0): ("scale", each),
        ("norm_2/beta", 0): ("scale", each),
        ("logits/kernel", 0): ("in", [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11], [12, 13, 14, 15]]),
    }


def test_groups_of_a_residual_stage_by_hand():
    """The shortcut, the branch that is added to it, and all that read their sum."""
    group = channel_groups(small("resnet10"))["stage2_block1_shortcut_conv"]
    norms = ("gamma", "beta", "moving_mean", "moving_variance")
    expected = {("stage2_block1_shortcut_conv/kernel", 3, "out"), ("stage2_block1_conv2/kernel", 3, "out")}
    expected |= {("stage3_block1_conv1/kernel", 2, "in"), ("stage3_block1_shortcut_conv/kernel", 2, "in")}
    for norm in ("stage2_block1_shortcut_norm", "stage2_block1_norm2"):
        expected |= {(f"{norm}/{name}", 0, "statistic" if "moving" in name else "scale") for name in norms}
    assert {(carrier.path, carrier.axis, carrier.role) for carrier in group.carriers} == expected
