"""The objective against Keras' own evaluate, and what it refuses."""

import keras
import nets
import numpy as np
import pytest
from keras import layers, ops
from perturbed_nets import compiled, perturbed

import kerasticket as kt
from kerasticket.analysis import Objective
from kerasticket.models import MODELS


@pytest.mark.parametrize("make", [nets.mlp, nets.nested, nets.small_convnet])
def test_equals_keras_evaluate_at_any_weights_and_leaves_the_model_alone(make):
    model = compiled(make())
    x, y = nets.batch(model, 37)
    objective, before = Objective(model, (x, y), batch_size=16), kt.get_params(model)
    params = perturbed(before)
    loss, accuracy = objective(params)
    after = kt.get_params(model)
    assert all(np.array_equal(before[path], after[path]) for path in before)
    kt.set_params(model, params)
    expected = model.evaluate(x, y, verbose=0, return_dict=True)
    assert loss == pytest.approx(expected["loss"], rel=1e-5)
    assert accuracy == pytest.approx(expected["accuracy"], abs=1e-7)


def test_penalties_are_no_part_of_the_loss():
    dense = layers.Dense(5, kernel_regularizer=keras.regularizers.L2(10.0), name="classifier")
    model = compiled(keras.Sequential([keras.Input((6,)), dense]))
    x, y = nets.batch(model)
    without = compiled(keras.Sequential([keras.Input((6,)), layers.Dense(5, name="classifier")]))
    params = kt.get_params(model)
    assert Objective(model, (x, y))(params) == Objective(without, (x, y))(params)


def test_weights_count_as_they_are_whatever_the_masks_of_the_model():
    plain = compiled(nets.mlp())
    masked = kt.masked(plain)
    kt.set_mask(masked, nets.half_mask(masked))
    data, params = nets.batch(plain), kt.get_params(plain)
    assert Objective(compiled(masked), data)(params) == pytest.approx(Objective(plain, data)(params), rel=1e-6)


def test_a_pipeline_an_image_set_and_arrays_are_the_same_data():
    digits = kt.data.load("digits", images_per_class=5)
    model = compiled(kt.models.lenet_300_100(digits.input_shape, 10, seed=0))
    pipeline = kt.data.pipeline(digits, batch_size=16, shuffle=False)
    arrays = tuple(np.concatenate(parts) for parts in zip(*pipeline.as_numpy_iterator(), strict=True))
    params = kt.get_params(model)
    expected = Objective(model, digits, batch_size=16)(params)
    assert Objective(model, pipeline)(params) == expected
    assert Objective(model, arrays, batch_size=16)(params) == expected


@pytest.mark.parametrize(
    ("loss", "targets"),
    [("sparse", np.array([0, 1, 1, 4])), ("categorical", np.eye(5, dtype="float32")[[0, 1, 1, 4]])],
)
def test_accuracy_of_both_kinds_of_class_targets(loss, targets):
    kinds = {"sparse": keras.losses.SparseCategoricalCrossentropy, "categorical": keras.losses.CategoricalCrossentropy}
    model = compiled(keras.Sequential([keras.Input((5,)), layers.Dense(5, name="out")]), kinds[loss](from_logits=True))
    params = {"out/kernel": np.eye(5, dtype="float32"), "out/bias": np.zeros(5, "float32")}
    assert Objective(model, (np.eye(5, dtype="float32")[[0, 1, 2, 4]], targets))(params).accuracy == 0.75


def test_regression_has_a_loss_and_no_accuracy():
    model = compiled(keras.Sequential([keras.Input((2,)), layers.Dense(1, name="out")]), "mean_squared_error")
    params = {"out/kernel": np.ones((2, 1), "float32"), "out/bias": np.zeros(1, "float32")}
    loss, accuracy = Objective(model, (np.ones((3, 2), "float32"), np.array([[2.0], [1.0], [4.0]], "float32")))(params)
    assert loss == pytest.approx(5 / 3)
    assert np.isnan(accuracy)


def test_one_trace_serves_all_weights(monkeypatch):
    model = compiled(nets.mlp())
    calls = []
    monkeypatch.setattr(
        Objective, "_batch_sums", lambda self, *a, f=Objective._batch_sums: (calls.append(1), f(self, *a))[1]
    )
    objective = Objective(model, nets.batch(model, 32), batch_size=16)
    for seed in range(3):
        objective(perturbed(kt.get_params(model), seed))
    assert len(calls) == (6 if keras.config.backend() == "torch" else 1)


class AlwaysDrops(layers.Layer):
    """Dropout that inference does not turn off."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dropout = layers.Dropout(0.5, seed=1, name="inner")

    def call(self, inputs):
        return self.dropout(inputs, training=True)


class Unseeded(layers.Layer):
    """Noise that Keras knows nothing of."""

    def call(self, inputs):
        return inputs + ops.convert_to_tensor(np.random.default_rng().random(), inputs.dtype)


@pytest.mark.parametrize(("layer", "named"), [(AlwaysDrops, "always/inner"), (Unseeded, "without a seed")])
def test_layers_that_draw_in_inference_are_refused_and_named(layer, named):
    model = compiled(keras.Sequential([keras.Input((6,)), layer(name="always"), layers.Dense(5, name="classifier")]))
    with pytest.raises(ValueError, match=named):
        Objective(model, nets.batch(model))


def test_ordinary_dropout_is_none_of_these():
    model = compiled(nets.small_convnet())
    assert Objective(model, nets.batch(model)).count == 32


def test_shuffled_augmented_endless_and_empty_data_are_refused():
    digits = kt.data.load("digits", images_per_class=5)
    model = compiled(kt.models.lenet_300_100(digits.input_shape, 10, seed=0))
    for options in ({"shuffle": True}, {"shuffle": False, "augmentation": kt.data.DIGITS}):
        with pytest.raises(ValueError, match="same batches twice.*inputs in batch 0"):
            Objective(model, kt.data.pipeline(digits, **options))
    with pytest.raises(ValueError, match="finite pipeline"):
        Objective(model, kt.data.pipeline(digits, shuffle=False).repeat())
    shape = digits.input_shape
    with pytest.raises(ValueError, match="at least one example"):
        Objective(model, (np.zeros((0, *shape), "float32"), np.zeros((0, 10), "float32")))
    with pytest.raises(ValueError, match="3 inputs, 2 targets"):
        Objective(model, (np.zeros((3, *shape), "float32"), np.zeros((2, 10), "float32")))
    with pytest.raises(ValueError, match="Received: list"):
        Objective(model, [1, 2])


def test_models_without_loss_and_params_of_another_model_are_refused():
    model = nets.mlp()
    data = nets.batch(model)
    with pytest.raises(ValueError, match="not compiled"):
        Objective(model, data)
    with pytest.raises(ValueError, match="not built"):
        Objective(keras.Sequential([layers.Dense(2)]), data)
    objective = Objective(compiled(model), data)
    params = kt.get_params(model)
    with pytest.raises(ValueError, match="has paths that the model lacks: 'other/kernel'"):
        objective(params | {"other/kernel": np.zeros(2)})
    broken = params | {"hidden/kernel": np.full_like(params["hidden/kernel"], np.nan)}
    with pytest.raises(ValueError, match="NaN or infinity in the params at \\['hidden/kernel'\\]"):
        objective(broken)


@pytest.mark.parametrize("name", ["convnet", "resnet10"])
def test_models_of_the_paper_equal_keras_evaluate(name):
    model = compiled(kt.masked(MODELS[name]((16, 16, 3), 5, width=4, seed=0)))
    x, y = nets.batch(model, 6)
    assert Objective(model, (x, y))(kt.get_params(model)).loss == pytest.approx(
        model.evaluate(x, y, verbose=0)[0], rel=1e-5
    )
