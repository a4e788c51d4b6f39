"""Positions of weights along axes of inputs and outputs."""

import nets
import numpy as np
import pytest

import kerasticket as kt
from kerasticket.pruning import axes
from kerasticket.pruning.structures import Filters

KINDS = [kind for kind in nets.MASKABLE if not kind.endswith("Attention")]


@pytest.mark.parametrize("kind", KINDS)
def test_axes_are_known_of_every_masked_layer_and_counted_from_the_front(kind):
    model = kt.masked(nets.one_layer(kind), where="*")
    mask = kt.get_mask(model)
    for path, (inputs, outputs) in axes.kernel_axes(model, mask).items():
        assert set(inputs) | set(outputs) <= set(range(mask[path].ndim))
        window = axes.others(mask[path].shape, axes.Axes(inputs, outputs))
        assert {*inputs, *outputs, *window} == set(range(mask[path].ndim))


def test_axes_of_einsum_layers_come_from_their_equation():
    model = kt.masked(nets.attention_like())
    found = axes.kernel_axes(model, kt.get_mask(model))
    assert found["split/kernel"] == ((0,), (1, 2))
    assert found["join/kernel"] == ((0, 1), (2,))
    units = Filters().units(model, kt.get_mask(model))
    assert {path: array.size for path, array in units.items()} == {"split/kernel": 8, "join/kernel": 6}


def test_weights_are_numbered_along_axes():
    shape = (2, 3, 4)
    along = np.broadcast_to(axes.index_along(shape, (0, 2)), shape)
    assert along[1, :, 2].tolist() == [6, 6, 6]
    assert (axes.count(along), axes.length(shape, (0, 2))) == (8, 8)
    both = axes.numbered(axes.index_along(shape, (0,)), axes.index_along(shape, (1,)))
    assert np.unique(np.broadcast_to(both, shape)).size == 6
