"""How often a forward pass uses each weight, counted by hand for every layer that can have masks."""

import keras
import nets
import pytest
from keras import layers

import kerasticket as kt
from kerasticket.models.graph.costs import uses

# kind of layer -> how often one example uses each of its weights
USES = {
    "Dense": {"kernel": 1},
    "EinsumDense": {"kernel": 3},
    "Conv1D": {"kernel": 6},
    "Conv2D": {"kernel": 16},
    "Conv3D": {"kernel": 27},
    "Conv1DTranspose": {"kernel": 5},
    "Conv2DTranspose": {"kernel": 16},
    "Conv3DTranspose": {"kernel": 27},
    "DepthwiseConv1D": {"kernel": 6},
    "DepthwiseConv2D": {"kernel": 16},
    "SeparableConv1D": {"depthwise_kernel": 6, "pointwise_kernel": 6},
    "SeparableConv2D": {"depthwise_kernel": 16, "pointwise_kernel": 16},
    "Embedding": {"embeddings": 0},
    **{kind: {"kernel": 4, "recurrent_kernel": 4} for kind in ("SimpleRNN", "GRU", "LSTM", "StackedRNNCells")},
    **{f"{kind}Cell": {"kernel": 4, "recurrent_kernel": 4} for kind in ("SimpleRNN", "GRU", "LSTM")},
    **{kind: {"kernel": 4} for kind in ("MultiHeadAttention", "GroupedQueryAttention")},
    "TimeDistributed": {"kernel": 3},
    "Bidirectional": {"kernel": 4, "recurrent_kernel": 4},
}


def test_the_table_of_uses_is_whole():
    assert USES.keys() == (nets.MASKABLE | nets.WRAPPED).keys()


@pytest.mark.parametrize("kind", USES)
def test_how_often_a_layer_uses_its_weights(kind):
    found = uses(nets.one_layer(kind))
    assert found.pop("classifier/kernel") == 1
    for path, times in found.items():
        assert times == USES[kind][path.rpartition("/")[2]], path
    held = kt.get_mask(kt.masked(nets.one_layer(kind), where="*kernel*" if kind != "Embedding" else "*"))
    assert held.keys() - {"classifier/kernel"} == found.keys()


def test_a_kernel_that_is_used_twice_counts_twice():
    assert uses(nets.nested())["shared/kernel"] == 2


def test_a_cell_that_is_called_by_itself_is_used_once():
    inputs, state = keras.Input((3,)), keras.Input((5,))
    outputs, _ = layers.GRUCell(5, name="cell")(inputs, [state])
    assert uses(keras.Model([inputs, state], outputs)) == {"cell/kernel": 1, "cell/recurrent_kernel": 1}


def test_uses_behind_sides_of_unknown_length_are_not_known():
    inputs = keras.Input((None, 3))
    x = layers.GRU(2, name="steps")(layers.Conv1D(3, 2, name="conv")(inputs))
    assert uses(keras.Model(inputs, layers.Dense(2, name="out")(x))) == {"out/kernel": 1}
