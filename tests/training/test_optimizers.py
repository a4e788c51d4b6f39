"""SGD and StepSchedule: torch's own trajectory, goldens of the schedule, configuration, precision, errors."""

import keras
import numpy as np
import pytest
from keras import ops

import kerasticket as kt
from kerasticket.training.optimizers import SGD, StepSchedule, paper_schedule


def problem(seed: int = 0):
    """Least squares with a weight and a bias, in NumPy: (matrix, targets, first weight, first bias)."""
    rng = np.random.default_rng(seed)
    shapes = [(20, 5), (20, 3), (5, 3), (3,)]
    return [rng.normal(size=shape).astype("float32") for shape in shapes]


def slopes(matrix, targets, weight, bias):
    """Gradients of the mean square error, in NumPy, so that both sides differentiate alike."""
    error = (matrix @ weight + bias - targets) * 2 / targets.size
    return matrix.T @ error, error.sum(0)


def our_trajectory(optimizer: SGD, steps: int) -> list[np.ndarray]:
    matrix, targets, *starts = problem()
    variables = [keras.Variable(start, name=f"v{i}") for i, start in enumerate(starts)]
    for _ in range(steps):
        gradients = slopes(matrix, targets, *(ops.convert_to_numpy(v) for v in variables))
        optimizer.apply([ops.convert_to_tensor(g) for g in gradients], variables)
    return [np.array(ops.convert_to_numpy(v)) for v in variables]


def torch_trajectory(steps: int, milestones: list[int], momentum: float, l2: float) -> list[np.ndarray]:
    torch = pytest.importorskip("torch")
    matrix, targets, *starts = problem()
    values = [torch.nn.Parameter(torch.tensor(start)) for start in starts]
    optimizer = torch.optim.SGD(values, lr=0.1, momentum=momentum, weight_decay=l2)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones, gamma=0.2)
    for _ in range(steps):
        gradients = slopes(matrix, targets, *(v.detach().numpy() for v in values))
        for value, slope in zip(values, gradients, strict=True):
            value.grad = torch.tensor(slope)
        optimizer.step()
        schedule.step()
    return [value.detach().numpy() for value in values]


@pytest.mark.parametrize(("momentum", "l2"), [(0.9, 5e-4), (0.9, 0.1), (0.9, 0.0), (0.0, 0.1)])
def test_fifty_steps_equal_torch_over_a_drop(momentum, l2):
    """Weights agree to 1e-5 with torch.optim.SGD and MultiStepLR, with drops at steps 20 and 35."""
    optimizer = SGD(StepSchedule(0.1, [20, 35], 0.2), momentum=momentum, l2=l2)
    expected = torch_trajectory(50, [20, 35], momentum, l2)
    for ours, theirs in zip(our_trajectory(optimizer, 50), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_the_trajectory_differs_from_keras_decoupled_decay():
    """The test above would not pass with keras.optimizers.SGD: l2 is not its weight_decay."""
    theirs = our_trajectory(keras.optimizers.SGD(0.1, momentum=0.9, weight_decay=0.1), 50)
    ours = our_trajectory(SGD(0.1, momentum=0.9, l2=0.1), 50)
    assert np.abs(ours[0] - theirs[0]).max() > 1e-2


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_fit_trains_with_xla_and_mixed_precision(jit_compile, policy):
    """The loss falls inside fit, weights and buffers stay float32, zero weights without gradient stay 0."""
    if keras.config.backend() == "torch" and jit_compile:
        pytest.skip("Keras does not compile on torch by default")
    keras.utils.set_random_seed(0)
    x = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
    x[:, 0] = 0
    inputs = keras.Input((8,))
    model = keras.Model(inputs, keras.layers.Dense(1, dtype=policy, name="dense")(inputs))
    model.layers[-1].kernel.assign(np.r_[np.zeros((1, 1)), np.ones((7, 1))])
    optimizer = SGD(paper_schedule(0.05, epochs=6, steps_per_epoch=4), momentum=0.9, l2=1e-3)
    if policy == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    model.compile(optimizer, loss="mse", jit_compile=jit_compile)
    history = model.fit(x, x.sum(1, keepdims=True) * 0.1, batch_size=16, epochs=6, verbose=0).history["loss"]
    assert history[-1] < 0.5 * history[0]
    assert ops.convert_to_numpy(model.layers[-1].kernel)[0, 0] == 0
    assert {v.dtype for v in optimizer.variables if "momentum" in v.path} == {"float32"}


def test_embeddings_have_dense_l2():
    """Rows that no batch mentions decay too, as in torch; on TensorFlow their gradient comes as slices."""
    model = keras.Sequential([keras.Input((2,), dtype="int32"), keras.layers.Embedding(4, 3, name="rows")])
    model.compile(SGD(0.1, momentum=0.0, l2=0.5), loss="mse")
    before = ops.convert_to_numpy(model.layers[0].embeddings).copy()
    model.train_on_batch(np.zeros((2, 2), "int32"), np.zeros((2, 2, 3), "float32"))
    after = ops.convert_to_numpy(model.layers[0].embeddings)
    np.testing.assert_allclose(after[1:], before[1:] * 0.95, rtol=1e-5)


def test_an_optimizer_survives_its_configuration():
    """A rebuilt optimizer has the same numbers and schedule."""
    optimizer = SGD(StepSchedule(0.1, [3, 5], 0.5), momentum=0.8, l2=1e-3, clipnorm=1.0, name="sgd")
    twin = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(optimizer))
    assert twin.get_config() == optimizer.get_config()
    assert isinstance(twin, SGD)


def test_a_compiled_model_is_saved_and_loaded(tmp_path):
    """The file holds buffers and step count, and opens without custom objects."""
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="dense")], name="model")
    model.compile(SGD(paper_schedule(0.1, 3, 1), l2=1e-3), loss="mse")
    model.fit(np.ones((4, 3)), np.ones((4, 2)), verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for a, b in zip(model.optimizer.variables, loaded.optimizer.variables, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(a), ops.convert_to_numpy(b))
    assert loaded.optimizer.l2 == 1e-3


def test_no_momentum_keeps_no_buffers():
    """Only the step count and the learning rate remain."""
    optimizer = SGD(0.1, momentum=0.0)
    optimizer.build([keras.Variable(np.ones(3), name="v")])
    assert len(optimizer.variables) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"momentum": 1.0}, r"momentum in \[0, 1\)"),
        ({"momentum": -0.1}, r"momentum in \[0, 1\)"),
        ({"l2": -1e-4}, "l2 >= 0"),
        ({"l2": float("nan")}, "l2 >= 0"),
        ({"weight_decay": 1e-4}, "give l2 instead"),
    ],
)
def test_sgd_refuses(arguments, message):
    """Each error names the argument and what to give."""
    with pytest.raises(ValueError, match=message):
        SGD(0.1, **arguments)


def step_variable(step: int) -> keras.Variable:
    return keras.Variable(step, dtype="int32", trainable=False)


@pytest.mark.parametrize("integer", [int, np.int64, step_variable])
def test_the_rate_drops_at_its_boundaries(integer):
    """Step 9 has the old rate, step 10 the new one, for every kind of step count."""
    schedule = StepSchedule(0.1, [10, 20], 0.2)
    rates = [float(schedule(integer(step))) for step in (0, 9, 10, 19, 20, 10**7)]
    np.testing.assert_allclose(rates, [0.1, 0.1, 0.02, 0.02, 0.004, 0.004], rtol=1e-6)


@pytest.mark.parametrize(
    ("epochs", "expected"),
    [(300, [200, 250]), (1000, [666, 833]), (60, [40, 50]), (20, [13, 16]), (2, [1, 1]), (1, [1, 1])],
)
def test_milestones_are_whole_epochs(epochs, expected):
    """The paper's own: 200 and 250 of 300, 666 and 833 of 1000; one epoch at least has the first rate."""
    assert paper_schedule(0.01, epochs, steps_per_epoch=1).boundaries == expected
    assert paper_schedule(0.01, epochs, steps_per_epoch=7).boundaries == [7 * epoch for epoch in expected]


def test_milestones_do_not_lose_an_epoch_to_rounding():
    """0.29 * 100 is 28.999999999999996 in floating point."""
    assert paper_schedule(0.01, 100, 1, milestones=(0.29,)).boundaries == [29]


def test_a_schedule_survives_its_configuration():
    """A rebuilt schedule has the same rates."""
    schedule = paper_schedule(0.01, 300, 782)
    twin = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(schedule))
    assert twin.get_config() == schedule.get_config()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0.0, [1], 0.2), "initial_learning_rate > 0"),
        ((0.1, [1], -1.0), "factor > 0"),
        ((0.1, [5, 3], 0.2), "rising order"),
        ((0.1, [0, 3], 0.2), "boundaries >= 1"),
    ],
)
def test_the_schedule_refuses(arguments, message):
    """Each error names the argument."""
    with pytest.raises(ValueError, match=message):
        StepSchedule(*arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"epochs": 0, "steps_per_epoch": 1}, "epochs >= 1"),
        ({"epochs": 1, "steps_per_epoch": 0}, "steps_per_epoch >= 1"),
        ({"epochs": 3, "steps_per_epoch": 1, "milestones": (0.5, 1.5)}, "milestones in"),
    ],
)
def test_the_papers_schedule_refuses(arguments, message):
    """Each error names the argument."""
    with pytest.raises(ValueError, match=message):
        paper_schedule(0.1, **arguments)


def test_what_is_excluded_from_decay_keeps_its_size():
    kernel, bias = (
        keras.Variable(np.ones(2, "float32"), name="kernel"),
        keras.Variable(np.ones(2, "float32"), name="bias"),
    )
    optimizer = kt.optimizers.SGD(0.1, l2=0.5)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    optimizer.apply([np.zeros(2, "float32")] * 2, [kernel, bias])
    np.testing.assert_allclose(keras.ops.convert_to_numpy(kernel), 0.95)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(bias), 1)
