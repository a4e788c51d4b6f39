"""The Hessian's diagonal and trace against Hessian-vector products, the dense Hessian and finite differences."""

import keras
import numpy as np
import pytest
from architectures import small
from differentiable_layers import LAYERS, MASKED_LAYERS
from hessians import dense_hessian, examples, ready
from keras import layers, ops
from nets import batch, compile_for_test, half_mask, mlp, nested

import kerasticket as kt
from kerasticket.analysis import curvature as curvature_file
from kerasticket.analysis import hessian_diagonal, hessian_trace
from kerasticket.analysis.curvature import Curvature
from kerasticket.analysis.results import Diagonal
from kerasticket.backend import autodiff
from kerasticket.models import MODELS
from kerasticket.models.paths import named_variables

pytestmark = pytest.mark.usefixtures("float64", "plain_operations")
CLASSES = 3


@pytest.fixture
def untraced(monkeypatch):
    """Where tracing takes longer than running nets as small as these; JAX would compile every operation by itself."""
    if keras.config.backend() == "tensorflow":
        monkeypatch.setattr(autodiff, "jit", lambda function: lambda *args: function(*autodiff._tensors(args)))


def layer_model(name: str) -> keras.Model:
    """Dense, the layer, tanh, Dense; half of its kernel pruned if the layer is masked."""
    build, shape = (LAYERS | MASKED_LAYERS)[name]
    inputs = keras.Input(shape, name="inputs")
    layer = build()
    x = layer(layers.Dense(shape[-1], name="before")(inputs))
    x = layers.Flatten(name="flatten")(layers.Activation("tanh", name="tanh")(x))
    model = keras.Model(inputs, layers.Dense(CLASSES, name="logits")(x))
    if name in MASKED_LAYERS:
        layer.set_mask(np.random.default_rng(2).random(layer.mask.shape) < 0.5)
    return ready(model)


def trainable(model: keras.Model) -> list[str]:
    """Canonical paths of the trainable weights."""
    wanted = {id(variable) for variable in model.trainable_variables}
    return [path for path, variable in named_variables(model).items() if id(variable) in wanted]


def some(model: keras.Model, paths=None, count: int = 2) -> dict[str, np.ndarray]:
    """A few surviving coordinates of each weight, or of those at these paths."""
    rng, mask, chosen = np.random.default_rng(3), kt.get_mask(model), {}
    names = kt.get_params(model)
    for path in paths or trainable(model):
        kept = np.flatnonzero(mask.get(path, np.ones(names[path].shape, bool)))
        chosen[path] = np.zeros(names[path].size, bool)
        chosen[path][rng.choice(kept, min(count, kept.size), replace=False)] = True
        chosen[path] = chosen[path].reshape(names[path].shape)
    return chosen


def by_products(model: keras.Model, data, chosen) -> dict[str, np.ndarray]:
    """e' H e by Hessian-vector products, which test_autodiff.py holds against finite differences."""
    loss = autodiff.functional_loss(model, keras.losses.get(model.loss))
    product = autodiff.jit(autodiff.hvp(loss))
    values = [np.array(ops.convert_to_numpy(v)) for v in model.trainable_variables]
    of = {id(v): path for path, v in named_variables(model).items()}
    expected = {path: np.zeros(mask.shape) for path, mask in chosen.items()}
    for index, variable in enumerate(model.trainable_variables):
        path = of[id(variable)]
        for position in np.flatnonzero(chosen.get(path, np.zeros(1, bool))):
            direction = [np.zeros_like(v) for v in values]
            direction[index].flat[position] = 1
            moved = product(values, direction, *data)[index]
            expected[path].flat[position] = ops.convert_to_numpy(moved).flat[position]
    return expected


def check_against_products(model: keras.Model, paths=None, count: int = 2) -> Diagonal:
    data, chosen = examples(model), some(model, paths, count)
    diagonal = hessian_diagonal(model, data, coordinates=chosen)
    expected = by_products(model, data, chosen)
    largest = max(np.abs(array).max() for array in expected.values())
    for path, mask in chosen.items():
        np.testing.assert_array_equal(diagonal.sampled[path], mask)
        np.testing.assert_allclose(diagonal.values[path], expected[path], rtol=1e-9, atol=1e-12 * largest, err_msg=path)
    return diagonal


@pytest.mark.usefixtures("untraced")
@pytest.mark.parametrize("name", [*LAYERS, *MASKED_LAYERS])
def test_exact_diagonal_of_every_layer(name):
    """Equal to Hessian-vector products; all by Taylor mode but what lies before pooling in windows that overlap."""
    model = layer_model(name)
    own = [path for path in trainable(model) if not path.startswith(("before/bias", "logits"))]
    methods = check_against_products(model, own).methods
    slow = {path for path, method in methods.items() if method != "taylor"}
    assert slow == set(["before/kernel"] if name == "max_pooling" else [])


def few_paths(model: keras.Model) -> list[str]:
    """Of the first, a middle and the last layer: deep nets take their time."""
    paths = trainable(model)
    return [paths[i] for i in (0, len(paths) // 2, len(paths) - 2)]


# Every kind of layer is tested on each backend above; of whole networks, two are.
MARKS = {name: [] if name in ("convnet", "resnet10") else [pytest.mark.same_on_every_backend] for name in MODELS}
MARKS |= {name: [pytest.mark.slow] for name in MODELS if "resnet18" in name}


@pytest.mark.usefixtures("untraced")
@pytest.mark.parametrize("name", [pytest.param(name, marks=marks) for name, marks in MARKS.items()])
def test_exact_diagonal_of_every_model(name):
    """Equal to Hessian-vector products; only the stems of ImageNet's ResNets have no rule, for their max pooling."""
    model = ready(kt.masked(small(name)))
    kt.set_mask(model, half_mask(model))
    methods = check_against_products(model, few_paths(model), 1).methods
    slow = {path for path, method in methods.items() if method == "products"}
    assert slow == ({"stem_conv/kernel"} if name.endswith("imagenet") else set())


class Subclassed(keras.Model):
    """A model without a graph."""

    def __init__(self):
        super().__init__(name="subclassed")
        self.hidden = layers.Dense(3, activation="tanh", name="hidden")
        self.out = layers.Dense(CLASSES, name="out")

    def call(self, inputs, training=None):
        return self.out(self.hidden(inputs))


def subclassed() -> keras.Model:
    model = Subclassed()
    model(np.zeros((1, 4)))
    return model


def shared() -> keras.Model:
    inputs = keras.Input((4,), name="inputs")
    twice = layers.Dense(4, activation="tanh", name="twice")
    return keras.Model(inputs, layers.Dense(CLASSES, name="out")(twice(twice(inputs))), name="shared")


def functions() -> keras.Model:
    """A residual net written with operations, for which there are no rules."""
    inputs = keras.Input((4,), name="inputs")
    x = layers.Dense(4, name="one")(inputs)
    return keras.Model(inputs, layers.Dense(CLASSES, name="out")(ops.tanh(x) + inputs), name="functions")


def softmax() -> keras.Model:
    stack = [keras.Input((4,)), layers.Dense(3, activation="gelu", name="one")]
    return keras.Sequential([*stack, layers.Dense(CLASSES, activation="softmax", name="out")], name="softmax")


def sequence() -> keras.Model:
    stack = [keras.Input((5, 2)), layers.Conv1D(2, 3, padding="causal", activation="elu", name="one")]
    return keras.Sequential([*stack, layers.Dense(CLASSES, name="out")], name="sequence")


def residual() -> keras.Model:
    """A branch and its shortcut, both with weights behind the first convolution."""
    inputs = keras.Input((4, 4, 2), name="inputs")
    x = layers.Conv2D(2, 1, name="stem")(inputs)
    y = layers.Conv2D(2, 2, padding="same", activation="tanh", name="branch")(x)
    x = layers.GlobalAveragePooling2D(name="mean")(layers.Add(name="add")([y, x]))
    return keras.Model(inputs, layers.Dense(CLASSES, name="out")(x), name="residual")


def one_number() -> keras.Model:
    return keras.Sequential(
        [keras.Input((4,)), layers.Dense(2, activation="silu", name="one"), layers.Dense(1, name="out")]
    )


CROSS_ENTROPY = keras.losses.CategoricalCrossentropy
NETS = {  # model, loss, weights that Taylor mode does not reach
    "subclassed": (subclassed, CROSS_ENTROPY(from_logits=True), {"hidden", "out"}),
    "shared": (shared, CROSS_ENTROPY(from_logits=True), {"twice"}),
    "functions": (functions, CROSS_ENTROPY(from_logits=True), {"one"}),
    # On TensorFlow the loss looks at the logits behind the softmax, which Taylor mode does not hand it.
    "softmax": (softmax, CROSS_ENTROPY(), {"one", "out"} if keras.backend.backend() == "tensorflow" else set()),
    "sequence": (sequence, CROSS_ENTROPY(from_logits=True, label_smoothing=0.1), set()),
    "residual": (residual, CROSS_ENTROPY(from_logits=True), set()),
    "mse": (one_number, "mse", set()),
    "batch": (one_number, lambda y, p: ops.square(ops.sum(y - p)), {"one", "out"}),
}


def by_differences(model: keras.Model, curvature: Curvature, step: float = 1e-5) -> np.ndarray:
    """The dense Hessian by central differences of the gradient."""
    slope = autodiff.jit(autodiff.gradient(autodiff.functional_loss(model, curvature.loss)))
    values = {path: np.array(ops.convert_to_numpy(v)) for path, v in curvature.variables.items()}
    (inputs, targets, _) = curvature.batches[0]

    def gradient(e):
        moved = [values[path] + part for path, part in curvature.split(e).items()]
        slopes = slope(moved, inputs, targets)
        return curvature.join(dict(zip(values, map(ops.convert_to_numpy, slopes), strict=True)))

    columns = [(gradient(step * e) - gradient(-step * e)) / (2 * step) for e in np.eye(curvature.size)]
    return np.stack(columns, axis=1)


@pytest.mark.parametrize("name", NETS)
def test_exact_diagonal_against_the_dense_hessian(name):
    """The whole of it, and the trace; the dense Hessian, by products, is symmetric and that of finite differences."""
    build, loss, slow = NETS[name]
    model = ready(build(), loss)
    rng = np.random.default_rng(1)
    inputs = rng.normal(size=(3, *(model.input_shape[1:] if name != "subclassed" else (4,))))
    classes = 1 if build is one_number else CLASSES
    shape = (3, 5) if name == "sequence" else (3,)
    targets = rng.normal(size=(3, 1)) if classes == 1 else np.eye(classes)[rng.integers(0, classes, shape)]
    curvature = Curvature(model, (inputs, targets))
    dense = dense_hessian(curvature)
    np.testing.assert_allclose(dense, dense.T, atol=1e-12)
    np.testing.assert_allclose(dense, by_differences(model, curvature), atol=1e-7)
    diagonal = hessian_diagonal(model, (inputs, targets))
    np.testing.assert_allclose(curvature.join(diagonal.values), np.diag(dense), rtol=1e-9, atol=1e-13)
    assert {path.partition("/")[0] for path, how in diagonal.methods.items() if how == "products"} == slow
    assert diagonal.trace == (pytest.approx(np.trace(dense), rel=1e-9), 0)


@pytest.mark.usefixtures("untraced")
def test_a_layer_used_twice_and_a_model_in_a_model():
    """By canonical path, the shared weight once."""
    model = ready(nested())
    data = examples(model)
    diagonal = hessian_diagonal(model, data, coordinates=some(model))
    assert diagonal.methods["shared/kernel"] == "products"
    assert diagonal.methods["mlp/hidden/kernel"] == "taylor"
    assert list(diagonal.values) == list(kt.get_params(model))


def masked_net() -> keras.Model:
    model = ready(kt.masked(mlp()))
    kt.set_mask(model, half_mask(model))
    return model


@pytest.mark.usefixtures("untraced")
def test_pruned_coordinates_are_exactly_zero_and_not_counted():
    """In the values, the sample, the counts and the statistics."""
    model = masked_net()
    diagonal, mask = hessian_diagonal(model, examples(model)), kt.get_mask(model)
    for path, kept in mask.items():
        assert not diagonal.values[path][~kept].any()
        np.testing.assert_array_equal(diagonal.sampled[path], kept)
    pruned = sum(int((~kept).sum()) for kept in mask.values())
    assert (diagonal.surviving, diagonal.pruned) == (model.count_params() - 48 - 40 - pruned, pruned)
    assert diagonal.statistics().count == diagonal.surviving
    assert diagonal.statistics(surviving_only=False).count == diagonal.surviving + pruned


@pytest.mark.usefixtures("untraced")
def test_a_drawn_sample_is_part_of_the_whole():
    """The values are those of the full diagonal, the draw is a function of the seed, and all weights have a chance."""
    model = masked_net()
    data = examples(model)
    whole = hessian_diagonal(model, data)
    sample = hessian_diagonal(model, data, coordinates=9, seed=1)
    for path, mask in sample.sampled.items():
        np.testing.assert_allclose(sample.values[path], np.where(mask, whole.values[path], 0), rtol=1e-9, atol=1e-14)
        assert not (mask & ~whole.sampled[path]).any()
    assert sum(mask.sum() for mask in sample.sampled.values()) == 9 == sample.statistics().count

    curvature = Curvature(model, data)
    draws = [curvature.join(kt.analysis.hessian._chosen(curvature, 9, seed)) for seed in range(400)]
    np.testing.assert_array_equal(draws[1], curvature.join(sample.sampled))
    expected = 400 * 9 / curvature.size
    assert np.abs(np.sum(draws, axis=0) - expected).max() < 6 * np.sqrt(expected)
    assert curvature.join(kt.analysis.hessian._chosen(curvature, curvature.size, 0)).all()


@pytest.mark.usefixtures("untraced")
@pytest.mark.parametrize("method", ["exact", "hutchinson"])
def test_the_mean_over_all_examples(method, monkeypatch):
    """However they come: as arrays, in batches of a pipeline, cut in pieces; float64 arrays for a float32 model too."""
    import tensorflow as tf

    model = masked_net()
    inputs, targets = examples(model, 7)
    options = {"method": method, "coordinates": some(model), "probes": 3}
    whole = hessian_diagonal(model, (inputs, targets), **options)
    monkeypatch.setattr(curvature_file, "BATCH", 3)
    cut = hessian_diagonal(model, (inputs, targets), **options)
    pipeline = tf.data.Dataset.from_tensor_slices((inputs, targets)).batch(2)
    read = hessian_diagonal(model, pipeline, batches=4, **options)
    first = hessian_diagonal(model, pipeline.repeat(), batches=1, **options)
    two = hessian_diagonal(model, (inputs[:2], targets[:2]), **options)
    for path in whole.values:
        for a, b in ((cut, whole), (read, whole), (first, two)):
            np.testing.assert_allclose(a.values[path], b.values[path], rtol=1e-9, atol=1e-14)
    assert (whole.examples, cut.examples, read.examples, first.examples) == (7, 7, 7, 2)


@pytest.mark.usefixtures("untraced")
def test_the_model_is_left_as_it_is_also_by_a_fit_in_between():
    """Weights, and results after training are those of the trained weights."""
    model = ready(mlp())
    x, y = batch(model, 8)
    before = kt.get_params(model)
    hessian_diagonal(model, (x, y), coordinates=5)
    for path, array in kt.get_params(model).items():
        np.testing.assert_array_equal(array, before[path])
    model.fit(x, y, verbose=0)
    check_against_products(model)


@pytest.fixture
def exact_operator(monkeypatch):
    """A masked net whose products come from its dense Hessian: the estimators are NumPy then, and quick."""
    model = masked_net()
    data = examples(model)
    curvature = Curvature(model, data)
    dense = dense_hessian(curvature)
    monkeypatch.setattr(Curvature, "product", lambda self, vector: dense @ vector)
    return model, data, curvature, dense


def test_hutchinson_is_unbiased_and_knows_its_error(exact_operator):
    """Against the dense Hessian: the variance of an entry is the sum of its row's other squares, over the probes."""
    model, data, curvature, dense = exact_operator
    diagonal = hessian_diagonal(model, data, method="hutchinson", probes=4000)
    error = np.sqrt((np.sum(dense**2, axis=1) - np.diag(dense) ** 2) / 4000)
    reported = curvature.join(diagonal.standard_error)
    np.testing.assert_allclose(reported, error, rtol=0.15, atol=1e-6)
    deviation = (curvature.join(diagonal.values) - np.diag(dense))[error > 0] / error[error > 0]
    assert np.abs(deviation).max() < 5
    assert 0.7 < np.std(deviation) < 1.3  # entries share their probes
    row = diagonal.statistics()
    assert (row.minimum, row.maximum, row.magnitude) == (None, None, None)
    assert row.noise == pytest.approx(np.sqrt(np.mean(error**2)), rel=0.1)
    assert row.std == pytest.approx(np.std(np.diag(dense)), rel=0.05)
    assert diagonal.probes == 4000


def test_the_trace_and_its_error(exact_operator):
    """Var(z' H z) is twice the sum of the squares off the diagonal; estimates lie within errors of the trace."""
    model, data, _, dense = exact_operator
    assert hessian_trace(model, data, method="exact") == (pytest.approx(np.trace(dense), rel=1e-9), 0)
    variance = 2 * (np.sum(dense**2) - np.sum(np.diag(dense) ** 2))
    draws = [hessian_trace(model, data, probes=50, seed=seed) for seed in range(60)]
    errors = np.array([draw.standard_error for draw in draws])
    assert np.mean(errors**2) == pytest.approx(variance / 50, rel=0.15)
    deviation = (np.array([draw.value for draw in draws]) - np.trace(dense)) / errors
    assert abs(deviation.mean()) < 0.5
    assert 0.7 < deviation.std() < 1.3


def test_probes_on_chosen_coordinates_only(exact_operator):
    """Then other rows and columns add no noise: with one coordinate there is none."""
    model, data, curvature, dense = exact_operator
    where = np.zeros(curvature.size, bool)
    where[3] = True
    diagonal = hessian_diagonal(model, data, method="hutchinson", coordinates=curvature.split(where), probes=2)
    assert curvature.join(diagonal.values)[3] == pytest.approx(dense[3, 3])
    assert not curvature.join(diagonal.standard_error).any()


def test_the_trace_of_a_sample_has_an_error(exact_operator):
    """Drawn coordinates stand for all; over many draws, the errors are as large as reported."""
    _, _, curvature, dense = exact_operator
    h, size = np.diag(dense), curvature.size
    draws = []
    for seed in range(300):
        chosen = kt.analysis.hessian._chosen(curvature, 20, seed)
        values = curvature.split(np.where(curvature.join(chosen), h, 0))
        draws.append(Diagonal(values, chosen, {}, size, curvature.pruned, 3).trace)
    spread = np.std([draw.value for draw in draws])
    assert np.sqrt(np.mean([draw.standard_error**2 for draw in draws])) == pytest.approx(spread, rel=0.15)
    assert np.mean([draw.value for draw in draws]) == pytest.approx(h.sum(), abs=4 * spread / np.sqrt(300))


@pytest.mark.usefixtures("untraced")
def test_save_and_load(tmp_path):
    """Every field comes back, on any machine; other files are refused."""
    model = masked_net()
    for method in ("exact", "hutchinson"):
        diagonal = hessian_diagonal(model, examples(model), method=method, coordinates=20, probes=2)
        diagonal.save(tmp_path / "hessian.h5")
        loaded = Diagonal.load(tmp_path / "hessian.h5")
        assert loaded.statistics() == diagonal.statistics()
        assert (loaded.methods, loaded.surviving, loaded.probes) == (
            diagonal.methods,
            diagonal.surviving,
            diagonal.probes,
        )
        for name in ("values", "sampled", "standard_error"):
            for path, array in (getattr(diagonal, name) or {}).items():
                np.testing.assert_array_equal(getattr(loaded, name)[path], array)
    with pytest.raises(ValueError, match="absent or damaged"):
        Diagonal.load(tmp_path / "none.h5")


def bad(name: str):
    """(model, data, options) that are refused, each for one reason."""
    model = masked_net()
    data, pruned = examples(model), ~kt.get_mask(model)["hidden/kernel"]
    path = "hidden/kernel"
    broken = masked_net()
    broken.get_layer("classifier").bias.assign(np.full(5, np.nan))
    random = keras.Sequential([keras.Input((6,)), layers.Dense(5, name="out"), AlwaysNoise(name="noise")])
    frozen = masked_net()
    frozen.trainable = False
    half = keras.Sequential([keras.Input((6,)), layers.Dense(5, name="out", dtype="mixed_bfloat16")])
    return {
        "method": (model, data, {"method": "newton"}, "method to be one of"),
        "probes": (model, data, {"method": "hutchinson", "probes": 1}, "at least 2 probes"),
        "none drawn": (model, data, {"coordinates": 0}, "coordinates from 1 to"),
        "too many": (model, data, {"coordinates": 10**6}, "coordinates from 1 to"),
        "a list": (model, data, {"coordinates": [1, 2]}, "coordinates from 1 to"),
        "unknown path": (model, data, {"coordinates": {"nowhere/kernel": np.ones(1, bool)}}, "nowhere/kernel"),
        "wrong shape": (model, data, {"coordinates": {path: np.ones(3, bool)}}, r"shape \(6, 8\)"),
        "wrong dtype": (model, data, {"coordinates": {path: np.ones((6, 8))}}, "dtype float64"),
        "pruned": (model, data, {"coordinates": {path: pruned}}, "pruned ones at 'hidden/kernel'"),
        "none chosen": (model, data, {"coordinates": {path: np.zeros((6, 8), bool)}}, "at least one coordinate"),
        "batches": (model, data, {"batches": 0}, "number of batches"),
        "too many batches": (model, data, {"batches": 2}, "arrays and image sets are one"),
        "no data": (model, (data[0][:0], data[1][:0]), {}, "at least one example"),
        "not compiled": (kt.masked(mlp()), data, {}, "compiled"),
        "not built": (keras.Sequential([layers.Dense(2)]), data, {}, "built"),
        "NaN": (broken, data, {}, "classifier/bias"),
        "random": (compile_for_test(random), data, {}, "random numbers"),
        "frozen": (frozen, data, {}, "trainable weights"),
        "half precision": (compile_for_test(half), data, {}, "bfloat16"),
        "two inputs": (compile_for_test(two_inputs()), data, {}, "one input"),
    }[name]


@keras.saving.register_keras_serializable(package="tests")
class AlwaysNoise(layers.Layer):
    """Draws random numbers in inference mode too."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seed_generator = keras.random.SeedGenerator(1)

    def call(self, inputs):
        return inputs + keras.random.normal(ops.shape(inputs), dtype=inputs.dtype, seed=self.seed_generator)


def two_inputs() -> keras.Model:
    a, b = keras.Input((6,), name="a"), keras.Input((6,), name="b")
    return keras.Model([a, b], layers.Dense(5, name="out")(layers.Add(name="add")([a, b])))


REASONS = (
    *("method", "probes", "none drawn", "too many", "a list", "unknown path", "wrong shape", "wrong dtype", "pruned"),
    *("none chosen", "batches", "too many batches", "no data", "not compiled", "not built", "NaN", "random", "frozen"),
    *("half precision", "two inputs"),
)


@pytest.mark.parametrize("reason", REASONS)
def test_bad_input_is_refused(reason):
    """Before any work, with what was received."""
    model, data, options, match = bad(reason)
    with pytest.raises(ValueError, match=match):
        hessian_diagonal(model, data, **options)


def test_norms_of_keras_are_refused_where_their_curvature_is_wrong():
    """On TensorFlow; elsewhere they are computed, and right."""
    stack = [keras.Input((4,)), layers.Dense(3, name="one"), layers.LayerNormalization(name="norm")]
    model = ready(keras.Sequential([*stack, layers.Dense(CLASSES, name="out")]))
    if keras.config.backend() == "tensorflow":
        with pytest.raises(ValueError, match=r"\['norm'\] on tensorflow"):
            hessian_diagonal(model, examples(model))
    else:
        curvature = Curvature(model, examples(model))
        np.testing.assert_allclose(dense_hessian(curvature), by_differences(model, curvature), atol=1e-6)
