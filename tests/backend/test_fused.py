"""Fused operations: values and derivatives up to the third order, against the plain form and differences."""

import keras
import numpy as np
import pytest
from keras import ops

import kerasticket as kt
from kerasticket.backend import autodiff, fused
from kerasticket.backend.fused import plain
from kerasticket.layers import BatchNormalization, InstanceNormalization

RNG = np.random.default_rng(0)
SHAPES = [(3, 8, 6, 4), (2, 34, 4, 3), (1, 2, 2, 1), (2, 7, 5, 2)]
FORMS = [(relu, pool) for relu in (False, True) for pool in (1, 2)]


def inputs(shape, dtype="float32", seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(0.3, 2.0, shape)
    return tuple(a.astype(dtype) for a in (x, rng.normal(1.0, 0.2, shape[-1]), rng.normal(0.0, 0.3, shape[-1])))


def fast(*arguments, **options):
    with fused.mode("always"):
        return fused.instance_norm(*arguments, epsilon=1e-5, **options)


def slow(*arguments, relu=False, pool=1):
    return plain.instance_norm(*arguments, 1e-5, relu, pool)


def numbers(tree):
    return [ops.convert_to_numpy(each) for each in keras.tree.flatten(tree)]


def loss_of(norm, weights, **form):
    """A scalar of x, gamma and beta that weighs every output differently."""
    weights = ops.convert_to_tensor(weights)
    return lambda x, gamma, beta: ops.sum(ops.sin(norm(x, gamma, beta, **form)) * weights)


@pytest.mark.long_on_jax
@pytest.mark.parametrize(("relu", "pool"), FORMS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_instance_norm_and_its_gradients_equal_the_plain_form(shape, relu, pool):
    """Values to 1e-5, gradients of input, gamma and beta to 1e-5 of their largest."""
    arguments = [ops.convert_to_tensor(a) for a in inputs(shape)]
    form = {"relu": relu, "pool": pool}
    np.testing.assert_allclose(
        *map(ops.convert_to_numpy, (fast(*arguments, **form), slow(*arguments, **form))), atol=1e-5
    )
    pooled = (shape[0], shape[1] // pool, shape[2] // pool, shape[3])
    weights = RNG.normal(size=pooled).astype("float32")
    for argument in range(3):
        ours, expected = (
            numbers(autodiff.gradient(loss_of(norm, weights, **form), argument)(*arguments))[0] for norm in (fast, slow)
        )
        np.testing.assert_allclose(ours, expected, atol=1e-5 * max(1, abs(expected).max()))


@pytest.mark.parametrize(("relu", "pool"), FORMS)
def test_second_derivatives_equal_finite_differences(float64, relu, pool):
    """The Hessian-vector product for all arguments at once, in float64, against differences of the gradient."""
    arguments = [ops.convert_to_tensor(a) for a in inputs((2, 4, 4, 3), "float64")]
    weights = RNG.normal(size=(2, 4 // pool, 4 // pool, 3))
    loss = loss_of(fast, weights, relu=relu, pool=pool)

    def packed(values):
        return loss(*values)

    vector = [RNG.normal(size=a.shape) for a in inputs((2, 4, 4, 3), "float64")]
    ours = numbers(autodiff.hvp(packed)(arguments, [ops.convert_to_tensor(v) for v in vector]))
    slope, step = autodiff.gradient(packed), 1e-6
    ends = [
        numbers(slope([a + sign * step * ops.convert_to_tensor(v) for a, v in zip(arguments, vector, strict=True)]))
        for sign in (1, -1)
    ]
    for product, up, down in zip(ours, *ends, strict=True):
        np.testing.assert_allclose(product, (up - down) / (2 * step), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_second_derivatives_equal_the_plain_form(dtype):
    """In the input and in the gradient that came from above, as gradient matching has it; of several groups of rows."""
    x, gamma, beta = inputs((2, 34, 4, 3))
    slope, vector = RNG.normal(size=(2, 17, 2, 3)), RNG.normal(size=x.shape)
    arguments = [ops.cast(a.astype("float32"), dtype) for a in (x, slope, vector)]
    gamma, beta = ops.convert_to_tensor(gamma), ops.convert_to_tensor(beta)
    results = []
    for norm in (fast, slow):

        def along(x, slope, vector, norm=norm):
            first = autodiff.gradient(lambda x: ops.sum(norm(x, gamma, beta, relu=True, pool=2) * slope))
            return ops.sum(ops.cast(first(x) * vector, "float32"))

        seconds = (autodiff.gradient(along, argument)(*arguments) for argument in (0, 1))
        results.append(numbers([ops.cast(second, "float32") for second in seconds]))
    for ours, expected in zip(*results, strict=True):
        tolerance = 1e-5 if dtype == "float32" else 0.03
        np.testing.assert_allclose(ours, expected, atol=tolerance * abs(expected).max())


def test_third_derivatives_equal_finite_differences(float64):
    """The gradient of <Hessian-vector product, u>, against differences of it."""
    x, gamma, beta = inputs((2, 4, 4, 3), "float64")
    weights = ops.convert_to_tensor(RNG.normal(size=(2, 2, 2, 3)))
    product = autodiff.hvp(lambda x: loss_of(fast, weights, relu=True, pool=2)(x, gamma, beta))
    vector, u, direction = (ops.convert_to_tensor(RNG.normal(size=x.shape)) for _ in range(3))

    def along(x):
        return ops.sum(product(x, vector) * u)

    ours = float(ops.sum(autodiff.gradient(along)(ops.convert_to_tensor(x)) * direction))
    up, down = (float(along(ops.convert_to_tensor(x) + sign * 1e-6 * direction)) for sign in (1, -1))
    assert ours == pytest.approx((up - down) / 2e-6, rel=1e-5)


@pytest.mark.parametrize("kind", ["mean", "constant"])
def test_the_variance_keeps_its_digits(kind):
    """Neither a mean of 1,000 standard deviations nor a constant channel costs the fast form its accuracy."""
    x = RNG.normal(size=(2, 32, 32, 3)) + 1e3 if kind == "mean" else np.full((2, 8, 8, 3), 0.3)
    x = x.astype("float32")
    exact = x.astype("float64")
    expected = (exact - exact.mean((1, 2), keepdims=True)) / np.sqrt(exact.var((1, 2), keepdims=True) + 1e-5)
    ours = ops.convert_to_numpy(fast(ops.convert_to_tensor(x), ops.ones(3), ops.zeros(3)))
    np.testing.assert_allclose(ours, expected, atol=5e-3 if kind == "mean" else 1e-5)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_rounds_only_the_result(dtype):
    """Sums are of float32: 512 pixels of 300 +- 200 neither overflow nor lose the mean."""
    x = ops.cast(RNG.normal(300.0, 200.0, (2, 16, 32, 3)).astype("float32"), dtype)
    ours = fast(x, ops.ones(3), ops.zeros(3), relu=True, pool=2)
    expected = slow(ops.cast(x, "float32"), ops.ones(3), ops.zeros(3), relu=True, pool=2)
    assert keras.backend.standardize_dtype(ours.dtype) == dtype
    np.testing.assert_allclose(*(ops.convert_to_numpy(ops.cast(y, "float32")) for y in (ours, expected)), atol=2e-2)


@pytest.mark.parametrize("shape", [(6, 5, 4, 3), (6, 3), (6, 5, 3)], ids=str)
def test_batch_norm_is_that_of_keras(shape):
    """Outputs in training and inference, and moving statistics, equal those of Keras' own layer."""
    x, gamma, beta = inputs(shape)
    results = []
    for cls in (BatchNormalization, keras.layers.BatchNormalization):
        layer = cls(momentum=0.9, epsilon=1e-5, name="norm")
        layer.build(x.shape)
        layer.gamma.assign(gamma)
        layer.beta.assign(beta)
        y = layer(x, training=True)
        results.append(numbers([y, layer.moving_mean.value, layer.moving_variance.value, layer(x, training=False)]))
    for ours, expected in zip(*results, strict=True):
        np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_second_derivatives_of_batch_norm():
    """In float32, where TensorFlow's own operation runs: HVP against differences of the gradient, to 1%."""
    x, gamma, beta = (ops.convert_to_tensor(a) for a in inputs((4, 4, 4, 3)))
    weights = ops.convert_to_tensor(RNG.normal(size=(4, 4, 4, 3)).astype("float32"))

    def loss(x):
        return ops.sum(ops.sin(fused.batch_norm(x, gamma, beta, epsilon=1e-5)[0]) * weights)

    vector = ops.convert_to_tensor(RNG.normal(size=x.shape).astype("float32"))
    ours = numbers(autodiff.hvp(loss)(x, vector))[0]
    up, down = (numbers(autodiff.gradient(loss)(x + sign * 1e-2 * vector))[0] for sign in (1, -1))
    np.testing.assert_allclose(ours, (up - down) / 2e-2, atol=0.01 * abs(ours).max())


def test_gradients_of_batch_norm_equal_the_plain_form():
    """For input, gamma and beta."""
    arguments = [ops.convert_to_tensor(a) for a in inputs((4, 4, 4, 3))]
    weights = ops.convert_to_tensor(RNG.normal(size=(4, 4, 4, 3)).astype("float32"))
    for argument in range(3):
        ours, expected = (
            numbers(autodiff.gradient(lambda *a, f=f: ops.sum(ops.sin(f(*a)[0]) * weights), argument)(*arguments))[0]
            for f in (lambda *a: fused.batch_norm(*a, epsilon=1e-5), lambda *a: plain.batch_norm(*a, 1e-5))
        )
        np.testing.assert_allclose(ours, expected, atol=1e-5 * max(1, abs(expected).max()))


def test_renorm_is_left_to_keras():
    """Batch renormalization corrects with moving statistics; our fast form does not, so it must not be taken."""
    x = RNG.normal(2.0, 3.0, (6, 5, 4, 3)).astype("float32")
    results = []
    for cls in (BatchNormalization, keras.layers.BatchNormalization):
        try:
            layer = cls(renorm=True, name="norm")
        except (TypeError, ValueError):
            pytest.skip("this Keras has no renorm")
        results.append(numbers([layer(x, training=True), layer(x, training=True)]))
    for ours, expected in zip(*results, strict=True):
        np.testing.assert_array_equal(ours, expected)


def test_the_mode_is_a_choice_of_three():
    """Outside the context the mode is as before; an unknown one is refused."""
    before = fused.fast_forms()
    with fused.mode("never"):
        assert not fused.fast_forms()
    assert fused.fast_forms() == before
    with (
        pytest.raises(ValueError, match=r"Expected mode to be one of .* Received: mode='sometimes'"),
        fused.mode("sometimes"),
    ):
        pass


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_training_agrees_with_and_without(policy):
    """Five steps of a small ConvNet: losses agree to rounding in float32, to 2% in bfloat16."""
    import kerasticket as kt

    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 16, 16, 3)).astype("float32")
    y = np.eye(10, dtype="float32")[np.arange(40) % 10]
    losses = []
    before = keras.config.dtype_policy()
    for name in ("always", "never"):
        keras.config.set_dtype_policy(policy)
        try:
            with fused.mode(name):
                model = kt.masked(kt.models.convnet((16, 16, 3), 10, width=8, seed=0))
                model.compile(kt.optimizers.SGD(0.01), keras.losses.CategoricalCrossentropy(from_logits=True))
                losses.append([model.train_on_batch(x, y) for _ in range(5)])
        finally:
            keras.config.set_dtype_policy(before)
    np.testing.assert_allclose(*losses, rtol=1e-5 if policy == "float32" else 2e-2)


def test_pooling_and_relu_are_options_of_the_layer():
    """They survive the configuration, shape the output, and equal Keras' own layers behind the norm."""
    layer = InstanceNormalization(relu=True, pool_size=2, name="norm")
    twin = InstanceNormalization.from_config(layer.get_config())
    x = RNG.normal(size=(2, 7, 6, 3)).astype("float32")
    expected = keras.layers.AveragePooling2D(2)(ops.relu(InstanceNormalization()(x)))
    assert twin.compute_output_shape((None, 7, 6, 3)) == (None, 3, 3, 3)
    np.testing.assert_allclose(ops.convert_to_numpy(twin(x)), ops.convert_to_numpy(expected), atol=1e-5)
    with pytest.raises(ValueError, match=r"Expected pool_size >= 1.*Received: pool_size=0"):
        InstanceNormalization(pool_size=0)


@pytest.mark.skipif(keras.config.backend() != "tensorflow", reason="jit_compile is TensorFlow's here")
def test_a_model_that_xla_compiles_as_a_whole_is_trained_alike():
    """Clusters inside such a program would be refused: it takes the plain form."""
    x, y = np.random.default_rng(0).normal(size=(8, 8, 8, 3)).astype("float32"), np.eye(10, dtype="float32")[:8]
    losses = []
    for jit in (False, True):
        model = kt.models.convnet((8, 8, 3), 10, width=2, depth=1, seed=0)
        model.compile("sgd", keras.losses.CategoricalCrossentropy(from_logits=True), jit_compile=jit)
        losses.append(model.fit(x, y, epochs=2, shuffle=False, verbose=0).history["loss"])
        assert model.predict(x, verbose=0).shape == (8, 10)
    np.testing.assert_allclose(*losses, rtol=1e-5)


def test_a_known_batch_does_not_take_the_trace_of_an_unknown_one():
    """Else a process that has trained before would round otherwise than one that has not."""
    if keras.backend.backend() != "tensorflow":
        pytest.skip("the clusters are TensorFlow's")
    import tensorflow as tf

    from kerasticket.backend.fused.xla import cluster

    known, unknown = tf.TensorSpec((3, 2)), tf.TensorSpec((None, 2))
    doubled = cluster(lambda x: x + x)
    shapes = [tuple(tf.function(lambda x: doubled(x)).get_concrete_function(s).output_shapes) for s in (unknown, known)]
    assert shapes == [(None, 2), (3, 2)]
