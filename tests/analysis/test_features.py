"""Layerwise feature connectivity and layerwise paths against hand counts and plain NumPy."""

import keras
import nets
import numpy as np
import pytest
from architectures import small
from keras import layers, ops

import kerasticket as kt
from kerasticket.analysis import Objective, linear_path
from kerasticket.analysis.alignment import align, permute
from kerasticket.analysis.features import layerwise_feature_connectivity, layerwise_path
from kerasticket.analysis.statistics import reestimated
from kerasticket.params import interpolate

ROUNDING = 1e-11  # of distances in float32: half the square of errors of 1e-6


def compiled(model: keras.Model) -> keras.Model:
    return nets.compile_for_test(model)


def batch_norm_net() -> keras.Model:
    """Convolution, batch norm, ReLU, mean; without random layers."""
    x = inputs = keras.Input((6, 6, 2), name="images")
    for layer in (layers.Conv2D(3, 3, name="conv"), layers.BatchNormalization(name="norm"), layers.ReLU(name="relu")):
        x = layer(x)
    x = layers.GlobalAveragePooling2D(name="mean")(x)
    return keras.Model(inputs, layers.Dense(5, name="logits")(x), name="batch_norm_net")


def linear_net() -> keras.Model:
    stack = [layers.Dense(units, name=f"fc_{i}") for i, units in enumerate((4, 3, 5), start=1)]
    return keras.Sequential([keras.Input((6,), name="inputs"), *stack], name="linear_net")


def draw(model: keras.Model, seed: int):
    rng = np.random.default_rng(seed)
    params = kt.get_params(model)
    return {
        path: (rng.uniform(0.5, 1.5, a.shape) if "variance" in path else rng.normal(0, 0.7, a.shape)).astype(a.dtype)
        if a.dtype.kind == "f"
        else a
        for path, a in params.items()
    }


def case(model: keras.Model):
    """(compiled model, two nets, data)."""
    return compiled(model), draw(model, 0), draw(model, 1), nets.batch(model, 20)


def cosine_distance(x: np.ndarray, y: np.ndarray) -> float:
    x, y = (v.reshape(len(v), -1).astype(float) for v in (x, y))
    return float(np.mean(1 - np.sum(x * y, 1) / np.linalg.norm(x, axis=1) / np.linalg.norm(y, axis=1)))


def features(model: keras.Model, params, x) -> dict[str, np.ndarray]:
    kt.set_params(model, params)
    names = [layer.name for layer in model.layers if not isinstance(layer, layers.InputLayer)]
    outputs = keras.Model(model.inputs, [model.get_layer(name).output for name in names])([x], training=False)
    return {name: ops.convert_to_numpy(output) for name, output in zip(names, keras.tree.flatten(outputs), strict=True)}


@pytest.mark.parametrize("alpha", [0.5, 0.3])
@pytest.mark.parametrize("make", [nets.mlp, batch_norm_net, lambda: small("convnet", num_classes=5)])
def test_equals_the_definition_in_numpy(make, alpha):
    """Layer by layer, from the outputs of three nets in double precision."""
    model, a, b, (x, y) = case(make())
    found = layerwise_feature_connectivity(model, a, b, (x, y), alpha=alpha, batch_size=8)
    of_a, of_b, between = (features(model, net, x) for net in (a, b, interpolate(a, b, alpha)))
    assert list(found) == list(of_a)
    for name, measured in found.items():
        line = (1 - alpha) * of_a[name].astype(float) + alpha * of_b[name]
        assert measured.distance == pytest.approx(cosine_distance(between[name], line), rel=1e-4, abs=1e-7)
        assert measured.ends == pytest.approx(cosine_distance(of_a[name], of_b[name]), rel=1e-4, abs=1e-7)
        rows = [v.reshape(len(v), -1) for v in (between[name], line)]
        slopes = [np.linalg.lstsq(on[:, None], of, rcond=None)[0].item() for of, on in zip(*rows, strict=True)]
        assert measured.coefficient == pytest.approx(np.mean(slopes), rel=1e-4)


def test_two_layers_by_hand():
    """a is the identity twice, b swaps twice: both outputs are (1, 0); half-way the second layer gives (.5, .5)."""
    stack = [layers.Dense(2, use_bias=False, name=name) for name in ("first", "second")]
    model = compiled(keras.Sequential([keras.Input((2,)), *stack]))
    identity, swap = np.eye(2, dtype="float32"), np.eye(2, dtype="float32")[::-1]
    a, b = ({"first/kernel": kernel, "second/kernel": kernel} for kernel in (identity, swap))
    found = layerwise_feature_connectivity(model, a, b, (identity[:1], identity[:1]))
    assert (found["first"].distance, found["first"].ends) == (0, 1)
    assert found["second"].distance == pytest.approx(1 - np.sqrt(0.5), rel=1e-6)
    assert (found["second"].ends, found["second"].coefficient) == (0, 0.5)


@pytest.mark.parametrize("make", [nets.mlp, nets.nested, nets.small_convnet])
def test_a_net_and_itself_have_distance_zero(make):
    """Up to rounding: a compiler may order the sums of the three nets differently."""
    model, a, _, data = case(make())
    for alpha in (0.5, 0.3):
        for measured in layerwise_feature_connectivity(model, a, a, data, alpha=alpha).values():
            assert 0 <= measured.distance <= ROUNDING
            assert measured.ends <= ROUNDING
            assert measured.coefficient == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(("alpha", "end"), [(0, 0), (1, 1)])
def test_at_the_ends_the_features_are_those_of_the_ends(alpha, end):
    model, a, b, data = case(nets.mlp())
    for measured in layerwise_feature_connectivity(model, a, b, data, alpha=alpha).values():
        assert measured.distance <= ROUNDING
        assert measured.coefficient == pytest.approx(1, abs=1e-5)
        assert measured.ends > 0.01


def test_a_linear_net_is_linear_in_any_one_layer_and_not_in_two():
    """Biases too; the first layer is linear in its weights whatever comes behind it."""
    model, a, b, data = case(linear_net())
    for layer in ("fc_1", "fc_2", "fc_3"):
        one = a | {path: b[path] for path in b if path.startswith(layer)}
        found = layerwise_feature_connectivity(model, a, one, data, alpha=0.3)
        assert max(measured.distance for measured in found.values()) < ROUNDING
        assert found["fc_3"].ends > 0.01
    found = layerwise_feature_connectivity(model, a, b, data, alpha=0.3)
    assert found["fc_1"].distance < ROUNDING
    assert min(found["fc_2"].distance, found["fc_3"].distance) > 0.01


def test_exchanging_the_ends_exchanges_alpha():
    model, a, b, data = case(batch_norm_net())
    forth = layerwise_feature_connectivity(model, a, b, data, alpha=0.3)
    back = layerwise_feature_connectivity(model, b, a, data, alpha=0.7)
    for name, measured in forth.items():
        assert vars(measured) == pytest.approx(vars(back[name]), rel=1e-4, abs=1e-7)


def test_features_that_are_zero():
    """Zero in all nets: distance 0 and no coefficient. Between a dead end and one that lives, half-way: the same."""
    stack = [layers.Dense(1, name="dense"), layers.ReLU(name="relu"), layers.Dense(2, name="logits")]
    model = compiled(keras.Sequential([keras.Input((1,)), *stack]))
    data = np.ones((3, 1), "float32"), np.eye(2, dtype="float32")[[0, 1, 0]]
    logits = {"logits/kernel": np.ones((1, 2), "float32"), "logits/bias": np.ones(2, "float32")}

    def net(bias):
        return logits | {"dense/kernel": np.ones((1, 1), "float32"), "dense/bias": np.array([bias], "float32")}

    dead = layerwise_feature_connectivity(model, net(-3), net(-4), data)["relu"]
    assert (dead.distance, dead.ends) == (0, 0)
    assert np.isnan(dead.coefficient)
    half = layerwise_feature_connectivity(model, net(-3), net(0), data)["relu"]
    assert (half.distance, half.ends, half.coefficient) == (1, 1, 0)


def test_batches_play_no_part():
    model, a, b, data = case(nets.mlp())
    whole = layerwise_feature_connectivity(model, a, b, data, batch_size=20)
    parts = layerwise_feature_connectivity(model, a, b, Objective(model, data, batch_size=7))
    for name, measured in whole.items():
        assert vars(measured) == pytest.approx(vars(parts[name]), rel=1e-5, abs=1e-9)


def test_masks_of_the_model_play_no_part_and_weights_stay():
    plain, a, b, data = case(nets.mlp())
    masked = compiled(kt.masked(plain))
    kt.set_mask(masked, nets.half_mask(masked))
    before = kt.get_params(masked)
    expected = layerwise_feature_connectivity(plain, a, b, data)
    for name, measured in layerwise_feature_connectivity(masked, a, b, data).items():
        assert vars(measured) == pytest.approx(vars(expected[name]), rel=1e-5, abs=1e-9)
    assert not kt.params.differing(before, kt.get_params(masked))


def test_statistics_are_re_estimated_at_alpha():
    model, a, b, data = case(batch_norm_net())
    objective = Objective(model, data)
    found = layerwise_feature_connectivity(model, a, b, objective, statistics="reestimate")
    of_a, of_b = (features(model, net, data[0]) for net in (a, b))
    between = features(model, reestimated(objective, interpolate(a, b, 0.5)), data[0])
    for name, measured in found.items():
        line = (of_a[name] + of_b[name]) / 2
        assert measured.distance == pytest.approx(cosine_distance(between[name], line), rel=1e-4, abs=1e-7)
    assert found["norm"] != layerwise_feature_connectivity(model, a, b, objective)["norm"]


def test_calls_of_shared_and_nested_layers_are_numbered():
    model, a, b, data = case(nets.nested())
    assert list(layerwise_feature_connectivity(model, a, b, data)) == ["shared", "shared#2", "mlp"]


def test_a_permuted_net_is_connected_once_it_is_aligned():
    model = compiled(small("convnet", num_classes=5))
    a, data = draw(model, 0), nets.batch(model, 20)
    orders = {f"conv_{i}": np.array([2, 3, 1, 0]) for i in (1, 2, 3)}
    b = permute(model, a, orders)
    before, after = (layerwise_feature_connectivity(model, a, net, data) for net in (b, align(model, a, b)))
    assert min(before[name].ends for name in ("conv_1", "conv_2", "conv_3")) > 0.1
    assert all(max(measured.distance, measured.ends) <= ROUNDING for measured in after.values())


def test_a_path_of_one_layer_is_the_linear_path():
    model, a, b, data = case(keras.Sequential([keras.Input((6,)), layers.Dense(5, name="only")]))
    (layer, found), *rest = layerwise_path(model, a, b, data, alphas=5).items()
    expected = linear_path(model, a, b, data, alphas=5)
    assert (layer, rest) == ("only", [])
    assert np.array_equal(found.alphas, expected.alphas)
    assert np.array_equal(found.loss, expected.loss)
    assert np.array_equal(found.accuracy, expected.accuracy)


@pytest.mark.parametrize("make", [nets.nested, nets.small_convnet])
def test_paths_start_at_a_and_end_with_one_layer_of_b(make):
    model, a, b, data = case(make())
    objective = Objective(model, data)
    found = layerwise_path(model, a, b, objective, alphas=3)
    expected = {
        nets.nested: ["shared", "mlp/hidden", "mlp/classifier"],
        nets.small_convnet: ["conv", "norm", "classifier"],
    }
    assert list(found) == expected[make]
    for layer, path in found.items():
        mixed = a | {p: b[p] for p in b if p.rpartition("/")[0] == layer}
        assert path.alphas.tolist() == [0, 0.5, 1]
        assert (path.loss[0], path.accuracy[0]) == objective(a)
        assert (path.loss[-1], path.accuracy[-1]) == objective(mixed)
        assert (path.loss[1], path.accuracy[1]) == objective(interpolate(a, mixed, 0.5))


def test_paths_between_a_net_and_itself_are_flat():
    model, a, _, data = case(nets.mlp())
    for path in layerwise_path(model, a, a, data, alphas=[0, 1]).values():
        assert path.barrier == 0
        assert len(set(path.loss)) == 1


@pytest.mark.parametrize("seed", range(3))
def test_a_linear_net_has_no_barrier_in_any_one_layer(seed):
    """Cross-entropy is convex in the logits, and these are linear in one layer: no loss lies above the chord."""
    model = compiled(linear_net())
    a, b = draw(model, seed), draw(model, seed + 10)
    for path in layerwise_path(model, a, b, nets.batch(model, 20), alphas=5).values():
        assert path.chord_barrier < 1e-5


def test_statistics_and_masks_of_layers_are_named_in_their_curves():
    model, a, b, data = case(batch_norm_net())
    b["conv/kernel"][..., 0] = 0  # one of three filters
    found = layerwise_path(model, a, b, data, alphas=2, statistics="reestimate")
    assert {path.statistics for path in found.values()} == {"reestimate"}
    assert {layer: path.mask_overlap for layer, path in found.items()} == {"conv": 2 / 3, "norm": 1, "logits": 1}
    objective = Objective(model, data)
    assert found["conv"].loss[0] == objective(reestimated(objective, a)).loss


@pytest.mark.parametrize("function", [layerwise_feature_connectivity, layerwise_path])
def test_other_params_and_unknown_statistics_are_refused(function):
    model, a, b, data = case(nets.mlp())
    with pytest.raises(ValueError, match="params of 'mlp'"):
        function(model, a, draw(linear_net(), 0), data)
    with pytest.raises(ValueError, match="NaN or infinity in b"):
        function(model, a, b | {"hidden/bias": np.full(8, np.nan, "float32")}, data)
    with pytest.raises(ValueError, match="Received: statistics='mean'"):
        function(model, a, b, data, statistics="mean")


def test_an_alpha_outside_the_line_is_refused():
    model, a, b, data = case(nets.mlp())
    for alpha in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match=r"alpha in \[0, 1\]"):
            layerwise_feature_connectivity(model, a, b, data, alpha=alpha)


def test_features_of_a_subclassed_model_are_refused():
    model = compiled(nets.subclassed())
    with pytest.raises(ValueError, match="Sequential or functional.*'subclassed'"):
        layerwise_feature_connectivity(model, {}, {}, (np.zeros((1, 6)), np.zeros((1, 5))))
