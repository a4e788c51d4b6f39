"""The convolution of fused operations: its algorithm, its derivatives, and where layers take it."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

import kerasticket as kt
from kerasticket.backend import autodiff, fused
from kerasticket.layers.convolution import speed_up

RNG = np.random.default_rng(0)
ON_TENSORFLOW = pytest.mark.skipif(
    keras.config.backend() != "tensorflow", reason="only TensorFlow has a fast form of convolutions"
)
SHAPES = [(2, 4, 4, 64), (3, 12, 8, 64), (1, 8, 4, 70)]


def plainly(x, kernel):
    return ops.conv(x, kernel, strides=1, padding="same", data_format="channels_last")


def arguments(shape, filters=128, dtype="float32"):
    kernel = RNG.normal(size=(3, 3, shape[-1], filters)) / np.sqrt(9 * shape[-1])
    return [ops.convert_to_tensor(a.astype(dtype)) for a in (RNG.normal(size=shape), kernel)]


def close(ours, expected, tolerance=1e-5):
    """To a fraction of the largest entry."""
    ours, expected = ops.convert_to_numpy(ours), ops.convert_to_numpy(expected)
    np.testing.assert_allclose(ours, expected, rtol=0, atol=tolerance * abs(expected).max())


@pytest.fixture
def calls(monkeypatch):
    """The shapes that the fast form has convolved."""
    from kerasticket.backend.fused import winograd

    seen, original = [], winograd.convolution
    monkeypatch.setattr(winograd, "convolution", lambda x, kernel: seen.append(tuple(x.shape)) or original(x, kernel))
    return seen


@ON_TENSORFLOW
@settings(max_examples=50)
@given(
    window=st.lists(st.integers(-9, 9), min_size=6, max_size=6),
    kernel=st.lists(st.integers(-9, 9), min_size=3, max_size=3),
)
def test_the_matrices_correlate_along_one_axis(window, kernel):
    """Against NumPy's correlation."""
    from kerasticket.backend.fused.winograd import _KERNEL, _OUTPUT, _WINDOW

    ours = _OUTPUT @ ((_KERNEL @ kernel) * (_WINDOW @ window))
    np.testing.assert_allclose(ours, np.correlate(window, kernel), atol=1e-9)


@ON_TENSORFLOW
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_values_and_gradients_equal_the_plain_form(shape, calls):
    """In both arguments, to 1e-5 of the largest entry."""
    x, kernel = arguments(shape, filters=128)
    close(fused.convolution(x, kernel), plainly(x, kernel))
    assert calls == [shape]
    weights = ops.convert_to_tensor(RNG.normal(size=(*shape[:3], 128)).astype("float32"))
    for argument in (0, 1):
        ours, expected = (
            autodiff.gradient(lambda x, kernel, f=form: ops.sum(f(x, kernel) * weights), argument)(x, kernel)
            for form in (fused.convolution, plainly)
        )
        close(ours, expected)


@ON_TENSORFLOW
def test_second_derivatives_equal_finite_differences(float64):
    """The Hessian-vector product in image and kernel at once, of a loss that is not linear; float64."""
    from kerasticket.backend.fused import winograd

    at = arguments((2, 8, 4, 3), 2, "float64")
    vector = [ops.convert_to_tensor(RNG.normal(size=a.shape)) for a in at]
    weights = ops.convert_to_tensor(RNG.normal(size=(2, 8, 4, 2)))

    def loss(both):
        return ops.sum(ops.sin(winograd.convolution(*both)) * weights)

    ours, slope, step = autodiff.hvp(loss)(at, vector), autodiff.gradient(loss), 1e-6
    up, down = (slope([a + sign * step * v for a, v in zip(at, vector, strict=True)]) for sign in (1, -1))
    for product, above, below in zip(ours, up, down, strict=True):
        close(product, (above - below) / (2 * step), 1e-7)


@ON_TENSORFLOW
def test_second_derivatives_equal_the_plain_form():
    """In the image and in the slope from above, as gradient matching has them; float32."""
    x, kernel = arguments((2, 8, 8, 64))
    slope, vector = arguments((2, 8, 8, 128))[0], arguments((2, 8, 8, 64), 128)[1]
    results = []
    for form in (fused.convolution, plainly):

        def along(x, slope, form=form):
            first = autodiff.gradient(lambda kernel: ops.sum(form(x, kernel) * slope))
            return ops.sum(first(kernel) * vector)

        results.append([autodiff.gradient(along, argument)(x, slope) for argument in (0, 1)])
    for ours, expected in zip(*results, strict=True):
        close(ours, expected)


@ON_TENSORFLOW
def test_batches_may_change_their_size(calls):
    """A function traced for any batch gives each batch its outputs and gradients."""
    import tensorflow as tf

    _, kernel = arguments((1, 4, 4, 64))

    @tf.function(input_signature=[tf.TensorSpec((None, 4, 4, 64))])
    def both(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = fused.convolution(x, kernel)
        return y, tape.gradient(y, x)

    for batch in (1, 3):
        x = arguments((batch, 4, 4, 64))[0]
        y, slope = both(x)
        close(y, plainly(x, kernel))
        close(slope, autodiff.gradient(lambda x: ops.sum(plainly(x, kernel)))(x))
    assert calls == [(None, 4, 4, 64)]


@ON_TENSORFLOW
@pytest.mark.parametrize(
    ("shape", "filters", "dtype"),
    [((1, 6, 4, 64), 128, "float32"), ((1, 4, 4, 64), 127, "float32"), ((1, 4, 4, 64), 128, "bfloat16")],
    ids=["side", "channels", "dtype"],
)
def test_what_the_fast_form_does_not_cover_is_plain(shape, filters, dtype, calls):
    """To the bit."""
    x, kernel = arguments(shape, filters)
    x, kernel = ops.cast(x, dtype), ops.cast(kernel, dtype)
    ours, expected = fused.convolution(x, kernel), plainly(x, kernel)
    assert ops.all(ours == expected)
    assert calls == []


@ON_TENSORFLOW
def test_programs_that_xla_compiles_whole_and_mode_never_are_plain(calls):
    """XLA's own matrix products are slow on CPUs."""
    import tensorflow as tf

    x, kernel = arguments((1, 4, 4, 64))
    tf.function(fused.convolution, jit_compile=True)(x, kernel)
    with fused.mode("never"):
        fused.convolution(x, kernel)
    assert calls == []


def network(**options):
    """An 8x8 image to 64 channels, then to 128."""
    keras.utils.set_random_seed(0)
    convolution = keras.layers.Conv2D(128, 3, padding="same", activation="relu", name="convolution", **options)
    return keras.Sequential([keras.Input((8, 8, 64)), convolution], name="net")


def held_to_mask(model):
    model = kt.masked(model)
    rng = np.random.default_rng(0)
    kt.set_mask(model, {path: rng.random(mask.shape) < 0.5 for path, mask in kt.get_mask(model).items()})
    return model


def loaded(model, folder):
    model.save(folder / "model.keras")
    return keras.saving.load_model(folder / "model.keras")


@pytest.mark.parametrize("use_bias", [True, False])
def test_masked_layers_take_it_in_training_alone(use_bias, tmp_path):
    """Masked in place or loaded: training agrees to 1e-5, everything else with the stripped layer to the bit."""
    x = arguments((2, 8, 8, 64))[0]
    model = held_to_mask(network(use_bias=use_bias, bias_initializer="uniform"))
    stripped = kt.strip(model)
    for one in (model, loaded(model, tmp_path)):
        assert ops.all(one(x) == stripped(x))
        assert ops.all(one(x, training=False) == stripped(x))
        close(one(x, training=True), stripped(x))
    assert ops.all(stripped(x, training=True) == stripped(x))


@ON_TENSORFLOW
def test_fit_takes_it_and_evaluate_does_not(calls):
    """Keras tells layers that were masked in place that they are being trained."""
    model = held_to_mask(network())
    model.compile("sgd", "mse")
    x, y = np.zeros((4, 8, 8, 64), "float32"), np.zeros((4, 8, 8, 128), "float32")
    model.evaluate(x, y, verbose=0)
    model.predict(x, verbose=0)
    assert calls == []
    model.fit(x, y, verbose=0)
    assert calls == [(None, 8, 8, 64)]


@ON_TENSORFLOW
@pytest.mark.parametrize(
    "options", [{"strides": 2}, {"dilation_rate": 2}, {"groups": 2}, {"padding": "valid"}, {"kernel_size": 5}], ids=str
)
def test_other_convolutions_stay_keras_own(options, calls):
    """In training, to the bit."""
    options = {"kernel_size": 3, "padding": "same"} | options
    layer = keras.layers.Conv2D(128, name="convolution", **options)
    model = held_to_mask(keras.Sequential([keras.Input((8, 8, 64)), layer]))
    x = arguments((2, 8, 8, 64))[0]
    assert ops.all(model(x, training=True) == kt.strip(model)(x))
    assert calls == []


def test_pruned_weights_get_no_gradient_and_stay_zero():
    """Exactly, through training by the fast form with momentum and weight decay."""
    model = held_to_mask(network())
    model.compile(kt.optimizers.SGD(0.1, momentum=0.9, l2=0.1), "mse")
    x = RNG.normal(size=(8, 8, 8, 64)).astype("float32")
    before = kt.get_params(model)
    model.fit(x, RNG.normal(size=(8, 8, 8, 128)).astype("float32"), epochs=2, batch_size=4, verbose=0)
    for path, mask in kt.get_mask(model).items():
        after = kt.get_params(model)[path]
        assert np.all(after[~mask] == 0)
        assert np.all(after[mask] != before[path][mask])


@ON_TENSORFLOW
def test_training_agrees_with_the_plain_form():
    """Weights after 10 steps, to 1e-5 of the largest."""
    x = RNG.normal(size=(20, 8, 8, 64)).astype("float32")
    y = RNG.normal(size=(20, 8, 8, 128)).astype("float32")
    ends = []
    for name in ("auto", "never"):
        with fused.mode(name):
            model = held_to_mask(network())
            model.compile(kt.optimizers.SGD(1.0, momentum=0.9), "mse")
            model.fit(x, y, epochs=2, batch_size=4, shuffle=False, verbose=0)
        ends.append(kt.get_params(model))
    for path, expected in ends[1].items():
        close(ends[0][path], expected)


@ON_TENSORFLOW
def test_sped_up_networks_take_it_in_training_alone(calls):
    """Outputs and the gradient of a gradient's length agree with the plain network; in inference outputs to the bit."""
    plain, fast = network(), speed_up(network())
    x = arguments((2, 8, 8, 64))[0]
    assert ops.all(fast(x) == plain(x))
    assert calls == []
    close(fast(x, training=True), plain(x))
    y = ops.zeros((2, 8, 8, 128))
    results = []
    for model in (fast, plain):
        loss = autodiff.functional_loss(model, keras.losses.MeanSquaredError(), training=True)
        slope = autodiff.gradient(loss)

        def length(images, slope=slope, weights=model.trainable_variables):
            return sum(ops.sum(ops.square(each)) for each in slope([w.value for w in weights], images, y))

        results.append(autodiff.gradient(length)(x))
    close(*results, 1e-4)
    assert calls == [(2, 8, 8, 64)] * 2


class Subclassed(keras.Model):
    """Does not say to its layers that they train: they ask Keras."""

    def __init__(self):
        super().__init__()
        self.convolution = keras.layers.Conv2D(128, 3, padding="same")

    def call(self, x):
        return self.convolution(x)


def subclassed():
    model = Subclassed()
    model(np.zeros((1, 8, 8, 64), "float32"))
    return model


@pytest.fixture(params=[network, subclassed], ids=["sequential", "subclassed"])
def model(request):
    return request.param()


@ON_TENSORFLOW
def test_layers_masked_in_place_are_told_that_they_train(model, calls):
    """And, stripped, no longer are."""
    model, x = held_to_mask(model), np.zeros((1, 8, 8, 64), "float32")
    model(x)
    assert calls == []
    model(x, training=True)
    assert calls == [(1, 8, 8, 64)]
    kt.strip(model)(x, training=True)
    assert len(calls) == 1
