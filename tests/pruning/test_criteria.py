"""Criteria: each against a net computed by hand and its authors' formula; what they must leave alone; bad input."""

import keras
import nets
import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import kerasticket as kt
from kerasticket import masks
from kerasticket.models.paths import raw_params
from kerasticket.params import differing
from kerasticket.pruning import criteria
from kerasticket.pruning.criteria import CRITERIA, network

NEED_DATA = ["snip", "grasp", "saliency", "movement", "wanda"]


def line(weights, activation=None) -> keras.Model:
    """y = w . x under mean squared error."""
    stack = [keras.Input((len(weights),)), keras.layers.Dense(1, use_bias=False, activation=activation, name="out")]
    model = kt.masked(keras.Sequential(stack, name="line"))
    model.get_layer("out")._kernel.assign(np.array(weights, "float32")[:, None])
    model.compile("sgd", "mse")
    return model


def scores_of(criterion, model, data=None, mask=None, **options) -> masks.Scores:
    function = CRITERIA[criterion] if isinstance(criterion, str) else criterion
    return function(model, kt.get_params(model), mask or kt.get_mask(model), data, np.random.default_rng(0), **options)


BY_HAND = {  # w = (1, -2), x = (3, 1), target 0: y = 1, dL/dw = 2 y x = (6, 2), H = 2 x x', H g = 2 x 20
    "magnitude": [1, 2],
    "snip": [0.6, 0.4],
    "saliency": [6, 4],
    "movement": [-6, 4],
    "grasp": [120 / 200**4, -80 / 200**4],
    "wanda": [3, 2],
    "synflow": [1 / 3, 2 / 3],
    "lamp": [1 / 5, 1],
}


@pytest.mark.parametrize("criterion", BY_HAND)
def test_two_weights_by_hand(criterion):
    model = line([1, -2])
    found = scores_of(criterion, model, data=(np.array([[3.0, 1.0]], "float32"), np.zeros((1, 1), "float32")))
    np.testing.assert_allclose(found["out/kernel"].ravel(), BY_HAND[criterion], rtol=1e-5)


def mlp_forward(w1, w2, x, bias=0.0):
    return np.maximum(x @ w1, 0) @ w2 + bias


def cross_entropy(logits, y):
    shifted = logits - logits.max(1, keepdims=True)
    return -(y * (shifted - np.log(np.exp(shifted).sum(1, keepdims=True)))).sum(1).mean()


def mlp_gradient(w1, w2, x, y, temperature=1.0):
    """Back-propagation by hand, in float64."""
    hidden = np.maximum(x @ w1, 0)
    logits = hidden @ w2 / temperature
    p = np.exp(logits - logits.max(1, keepdims=True))
    delta = (p / p.sum(1, keepdims=True) - y) / len(x) / temperature
    return x.T @ ((delta @ w2.T) * (hidden > 0)), hidden.T @ delta


def pruned_mlp() -> tuple[keras.Model, masks.Mask, tuple, list]:
    model = nets.compile_for_test(kt.masked(nets.mlp()))
    mask = nets.half_mask(model)
    kt.set_mask(model, mask)
    weights = [kt.get_params(model)[path].astype(float) for path in mask]
    return model, mask, nets.batch(model), weights


def test_snip_is_the_slope_in_the_authors_connection_variables():
    model, mask, (x, y), weights = pruned_mlp()
    found = scores_of("snip", model, (x, y))
    slopes, step = [], 1e-5
    for layer, w in enumerate(weights):
        slope = np.zeros_like(w)
        for j in np.ndindex(w.shape):  # dL(c * w)/dc_j at c = 1
            ends = []
            for sign in (1, -1):
                c = [np.ones_like(v) for v in weights]
                c[layer][j] += sign * step
                ends.append(cross_entropy(mlp_forward(c[0] * weights[0], c[1] * weights[1], x), y))
            slope[j] = abs(ends[0] - ends[1]) / (2 * step)
        slopes.append(slope)
    total = sum(slope.sum() for slope in slopes)
    for path, slope in zip(mask, slopes, strict=True):
        np.testing.assert_allclose(found[path], slope / total, rtol=1e-3, atol=1e-7)
    assert sum(array.sum() for array in found.values()) == pytest.approx(1)


def test_saliency_and_movement_are_weight_times_gradient():
    model, mask, (x, y), weights = pruned_mlp()
    saliency, movement = scores_of("saliency", model, (x, y)), scores_of("movement", model, (x, y))
    for path, w, g in zip(mask, weights, mlp_gradient(*weights, x, y), strict=True):
        np.testing.assert_allclose(saliency[path], np.abs(w * g), rtol=1e-4, atol=1e-8)
        np.testing.assert_allclose(movement[path], -w * g, rtol=1e-4, atol=1e-8)


def test_grasp_is_minus_the_authors_score():
    model, mask, (x, y), weights = pruned_mlp()
    found = scores_of("grasp", model, (x, y))
    kept = list(mask.values())
    g = [m * part for m, part in zip(kept, mlp_gradient(*weights, x, y, 200.0), strict=True)]
    step = 1e-3
    ends = [
        mlp_gradient(*(w + sign * step * v for w, v in zip(weights, g, strict=True)), x, y, 200.0) for sign in (1, -1)
    ]
    for path, w, up, down in zip(mask, weights, *ends, strict=True):
        authors = -w * (up - down) / (2 * step)  # of which they remove the largest
        np.testing.assert_allclose(found[path], -authors, rtol=1e-3, atol=1e-4 * np.abs(authors).max())


def test_synflow_is_the_product_of_absolute_weights():
    model, _, _, (w1, w2) = pruned_mlp()
    ones_in, ones_out = np.ones((1, 6)), np.ones((5, 1))
    total = (ones_in @ abs(w1) @ abs(w2) @ ones_out).item()
    found = scores_of("synflow", model)
    first = abs(w1) * (ones_in.T @ (abs(w2) @ ones_out).T) / total
    second = abs(w2) * ((ones_in @ abs(w1)).T @ ones_out.T) / total
    np.testing.assert_allclose(found["hidden/kernel"], first, rtol=1e-5)
    np.testing.assert_allclose(found["classifier/kernel"], second, rtol=1e-5)


def test_lamp_is_the_authors_formula_on_the_weights_left():
    model, mask, _, weights = pruned_mlp()
    found = scores_of("lamp", model, mask=mask)
    for path, w in zip(mask, weights, strict=True):
        rising = np.sort(w[mask[path]] ** 2)
        expected = [square / rising[u:].sum() for u, square in enumerate(rising)]
        np.testing.assert_allclose(np.sort(found[path][mask[path]]), expected, rtol=1e-6)
        assert found[path].max() == 1
        assert not found[path][~mask[path]].any()


def test_equal_weights_have_falling_lamp_scores():
    found = scores_of("lamp", line([2, -2, 2]))
    np.testing.assert_allclose(found["out/kernel"].ravel(), [1, 1 / 2, 1 / 3])


@pytest.mark.parametrize("padding", ["valid", "same"])
def test_wanda_takes_the_length_over_all_positions(padding):
    inputs = keras.Input((6, 6, 3), name="images")
    conv = keras.layers.Conv2D(2, 3, strides=2, padding=padding, activation="relu", name="conv")
    head = keras.layers.Dense(5, name="classifier")
    outputs = head(keras.layers.Flatten(name="flatten")(conv(inputs)))
    model = nets.compile_for_test(kt.masked(keras.Model(inputs, outputs, name="strided")))
    x, y = nets.batch(model, 4)
    found = scores_of("wanda", model, (x, y))["conv/kernel"]
    extra = (0, 1) if padding == "same" else (0, 0)  # 6 = 2 x 3: one row after, as TensorFlow pads
    padded = np.pad(x, ((0, 0), extra, extra, (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))[:, ::2, ::2]
    lengths = np.sqrt((windows.astype(float) ** 2).sum((0, 1, 2))).transpose(1, 2, 0)  # kh, kw, c_in
    kernel = kt.get_params(model)["conv/kernel"]
    np.testing.assert_allclose(found, np.abs(kernel) * lengths[..., None], rtol=1e-4)


def test_wanda_of_a_layer_that_is_used_twice_counts_both_uses():
    model = nets.compile_for_test(kt.masked(nets.nested()))
    x, y = nets.batch(model)
    params = kt.get_params(model)
    w, b = params["shared/kernel"], params["shared/bias"]
    once = x @ w + b
    lengths = np.sqrt((x.astype(float) ** 2).sum(0) + (once.astype(float) ** 2).sum(0))
    found = scores_of("wanda", model, (x, y))["shared/kernel"]
    np.testing.assert_allclose(found, np.abs(w) * lengths[:, None], rtol=1e-4)


def data_for(criterion: str, model):
    return kt.get_params(model) if criterion == "magnitude_at_init" else nets.batch(model)


@pytest.mark.parametrize("criterion", CRITERIA)
def test_scores_follow_from_the_arguments_and_leave_the_model_alone(criterion):
    model = nets.compile_for_test(kt.masked(nets.small_convnet()))
    mask, data, rng = nets.half_mask(model), data_for(criterion, model), np.random.default_rng
    params = masks.zeroed(kt.get_params(model), mask)
    kt.set_mask(model, mask)
    expected = CRITERIA[criterion](model, params, mask, data, rng(0))
    before = raw_params(model)
    masks.check_scores(expected, mask)
    kt.set_mask(model, {path: np.ones_like(array) for path, array in mask.items()})
    kt.set_params(model, {path: array + 1 for path, array in params.items()})
    moved = raw_params(model)
    again = CRITERIA[criterion](model, params, mask, data, rng(0))
    noisy = {path: np.where(mask[path], a, 9).astype(a.dtype) if path in mask else a for path, a in params.items()}
    garbage = CRITERIA[criterion](model, noisy, mask, data, rng(0))
    for path, kept in mask.items():
        np.testing.assert_array_equal(expected[path][kept], again[path][kept])
        np.testing.assert_array_equal(expected[path][kept], garbage[path][kept])
    assert not differing(moved, raw_params(model))
    assert differing(moved, before)
    policies = {layer.dtype_policy.name for layer in model._flatten_layers()}
    assert policies == {"float32"}
    assert model.get_layer("relu")(-np.ones((1, 1), "float32")) == 0  # its call is back


@pytest.mark.parametrize("criterion", NEED_DATA)
def test_many_batches_count_as_one(criterion, monkeypatch):
    model = nets.compile_for_test(kt.masked(nets.mlp()))
    whole = scores_of(criterion, model, nets.batch(model, 25))
    monkeypatch.setattr(network, "BATCH_SIZE", 10)
    parts = scores_of(criterion, model, nets.batch(model, 25))
    for path, array in whole.items():
        np.testing.assert_allclose(array, parts[path], rtol=1e-4, atol=1e-4 * np.abs(array).max())


def test_data_may_be_an_image_set_or_a_pipeline():
    digits = kt.data.load("digits", images_per_class=2)
    model = nets.compile_for_test(kt.masked(kt.models.lenet_300_100((16, 16, 1), 10, seed=0)))
    batches = kt.data.pipeline(digits, batch_size=20, shuffle=False)
    whole, piped = scores_of("snip", model, digits), scores_of("snip", model, batches)
    for path, array in whole.items():
        np.testing.assert_allclose(array, piped[path], rtol=1e-4, atol=1e-9)


def vgg() -> keras.Model:
    """Four convolutions in two blocks with pooling, batch norm and biases, then two Dense layers."""
    x = inputs = keras.Input((8, 8, 3), name="images")
    for block, width in enumerate((6, 8), start=1):
        for index in (1, 2):
            name = f"conv_{block}_{index}"
            x = keras.layers.Conv2D(width, 3, padding="same", bias_initializer="ones", name=name)(x)
            x = keras.layers.BatchNormalization(name=f"norm_{block}_{index}")(x)
            x = keras.layers.ReLU(6.0, name=f"relu_{block}_{index}")(x)
        x = keras.layers.MaxPooling2D(name=f"pool_{block}")(x)
    x = keras.layers.Dense(12, activation="gelu", name="hidden")(keras.layers.Flatten(name="flatten")(x))
    return keras.Model(inputs, keras.layers.Dense(5, activation="softmax", name="classifier")(x), name="vgg")


FLOWING = {
    "vgg": vgg,
    "convnet with instance norm and pooling": lambda: kt.models.convnet((8, 8, 3), 5, width=4, depth=2, seed=0),
    "nested": nets.nested,
}


@pytest.mark.parametrize("build", FLOWING)
@given(seed=st.integers(0, 1000))
@settings(max_examples=3, deadline=None, phases=[Phase.generate])
def test_synflow_is_conserved_from_layer_to_layer(build, seed):
    model = kt.masked(FLOWING[build]())
    rng = np.random.default_rng(seed)
    params = {
        p: a if a.dtype.kind == "i" else rng.normal(size=a.shape).astype(a.dtype)
        for p, a in kt.get_params(model).items()
    }
    params = {p: np.abs(a) if "moving_variance" in p else a for p, a in params.items()}
    mask = {path: rng.random(array.shape) < 0.7 for path, array in kt.get_mask(model).items()}
    scores = CRITERIA["synflow"](model, params, mask, None, rng)
    for path, array in scores.items():
        uses = 2 if path == "shared/kernel" else 1
        assert (array >= 0).all()
        assert array.sum() == pytest.approx(uses, rel=1e-4)


def test_synflow_of_a_residual_network_shares_the_flow_among_its_branches():
    model = kt.masked(kt.models.resnet10((8, 8, 2), 5, width=2, seed=0))
    sums = [float(array.sum()) for array in scores_of("synflow", model).values()]
    assert sums[0] == pytest.approx(1, rel=1e-4)  # all paths pass the first and the last kernel,
    assert sums[-1] == pytest.approx(1, rel=1e-4)
    assert all(0 < value < 1 - 1e-4 for value in sums[1:-1])  # and some pass by each of the others


@pytest.mark.parametrize("size", [1e-3, 1e3])
def test_synflow_neither_overflows_nor_vanishes_in_deep_nets(size):
    x = inputs = keras.Input((6,), name="features")
    for index in range(40):  # gains of 1e-3 or 6e3 a layer, 1e-120 or 1e151 in all
        x = keras.layers.Dense(6, activation="relu", name=f"hidden_{index}")(x)
    model = kt.masked(keras.Model(inputs, x, name="deep"))
    rng = np.random.default_rng(0)
    params = {p: (size * rng.uniform(0.5, 1, a.shape)).astype("float32") for p, a in kt.get_params(model).items()}
    scores = CRITERIA["synflow"](model, params, kt.get_mask(model), None, rng)
    assert len(scores) == 40
    for array in scores.values():
        assert array.sum() == pytest.approx(1, rel=1e-4)
        assert (array > 0).all()


def barrel() -> keras.Model:
    """Kernels of 96, 576, 96 and 20 weights: SynFlow's mean score is one over these."""
    x = inputs = keras.Input((4,), name="features")
    for index, width in enumerate((24, 24, 4), start=1):
        x = keras.layers.Dense(width, activation="relu", name=f"hidden_{index}")(x)
    return keras.Model(inputs, keras.layers.Dense(5, name="classifier")(x), name="barrel")


def test_synflow_in_a_hundred_steps_empties_no_layer_where_one_step_does():
    model, rng = kt.masked(barrel()), np.random.default_rng(0)
    params = {p: rng.normal(size=a.shape).astype("float32") for p, a in kt.get_params(model).items()}
    whole = kt.get_mask(model)
    total, target, steps = masks.total(whole), 3 * len(whole), 100
    mask = whole
    for step in range(1, steps + 1):
        scores = CRITERIA["synflow"](model, masks.zeroed(params, mask), mask, None, None)
        mask = masks.keep_top(scores, mask, round(total * (target / total) ** (step / steps)))
    assert masks.kept(mask) == target
    assert min(int(array.sum()) for array in mask.values()) >= 1
    once = masks.keep_top(CRITERIA["synflow"](model, params, whole, None, None), whole, target)
    assert not once["hidden_2/kernel"].any()


def test_synflow_scores_nothing_where_no_path_is_left():
    model, mask, _, _ = pruned_mlp()
    cut = mask | {"hidden/kernel": np.zeros_like(mask["hidden/kernel"])}
    assert not any(array.any() for array in scores_of("synflow", model, mask=cut).values())


def gated() -> keras.Model:
    inputs = keras.Input((6,), name="features")
    hidden = keras.layers.Dense(6, name="hidden")(inputs)
    product = keras.layers.Multiply(name="gate")([hidden, inputs])
    return keras.Model(inputs, keras.layers.Dense(5, name="classifier")(product), name="gated")


def test_synflow_refuses_what_is_no_sum_of_paths():
    with pytest.raises(ValueError, match="linear once its activations are.*gated"):
        scores_of("synflow", kt.masked(gated()))


def open_shape() -> keras.Model:
    inputs = keras.Input((None, 6), name="features")
    return keras.Model(inputs, keras.layers.Dense(5, name="classifier")(inputs), name="open")


def test_synflow_refuses_inputs_of_unknown_shape():
    with pytest.raises(ValueError, match="one input of known shape.*open"):
        scores_of("synflow", kt.masked(open_shape()))


@pytest.mark.parametrize("criterion", NEED_DATA)
def test_criteria_that_need_data_say_so(criterion):
    model = nets.compile_for_test(kt.masked(nets.mlp()))
    with pytest.raises(ValueError, match=f"'{criterion}' needs examples.*data=None"):
        scores_of(criterion, model)
    with pytest.raises(ValueError, match=f"'{criterion}' needs data=.*type ndarray"):
        scores_of(criterion, model, np.ones((3, 6)))
    with pytest.raises(ValueError, match=f"'{criterion}' needs at least one example"):
        scores_of(criterion, model, (np.ones((0, 6)), np.ones((0, 5))))


@pytest.mark.parametrize("criterion", [name for name in NEED_DATA if name != "wanda"])
def test_a_model_without_a_loss_is_refused(criterion):
    model = kt.masked(nets.mlp())
    with pytest.raises(ValueError, match="compiled with one loss.*not compiled"):
        scores_of(criterion, model, nets.batch(model))


def test_wanda_refuses_whole_numbers():
    inputs = keras.Input((6,), dtype="int32", name="tokens")
    outputs = keras.layers.Dense(5, autocast=False, name="classifier")(inputs)
    model = nets.compile_for_test(kt.masked(keras.Model(inputs, outputs, name="tokens")))
    with pytest.raises(ValueError, match="floating inputs.*classifier"):
        scores_of("wanda", model, (np.ones((2, 6), "int32"), np.ones((2, 5), "float32")))


@pytest.mark.parametrize("loss", ["categorical_crossentropy", keras.losses.CategoricalCrossentropy()])
def test_grasp_refuses_a_loss_of_probabilities(loss):
    model = kt.masked(nets.mlp())
    model.compile("sgd", loss)
    with pytest.raises(ValueError, match="takes probabilities.*from_logits=True"):
        scores_of("grasp", model, nets.batch(model))


def layer_normed() -> keras.Model:
    inputs = keras.Input((6,), name="features")
    hidden = keras.layers.LayerNormalization(name="norm")(keras.layers.Dense(6, name="hidden")(inputs))
    return keras.Model(inputs, keras.layers.Dense(5, name="classifier")(hidden), name="layer_normed")


def test_grasp_refuses_layers_whose_second_derivatives_are_wrong():
    model = nets.compile_for_test(kt.masked(layer_normed()))
    if keras.config.backend() == "tensorflow":
        with pytest.raises(ValueError, match=r"second derivatives.*'norm'"):
            scores_of("grasp", model, nets.batch(model))
    else:
        assert scores_of("grasp", model, nets.batch(model))


def test_magnitude_at_init_takes_a_ticket_and_nothing_else():
    model = kt.masked(nets.mlp())
    dense = kt.Ticket.dense(model)
    kt.set_params(model, {path: array + 1 for path, array in dense.params.items()})
    found = scores_of("magnitude_at_init", model, dense)
    np.testing.assert_array_equal(found["hidden/kernel"], np.abs(dense.params["hidden/kernel"]))
    with pytest.raises(ValueError, match="needs the initial weights.*NoneType"):
        scores_of("magnitude_at_init", model)
    with pytest.raises(ValueError, match="initial weights of this model.*hidden/kernel"):
        scores_of("magnitude_at_init", model, {"classifier/kernel": dense.params["classifier/kernel"]})


def test_an_unknown_criterion_is_refused_with_those_near_it():
    with pytest.raises(ValueError, match=r"grasp.*snip.*synflow.*criterion='synflo'. Did you mean 'synflow'"):
        criteria.get("synflo")
    own = criteria.get("snip")
    assert criteria.get(own) is own


def test_wanda_refuses_layers_that_are_not_linear_in_one_kernel():
    inputs = keras.Input((4, 3), name="inputs")
    model = kt.masked(keras.Model(inputs, keras.layers.LSTM(5, name="read")(inputs), name="recurrent"))
    with pytest.raises(ValueError, match="one kernel.*'lstm_cell' of type MaskedLSTMCell"):
        scores_of("wanda", model, (np.ones((2, 4, 3), "float32"), np.ones((2, 5), "float32")))
