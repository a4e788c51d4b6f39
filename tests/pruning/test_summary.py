"""The summary: weights, units and multiply-accumulates counted by hand, and a table that fits a terminal."""

import keras
import nets
import numpy as np
import pytest
from keras import layers

import kerasticket as kt
from kerasticket.pruning.summary import LayerSummary, Summary


def test_summary_counts_by_hand():
    model = kt.masked(nets.small_convnet())
    kt.set_mask(model, {"conv/kernel": np.arange(108).reshape(3, 3, 3, 4) % 4 == 0})
    summary = kt.summary(model)
    assert (summary.prunable, summary.kept, summary.trainable) == (108 + 20, 27 + 20, 108 + 4 + 8 + 20 + 5)
    conv = summary.layers[0]
    assert (conv.layer, conv.kind, conv.shape, conv.kept) == ("conv", "MaskedConv2D", (3, 3, 3, 4), 27)
    assert "47 of 128 prunable weights kept: sparsity 63.28%" in str(summary)
    assert "The classifier 'classifier' is prunable" in str(summary)
    assert kt.summary(kt.masked(nets.small_convnet(), keep_dense="last")).classifier is None


def test_the_summary_has_a_line_for_each_masked_weight():
    model = keras.Sequential([keras.Input((5, 3)), layers.LSTM(4, name="memory"), layers.Dense(2, name="out")])
    summary = kt.summary(kt.masked(model))
    assert [line.shape for line in summary.layers] == [(3, 16), (4, 16), (4, 2)]
    assert [line.parameters for line in summary.layers] == [3 * 16 + 4 * 16 + 16, 0, 4 * 2 + 2]
    assert [line.layer for line in summary.layers][1:] == ["memory/lstm_cell/recurrent_kernel", "out"]


def test_the_summary_counts_frozen_kernels_and_no_seed_states():
    model = kt.masked(nets.small_convnet())
    assert [line.layer for line in kt.summary(model).layers] == ["conv", "norm", "classifier"]
    model.trainable = False
    assert kt.summary(model).prunable == kt.summary(model).trainable
    assert "sparsity 0.00%" in str(kt.summary(model))


def test_macs_and_dead_units_by_hand():
    inputs = keras.Input((8, 8, 3), name="images")
    x = layers.Conv2D(4, 3, strides=2, padding="same", name="conv")(inputs)
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, name="depthwise")(x)
    x = layers.Flatten(name="flatten")(layers.Conv2DTranspose(2, 2, strides=2, name="up")(x))
    model = kt.masked(keras.Model(inputs, layers.Dense(5, name="classifier")(x)), where="*/kernel")
    mask = kt.get_mask(model)
    mask["conv/kernel"][..., :3] = False
    mask["depthwise/kernel"][..., 1, :] = False
    mask["depthwise/kernel"][1:, :, 2, 0] = False
    mask["up/kernel"][:, :, 1] = False
    mask["classifier/kernel"][:10] = False
    kt.set_mask(model, mask)
    lines = {line.layer: (line.dead, line.macs, line.sparse_macs) for line in kt.summary(model).layers}
    assert lines == {
        "conv": ((3, 4), 16 * 108, 16 * 27),  # 4x4 outputs
        "depthwise": ((2, 8), 4 * 72, 4 * (72 - 18 - 6)),  # 2x2
        "up": ((1, 2), 4 * 64, 4 * 32),  # 2x2 inputs
        "classifier": ((0, 5), 160, 110),
    }
    total = kt.summary(model)
    assert total.macs == 16 * 108 + 4 * 72 + 4 * 64 + 160
    assert total.sparse_macs == 16 * 27 + 4 * 48 + 4 * 32 + 110


def test_weights_of_a_type_that_numpy_files_lack_have_a_summary():
    """Pure bfloat16: no sparse file of it is written, but its bytes and zeros count all the same."""
    policy = keras.DTypePolicy("bfloat16")
    stack = [keras.Input((6,)), layers.Dense(8, dtype=policy, name="hidden"), layers.Dense(5, dtype=policy, name="out")]
    model = kt.masked(keras.Sequential(stack))
    mask = nets.half_mask(model)
    kt.set_mask(model, mask)
    summary = kt.summary(model)
    assert summary.kept == sum(int(kept.sum()) for kept in mask.values())
    assert summary.dense_bytes == 2 * (6 * 8 + 8 + 8 * 5 + 5)


def test_what_is_not_known_is_said():
    subclassed = kt.summary(kt.masked(nets.subclassed()))
    sequence = keras.Sequential([keras.Input((None, 3)), layers.LSTM(4, name="memory"), layers.Dense(2, name="out")])
    of_any_length = kt.summary(kt.masked(sequence))
    for summary in (subclassed, of_any_length):
        assert summary.macs is summary.sparse_macs is summary.layers[0].macs is None
        assert "multiply-accumulates per example: unknown" in str(summary)
    assert of_any_length.layers[-1].macs == 8


def test_bytes_are_those_of_the_weights_and_of_the_sparse_file(tmp_path):
    model = kt.masked(nets.small_convnet())
    kt.set_mask(model, nets.half_mask(model))
    summary = kt.summary(model)
    assert summary.dense_bytes == sum(array.nbytes for array in kt.get_params(model).values())
    kt.save_sparse(tmp_path / "weights.npz", model)
    assert (tmp_path / "weights.npz").stat().st_size <= summary.sparse_bytes


RATES = ["50.00%", "511/512", "1.00G", "100.00M"]


def test_the_table_of_a_large_model_fits_120_columns():
    name = "encoder/stage4_block12/attention_output/projection"
    conv = LayerSummary(
        name, "MaskedDepthwiseConv2D", (3, 3, 2048, 512), 9437184, 4718592, 0.5, (511, 512), 10**9, 10**8
    )
    norm = LayerSummary("stage4_block2_norm2", "InstanceNormalization", None, 1024, None, None)
    lines = str(Summary((conv, norm), 2359296, 1179648, 25_600_000, name, 10**10, 10**9, 10**8, 10**7)).splitlines()
    assert max(map(len, lines)) <= 120
    assert lines[1].split() == [".../projection", "DepthwiseConv2D", "3x3x2048x512", "9.44M", "4.72M/9.44M", *RATES]
    assert lines[2].split()[:2] == ["stage4_block2_norm2", "InstanceNormalization"]


def test_a_model_without_masks_is_refused():
    with pytest.raises(ValueError, match="Expected a model with masked layers"):
        kt.summary(nets.mlp())
    with pytest.raises(ValueError, match="Expected a model with masked layers"):
        kt.summary(keras.Sequential([layers.Dense(5, name="dense")], name="later"))
