"""Groups of channels of every layer and model, permutations that change nothing, and what weight matching finds."""

import functools
import itertools

import keras
import nets
import numpy as np
import pytest
from architectures import SMALL, small
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers
from permutations import TOLERANCE, check_outputs_are_kept, draw, outputs, same, shuffles

import kerasticket as kt
from kerasticket.analysis import alignment, linear_path
from kerasticket.analysis.alignment import align, permute, weight_matching
from kerasticket.models.graph.alignment_rules import ALIGNED
from kerasticket.models.graph.channels import channel_groups
from kerasticket.params import dot


def residual_mlp() -> keras.Model:
    """A stream of 16 channels that two branches read and are added to; the second has one square kernel."""
    inputs = keras.Input((5,), name="inputs")
    x = layers.Dense(16, name="stem")(inputs)
    y = layers.Dense(4, activation="relu", name="branch_1")(x)
    x = layers.Add(name="add_1")([x, layers.Dense(16, name="branch_2")(y)])
    x = layers.Add(name="add_2")([x, layers.Dense(16, activation="tanh", name="square")(x)])
    return keras.Model(inputs, layers.Dense(3, name="logits")(x), name="residual_mlp")


def split() -> keras.Model:
    """A layer of 6 channels to which a concatenation of 2 and 4 is added."""
    inputs = keras.Input((5,), name="inputs")
    whole = layers.ReLU(name="relu_2")(layers.ReLU(name="relu_1")(layers.Dense(6, name="whole")(inputs)))
    parts = [layers.Dense(size, name=f"part_{size}")(inputs) for size in (2, 4)]
    x = layers.Add(name="add")([whole, layers.Concatenate(name="concatenate")(parts)])
    return keras.Model(inputs, layers.Dense(3, name="logits")(x), name="split")


def gated() -> keras.Model:
    """Channels multiplied by numbers between 0 and 1 made from their means, as in squeeze and excitation."""
    inputs = keras.Input((6, 6, 2), name="inputs")
    x = layers.Conv2D(4, 3, name="conv")(inputs)
    gate = layers.Dense(3, activation="relu", name="squeeze")(layers.GlobalAveragePooling2D(name="mean")(x))
    gate = layers.Dense(4, activation="sigmoid", name="excite")(gate)
    x = layers.Multiply(name="multiply")([x, layers.Reshape((1, 1, 4), name="reshape")(gate)])
    x = layers.Reshape((4, 8, 2), name="folded")(x)  # two channels at one position, two at the next ...
    x = layers.Reshape((4, 4, 4), name="unfolded")(layers.ELU(name="elu")(x))  # ... all four at each again
    x = layers.Flatten(name="flatten")(layers.AveragePooling2D(2, name="pool")(x))
    return keras.Model(inputs, layers.Dense(3, name="logits")(x), name="gated")


def siamese() -> keras.Model:
    """Two inputs through one nested net, which is used twice, and one layer used twice; two outputs."""
    inputs = [keras.Input((6,), name=f"inputs_{i}") for i in range(2)]
    tower = keras.Sequential(
        [keras.Input((6,)), layers.Dense(5, name="first"), layers.Dense(4, name="last")], name="tower"
    )
    shared = layers.Dense(7, activation="relu", name="shared")
    left, right = (shared(layers.ReLU(name=f"relu_{i}")(tower(x))) for i, x in enumerate(inputs))
    both = layers.Concatenate(name="both")([left, right])
    return keras.Model(inputs, [layers.Dense(2, name=name)(x) for name, x in (("sum", both), ("one", left))], name="s")


# model -> size of each group of channels that may be permuted
GROUPS = {
    nets.mlp: {"hidden": 8},
    nets.small_convnet: {"conv": 4},
    nets.nested: {"mlp/hidden": 8},  # the shared layer reads the inputs, so that its outputs keep their place too
    residual_mlp: {"stem": 16, "branch_1": 4},
    split: {"whole": 2, "whole#2": 4},
    gated: {"conv": 4, "squeeze": 3},
    siamese: {"tower/first": 5, "tower/last": 4, "shared": 7},
}


built = functools.cache(lambda make, *arguments: make(*arguments))


@pytest.mark.parametrize("make", GROUPS, ids=lambda make: make.__name__)
def test_groups_of_branched_nested_and_shared_graphs(make):
    model = make()
    assert {name: group.size for name, group in channel_groups(model, rules=ALIGNED).items()} == GROUPS[make]
    check_outputs_are_kept(model)


@pytest.mark.parametrize("name", SMALL)
class TestEveryModel:
    def test_permuting_keeps_outputs(self, name):
        check_outputs_are_kept(built(small, name))

    def test_every_weight_but_the_logits_bias_lies_on_a_group(self, name):
        model = built(small, name)
        lying = {carrier.path for group in channel_groups(model).values() for carrier in group.carriers}
        assert set(kt.get_params(model)) - lying == {"logits/bias"}

    def test_a_known_permutation_is_found_and_undone_to_the_bit(self, name):
        model = built(small, name)
        a = draw(model, 0)
        orders = shuffles(model, 1)
        b = permute(model, a, orders)
        found = weight_matching(model, a, b)
        assert all(np.array_equal(orders[group][found[group]], np.arange(len(found[group]))) for group in orders)
        assert same(align(model, a, b), a)

    def test_a_net_is_aligned_with_itself(self, name):
        model = built(small, name)
        a = draw(model, 0)
        assert all(np.array_equal(p, np.arange(len(p))) for p in weight_matching(model, a, a).values())

    def test_masked_models_have_the_same_groups(self, name):
        plain, masked = (channel_groups(m) for m in (built(small, name), kt.masked(built(small, name))))
        described = [
            [(name, [(c.path, c.axis, c.role, c.positions.tolist()) for c in g.carriers]) for name, g in groups.items()]
            for groups in (plain, masked)
        ]
        assert described[0] == described[1]


def test_permuting_by_hand():
    """Flatten turns (2 positions, 3 channels) into 6 rows of the Dense behind it."""
    inputs = keras.Input((2, 1), name="inputs")
    x = layers.Flatten(name="flatten")(layers.Dense(3, name="hidden")(inputs))
    model = keras.Model(inputs, layers.Dense(1, name="out")(x))
    arrays = {"hidden/kernel": [[1, 2, 3]], "hidden/bias": [4, 5, 6], "out/kernel": [[1], [2], [3], [4], [5], [6]]}
    result = permute(model, {path: np.array(a) for path, a in arrays.items()}, {"hidden": np.array([2, 0, 1])})
    assert {path: array.tolist() for path, array in result.items()} == {
        "hidden/kernel": [[3, 1, 2]],
        "hidden/bias": [6, 4, 5],
        "out/kernel": [[3], [1], [2], [6], [4], [5]],
    }


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), kind=st.sampled_from(list(GROUPS)))
def test_permuting_forth_and_back_changes_nothing(seed, kind):
    model = built(kind)
    a, orders = draw(model, seed), shuffles(model, seed)
    back = {name: np.argsort(order) for name, order in orders.items()}
    assert same(permute(model, permute(model, a, orders), back), a)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), kind=st.sampled_from(list(GROUPS)))
def test_the_inner_product_never_falls_and_is_that_of_the_result(seed, kind):
    """Of all floating weights but moving statistics, computed from the permuted params alone."""
    model = built(kind)
    a, b = draw(model, seed), draw(model, seed + 1)
    steps = list(alignment.ascent(model, a, b, seed))
    values = [value for _, value in steps]
    assert values == sorted(values)
    counted = {c.path for g in channel_groups(model).values() for c in g.carriers if c.role != "statistic"}
    aligned = permute(model, b, steps[-1][0])
    assert values[-1] == pytest.approx(dot({path: a[path] for path in counted}, aligned), rel=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_one_hidden_layer_gets_the_best_of_all_permutations(seed):
    model = keras.Sequential([keras.Input((3,)), layers.Dense(5, name="hidden"), layers.Dense(2, name="out")])
    a, b = draw(model, seed), draw(model, seed + 100)
    best = max(dot(a, permute(model, b, {"hidden": np.array(p)})) for p in itertools.permutations(range(5)))
    assert dot(a, align(model, a, b)) == pytest.approx(best, rel=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_where_it_stops_no_group_alone_can_be_improved(seed):
    """Over all 24 and 6 permutations of the two groups of a net."""
    model = gated()
    a, b = draw(model, seed), draw(model, seed + 100)
    aligned = align(model, a, b)
    for name, group in channel_groups(model, rules=ALIGNED).items():
        orders = itertools.permutations(range(group.size))
        best = max(dot(a, permute(model, aligned, {name: np.array(order)})) for order in orders)
        assert best == pytest.approx(dot(a, aligned), rel=1e-12)


def test_a_known_permutation_of_a_square_kernel_in_a_residual_stream_is_undone():
    """Both axes of one kernel move with the same group: the step is then no linear assignment, and is checked."""
    model = residual_mlp()
    for seed in range(5):
        a = draw(model, seed)
        assert same(align(model, a, permute(model, a, shuffles(model, seed))), a)


def test_the_seed_decides_the_order_of_the_groups():
    model = small("resnet10", width=4)
    a, b = draw(model, 0), draw(model, 1)
    paths = [[value for _, value in alignment.ascent(model, a, b, seed)] for seed in (0, 0, 1)]
    assert paths[0] == paths[1] != paths[2]
    assert same(align(model, a, b, seed=3), align(model, a, b, seed=3))


def test_equal_and_dead_channels_keep_their_order():
    """All permutations of them are as good."""
    model = small("convnet")
    a = {path: np.zeros_like(array) for path, array in draw(model, 0).items()}
    b = {path: np.ones_like(array) for path, array in a.items()}
    for first, second in ((a, b), (b, a), (b, b)):
        assert all(np.array_equal(p, np.arange(4)) for p in weight_matching(model, first, second).values())


def test_masks_move_with_their_weights():
    model = kt.masked(small("convnet", width=8))
    ends, masks = [], []
    for seed in (0, 1):
        kt.set_mask(model, nets.half_mask(model, seed))
        kt.set_params(model, draw(model, seed))
        ends.append(kt.get_params(model))
        masks.append(kt.get_mask(model))
    found = weight_matching(model, *ends)
    aligned, mask = align(model, *ends), permute(model, masks[1], found)
    assert kt.masks.kept(mask) == kt.masks.kept(masks[1])
    assert all(np.array_equal(aligned[path] != 0, mask[path]) for path in mask)
    expected = outputs(model, ends[1])[0]
    kt.set_mask(model, mask)
    np.testing.assert_allclose(outputs(model, aligned)[0], expected, rtol=0, atol=TOLERANCE * np.abs(expected).max())


def test_the_ends_are_not_changed_and_dtypes_are_kept():
    model = nets.small_convnet()
    a, b = draw(model, 0), draw(model, 1)
    copies = [{path: array.copy() for path, array in net.items()} for net in (a, b)]
    aligned = align(model, a, b)
    assert same(a, copies[0])
    assert same(b, copies[1])
    assert {path: array.dtype for path, array in aligned.items()} == {path: array.dtype for path, array in b.items()}


def test_moving_statistics_move_but_do_not_count():
    model = nets.small_convnet()
    a, b = draw(model, 0), draw(model, 1)
    changed = b | {"norm/moving_mean": b["norm/moving_mean"] + 100 * np.arange(4, dtype="float32")}
    found = weight_matching(model, a, b)
    assert same(weight_matching(model, a, changed), found)
    assert np.array_equal(align(model, a, b)["norm/moving_mean"], b["norm/moving_mean"][found["conv"]])


def trained_convnets(count: int, images: int, size: int, epochs: int, width: int, depth: int):
    """A ConvNet, digits, and params of trainings from other initial weights; the model is traced once."""
    digits = kt.data.load("digits", image_size=size, images_per_class=images)
    recipe = kt.training.Recipe(epochs=epochs, learning_rate=0.05, batch_size=32)
    starts = [kt.models.convnet(digits.input_shape, 10, width=width, depth=depth, seed=seed) for seed in range(count)]
    tickets = [kt.Ticket.dense(kt.masked(start)) for start in starts]
    model, pipeline, ends = tickets[0].model(), recipe.pipeline(digits, 0), []
    recipe.compile(model, pipeline)
    for ticket in tickets:
        ticket.apply(model)
        kt.training.train(model, pipeline, recipe)
        ends.append(kt.get_params(model))
    return model, digits, ends


def check_barriers_fall_by_half(model, digits, ends) -> None:
    for a, b in itertools.combinations(ends, 2):
        before, after = (linear_path(model, a, end, digits, alphas=3) for end in (b, align(model, a, b)))
        assert after.loss[-1] == pytest.approx(before.loss[-1], rel=1e-4)
        assert before.barrier > 0.4
        assert after.barrier < before.barrier / 2


@pytest.mark.same_on_every_backend
def test_the_barrier_between_independent_convnets_falls():
    check_barriers_fall_by_half(*trained_convnets(2, images=50, size=8, epochs=3, width=16, depth=2))


@pytest.mark.slow
def test_the_barriers_between_three_convnets_fall():
    """ConvNet-3 at 99% training accuracy: from about .6 to .07."""
    check_barriers_fall_by_half(*trained_convnets(3, images=100, size=16, epochs=5, width=32, depth=3))


# What is refused: (message, model or how to build one).


def test_params_of_another_model_are_refused():
    model = small("convnet")
    a = draw(model, 0)
    with pytest.raises(ValueError, match="params of 'convnet'.*b has shape"):
        align(model, a, draw(small("convnet", width=5), 0))
    with pytest.raises(ValueError, match="params of 'convnet'.*paths that the model lacks"):
        align(model, draw(small("resnet10"), 0), a)
    with pytest.raises(ValueError, match="paths that b lacks: 'logits/bias'"):
        align(model, a, {path: array for path, array in a.items() if path != "logits/bias"})


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused(value):
    model = nets.mlp()
    a = draw(model, 0)
    b = {path: array.copy() for path, array in a.items()}
    b["hidden/bias"][0] = value
    with pytest.raises(ValueError, match="NaN or infinity in b at.*hidden/bias"):
        align(model, a, b)


@pytest.mark.parametrize(
    ("arrays", "orders", "message"),
    [
        ({}, {"hiden": [0]}, "among.*'hidden'.*'hiden'"),
        ({}, {"hidden": [0, 1, 2, 3, 4, 5, 6, 6]}, "permutation of 8 channels"),
        ({}, {"hidden": [1, 0]}, "permutation of 8 channels"),
        ({"elsewhere/kernel": np.zeros(3)}, {}, "belong to 'mlp'.*'elsewhere/kernel'"),
        ({"hidden/bias": np.zeros(3)}, {}, r"shape \(3,\) at 'hidden/bias'"),
    ],
)
def test_what_cannot_be_permuted_is_refused(arrays, orders, message):
    with pytest.raises(ValueError, match=message):
        permute(nets.mlp(), arrays, {name: np.array(order) for name, order in orders.items()})
