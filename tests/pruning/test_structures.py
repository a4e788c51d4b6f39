"""Structures: which weights go together in every kind of kernel, by hand, and what does not divide."""

import keras
import nets
import numpy as np
import pytest

import kerasticket as kt
from kerasticket import masks
from kerasticket.layers import traits
from kerasticket.layers.traits import TRAITS
from kerasticket.pruning import axes, structures
from kerasticket.pruning.allocation import Allocation
from kerasticket.pruning.structures import STRUCTURES, Blocks, Channels, Filters, NOfM


def drawn(model, seed: int = 0) -> masks.Scores:
    rng = np.random.default_rng(seed)
    return {path: rng.random(mask.shape) for path, mask in kt.get_mask(model).items()}


def square(width: int = 8) -> keras.Model:
    """A 3x3 convolution and a Dense layer, all sides multiples of 4."""
    inputs = keras.Input((4, 4, width), name="images")
    x = keras.layers.GlobalAveragePooling2D(name="pool")(keras.layers.Conv2D(8, 3, name="conv")(inputs))
    return kt.masked(keras.Model(inputs, keras.layers.Dense(4, name="classifier")(x), name="square"))


# the axes of a kernel that run over inputs and outputs, from the shapes that Keras documents
AXES = {
    **dict.fromkeys(("Dense", "EinsumDense", "Conv1D", "Conv2D", "Conv3D", "Embedding"), (-2, -1)),
    **dict.fromkeys(("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"), (-1, -2)),
    **dict.fromkeys(("SimpleRNNCell", "GRUCell", "LSTMCell"), (-2, -1)),
    **dict.fromkeys(("SeparableConv1D", "SeparableConv2D"), (-2, -1)),
}


@pytest.mark.parametrize("kind", AXES)
def test_filters_and_channels_of_every_maskable_layer(kind):
    model = kt.masked(nets.one_layer(kind), where="*layer/*kernel*" if kind != "Embedding" else "layer")
    mask = {path: kept for path, kept in kt.get_mask(model).items() if "depthwise" not in path}
    scores, seen = {path: drawn(model)[path] for path in mask}, {}

    def all_but_the_first(means, units):
        seen.update(means)
        return {path: np.arange(kept.size) > 0 for path, kept in units.items()}

    for structure, axis in zip((Channels(), Filters()), AXES[kind], strict=True):
        for path, array in structure.prune(model, scores, mask, all_but_the_first).items():
            pruned = np.moveaxis(array, axis, 0)
            assert not pruned[0].any()
            assert pruned[1:].all()
            groups = np.moveaxis(scores[path], axis, 0).reshape(len(pruned), -1)
            np.testing.assert_allclose(seen[path], groups.mean(1))


@pytest.mark.parametrize("kind", ["DepthwiseConv1D", "DepthwiseConv2D", "SeparableConv1D", "SeparableConv2D"])
def test_every_channel_of_a_depthwise_kernel_has_filters_of_its_own(kind):
    model = kt.masked(nets.one_layer(kind), where=["layer/depthwise_kernel" if "Sep" in kind else "layer"])
    ((path, kept),) = kt.get_mask(model).items()
    filters = Filters().groups(path, kept.shape, axes.kernel_axes(model, {path: kept})[path])
    channels = Channels().groups(path, kept.shape, axes.kernel_axes(model, {path: kept})[path])
    sizes = [np.unique(groups).size for groups in (channels, filters)]
    assert sizes == [kept.shape[-2], kept.shape[-2] * kept.shape[-1]]
    for position in np.ndindex(kept.shape[:-2]):
        np.testing.assert_array_equal(channels[position], np.arange(kept.shape[-2])[:, None] + 0 * kept[position])


def test_layers_whose_axes_are_not_known_are_refused(monkeypatch):
    for module in (traits, axes):
        monkeypatch.setattr(module, "TRAITS", {keras.layers.Conv2D: TRAITS[keras.layers.Conv2D]})
    model = square()
    with pytest.raises(ValueError, match=r"weights of \['Conv2D'\].*'classifier/kernel' of type MaskedDense"):
        Allocation("global", "filters").to_sparsity(model, drawn(model), kt.get_mask(model), 0.5)


def test_a_group_is_ranked_by_the_mean_of_what_is_left_of_it():
    model = square()
    mask, scores = kt.get_mask(model), drawn(model)
    mask["classifier/kernel"][1:, 0] = False  # one weight is left of the first unit,
    scores["classifier/kernel"][0, 0] = 9  # a large one
    pruned = Allocation("layer", Filters()).by_fraction(model, scores, mask, 0.5)
    assert pruned["classifier/kernel"][0, 0]
    assert pruned["classifier/kernel"].any(0).sum() == 2
    assert pruned["conv/kernel"].reshape(-1, 8).any(0).sum() == 4


def test_targets_count_groups():
    model = square()
    pruned = Allocation("global", "filters").to_sparsity(model, drawn(model), kt.get_mask(model), 0.5)
    assert sum(int(array.reshape(-1, array.shape[-1]).any(0).sum()) for array in pruned.values()) == 6  # of 12


def test_blocks_tile_inputs_and_outputs_of_every_position():
    model = square()
    scores = drawn(model)
    pruned = Allocation("layer", Blocks(4, 2)).by_fraction(model, scores, kt.get_mask(model), 0.5)
    for path, array in pruned.items():
        sides = array.shape
        tiles = array.reshape(*sides[:-2], sides[-2] // 4, 4, sides[-1] // 2, 2)
        whole, none = tiles.all((-3, -1)), ~tiles.any((-3, -1))
        assert (whole | none).all()
        assert whole.sum() * 2 == whole.size
        means = scores[path].reshape(tiles.shape).mean((-3, -1))
        assert means[whole].min() > means[none].max()


def test_two_of_four_along_the_inputs():
    model = square()
    scores = drawn(model)
    pruned = Allocation("global", NOfM(2, 4)).to_sparsity(model, scores, kt.get_mask(model), 0.5)
    conv = pruned["conv/kernel"].reshape(3, 3, 2, 4, 8)
    dense = pruned["classifier/kernel"].reshape(2, 4, 4)
    assert (conv.sum(3) == 2).all()
    assert (dense.sum(1) == 2).all()
    lowest = np.sort(scores["classifier/kernel"].reshape(2, 4, 4), axis=1)[:, 2]
    np.testing.assert_array_equal(dense, scores["classifier/kernel"].reshape(2, 4, 4) >= lowest[:, None])


def test_two_of_four_reaches_over_the_heads_of_attention():
    model = kt.masked(nets.attention_like())
    pruned = NOfM(1, 2).prune(model, drawn(model), kt.get_mask(model), lambda scores, mask: halved(mask))
    assert (pruned["split/kernel"].reshape(3, 2, 8).sum(1) == 1).all()
    assert (pruned["join/kernel"].reshape(4, 2, 6).sum(1) == 1).all()


def halved(mask: masks.Mask) -> masks.Mask:
    return {path: np.arange(array.size).reshape(array.shape) % 2 > 0 for path, array in mask.items()}


def test_n_of_m_is_nested_in_the_mask_before():
    model = square()
    mask = halved(kt.get_mask(model))
    fraction = 0.25
    with pytest.raises(ValueError, match="sparsity that 2 of 4 gives"):
        Allocation("global", NOfM(2, 4)).by_fraction(model, drawn(model), mask, fraction)
    left = NOfM(2, 4).prune(model, drawn(model), mask, lambda scores, before: two_of_four(before, drawn(model)))
    assert masks.is_nested(left, mask)


def two_of_four(mask: masks.Mask, scores: masks.Scores) -> masks.Mask:
    """Brute force over runs of four inputs."""
    pruned = {path: array.copy() for path, array in mask.items()}
    for path, array in pruned.items():
        flat, score = array.reshape(-1, array.shape[-2], array.shape[-1]), scores[path].reshape(-1, *array.shape[-2:])
        for where in range(flat.shape[0]):
            for start in range(0, flat.shape[1], 4):
                for out in range(flat.shape[2]):
                    run = [i for i in range(start, start + 4) if flat[where, i, out]]
                    for i in sorted(run, key=lambda i: -score[where, i, out])[2:]:
                        flat[where, i, out] = False
    return pruned


def test_n_of_m_agrees_with_brute_force():
    model = square()
    mask = halved(kt.get_mask(model)) | {"classifier/kernel": kt.get_mask(model)["classifier/kernel"]}
    expected = two_of_four(mask, drawn(model))
    found = NOfM(2, 4).prune(model, drawn(model), mask, lambda scores, before: expected)
    assert all(np.array_equal(found[path], expected[path]) for path in expected)


def test_what_does_not_divide_is_refused_with_the_choices():
    model = square(width=6)
    mask, scores = kt.get_mask(model), drawn(model)
    with pytest.raises(ValueError, match=r"inputs 4 divides.*'conv/kernel' with 6.*\[1, 2, 3, 6\].*ragged='dense'"):
        Allocation("global", "n_of_m").to_sparsity(model, scores, mask, 0.5)
    with pytest.raises(ValueError, match=r"inputs blocks of 4 divide.*'conv/kernel' with 6.*\[1, 2, 3, 6\]"):
        Allocation("global", "blocks").to_sparsity(model, scores, mask, 0.5)
    with pytest.raises(ValueError, match=r"outputs blocks of 5 divide.*'conv/kernel' with 8"):
        Allocation("global", Blocks(1, 5)).to_sparsity(model, scores, mask, 0.5)


def test_ragged_kernels_may_stay_dense():
    model = square(width=6)
    total = masks.total(kt.get_mask(model))
    structure = NOfM(2, 4, ragged="dense")
    pruned = Allocation("global", structure).to_sparsity(model, drawn(model), kt.get_mask(model), 16 / total)
    assert pruned["conv/kernel"].all()
    assert pruned["classifier/kernel"].sum() == 16
    with pytest.raises(ValueError, match=r"2 of 4 gives this model, 0\.03.*in one step"):
        Allocation("global", structure).to_sparsity(model, drawn(model), kt.get_mask(model), 0.5)


@pytest.mark.parametrize("structure", STRUCTURES)
def test_every_structure_goes_through_an_allocation_and_a_ticket_file(structure, tmp_path):
    model = square()
    dense = kt.Ticket.dense(model)
    allocation = Allocation("global", structure)
    mask = allocation.to_sparsity(model, drawn(model), dense.mask, 0.5)
    assert all(array.any() for array in mask.values())
    dense.pruned(mask, {"name": structure}).save(tmp_path / "ticket.keras")
    assert not kt.Ticket.load(tmp_path / "ticket.keras").mask["conv/kernel"].all()
    assert masks.kept(structures.get(structure).units(model, mask)) < masks.total(
        structures.get(structure).units(model, mask)
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: NOfM(4, 4), "1 <= keep < of.*keep=4, of=4"),
        (lambda: NOfM(0, 4), "1 <= keep < of"),
        (lambda: NOfM(2, 4, ragged="pad"), "'refuse' or 'dense'.*'pad'"),
        (lambda: Blocks(0, 4), "whole sides of at least 1.*inputs=0"),
        (lambda: structures.get("n_of_n"), "Did you mean 'n_of_m'"),
    ],
)
def test_bad_structures_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
