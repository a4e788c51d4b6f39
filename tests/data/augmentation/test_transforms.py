"""Augmentation, each operation: by hand, against torch, across namespaces, its gradients, its statistics."""

import keras
import numpy as np
import pytest
from augmented import SHAPE, images_of, on_backend, uniform_from

from kerasticket.data.augmentation.transforms import AUGMENTATIONS, LIGHTING_AXES
from kerasticket.data.tensorflow_ops import tensorflow_namespace

NAMES = sorted(AUGMENTATIONS)


def drawn(name: str, count: int, seed: int = 0) -> np.ndarray:
    operation = AUGMENTATIONS[name]
    return np.asarray(operation.draw(np, uniform_from(seed), count, operation.strength), np.float32)


def on_tensorflow(name: str, images, parameters) -> np.ndarray:
    import tensorflow as tf

    xp = tensorflow_namespace()
    return AUGMENTATIONS[name].apply(xp, tf.constant(images), tf.constant(parameters)).numpy()


def apply(name: str, images: list | np.ndarray, parameters) -> np.ndarray:
    """One channel, images given as nested lists of rows."""
    images = np.asarray(images, np.float32)[..., None]
    return on_tensorflow(name, images, np.asarray(parameters, np.float32))[..., 0]


@pytest.mark.parametrize("name", NAMES)
def test_identity_parameters_give_the_identity(name):
    parameters = np.array([AUGMENTATIONS[name].identity] * SHAPE[0], np.float32)
    parameters = parameters[:, 0] if parameters.shape[1] == 1 else parameters
    # A box of the ratio 1 is all of a square image.
    images = images_of((*SHAPE[:2], SHAPE[1], SHAPE[3])) if name == "random_resized_crop" else images_of()
    np.testing.assert_allclose(on_backend(name, images, parameters), images, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_the_backend_and_tensorflow_agree(name):
    parameters = drawn(name, SHAPE[0])
    np.testing.assert_allclose(
        on_backend(name, images_of(), parameters), on_tensorflow(name, images_of(), parameters), atol=1e-5
    )


@pytest.mark.parametrize("name", NAMES)
def test_one_row_of_parameters_serves_the_whole_batch(name):
    one = drawn(name, 1)
    many = np.repeat(one, SHAPE[0], axis=0)
    np.testing.assert_allclose(on_backend(name, images_of(), one), on_backend(name, images_of(), many), atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_images_do_not_influence_each_other(name):
    parameters = drawn(name, SHAPE[0])
    together = on_backend(name, images_of(), parameters)
    alone = on_backend(name, images_of()[2:3], parameters[2:3])
    np.testing.assert_allclose(together[2:3], alone, atol=1e-5)


def gradient(function, images: np.ndarray) -> np.ndarray:
    """d function / d images on the backend under test."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        variable = tf.Variable(images)
        with tf.GradientTape() as tape:
            value = function(variable)
        return tape.gradient(value, variable).numpy()
    if backend == "jax":
        import jax

        return np.asarray(jax.grad(function)(images))
    leaf = keras.ops.convert_to_tensor(images).requires_grad_()
    function(leaf).backward()
    return leaf.grad.cpu().numpy()


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_those_of_an_affine_map(name):
    """Every operation is affine in the images, so one difference quotient of any length is exact."""
    parameters, direction = drawn(name, SHAPE[0]), images_of()[::-1].copy()
    weights = np.random.default_rng(2).standard_normal(SHAPE).astype(np.float32)

    def loss(tensor):
        return keras.ops.sum(
            AUGMENTATIONS[name].apply(keras.ops, tensor, parameters) * keras.ops.convert_to_tensor(weights)
        )

    slope = (gradient(loss, images_of()) * direction).sum()
    there = on_tensorflow(name, images_of() + direction, parameters)
    here = on_tensorflow(name, images_of(), parameters)
    np.testing.assert_allclose(slope, ((there - here) * weights).sum(dtype=np.float64), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_draws_are_independent_rows_with_the_right_mean(name):
    parameters = drawn(name, 20_000)
    assert len(parameters) == 20_000
    mean = {"scale": (1.2 + 1 / 1.2) / 2, "flip": 0.5, "cutout": 0.5}.get(name)
    expected = AUGMENTATIONS[name].identity if mean is None else mean
    if name == "random_resized_crop":
        expected = (0.75, 0, 0.5, 0.5)
    np.testing.assert_allclose(
        parameters.mean(axis=0).reshape(-1), np.broadcast_to(expected, parameters[0].size), atol=0.02
    )


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("brightness", -0.5, 0.5),
        ("saturation", 0, 2),
        ("contrast", 0.5, 1.5),
        ("scale", 1 / 1.2, 1.2),
        ("rotate", -np.pi / 12, np.pi / 12),
        ("jitter", 0.6, 1.4),
    ],
)
def test_draws_reach_their_bounds_and_no_further(name, low, high):
    parameters = drawn(name, 20_000)
    assert low <= parameters.min() < low + 0.01
    assert high - 0.01 < parameters.max() <= high
    assert np.std(parameters) == pytest.approx((high - low) / np.sqrt(12), rel=0.03)


def test_lighting_is_normal_with_the_given_spread():
    assert np.std(drawn("lighting", 20_000)) == pytest.approx(0.1, rel=0.02)
    image = np.full((1, 2, 2, 3), 0.5, np.float32)
    lit = on_tensorflow("lighting", image, np.array([[1, 0, 0]], np.float32))
    np.testing.assert_allclose(lit - image, np.broadcast_to(LIGHTING_AXES[:, 0], image.shape), atol=1e-6)
    with pytest.raises(ValueError, match="lighting needs images of 3 channels"):
        apply("lighting", [[[0]]], [[0, 0, 0]])


def test_pixels_by_hand():
    image = [[[1, 2], [3, 4]], [[1, 2], [3, 4]]]
    np.testing.assert_array_equal(apply("flip", image, [1, 0]), [[[2, 1], [4, 3]], image[1]])
    np.testing.assert_allclose(apply("brightness", image, [0.5, -0.25])[1], [[0.75, 1.75], [2.75, 3.75]])
    np.testing.assert_allclose(apply("contrast", image, [0.5, 2])[0], [[1.75, 2.25], [2.75, 3.25]])
    np.testing.assert_allclose(apply("saturation", image, [0, 2]), image)


def test_saturation_by_hand():
    pixel = np.array([[[[1, 2, 6]]]], np.float32)
    halved = on_tensorflow("saturation", pixel, np.array([0.5], np.float32))
    np.testing.assert_allclose(halved[0, 0, 0], [2, 2.5, 4.5])


def test_jitter_by_hand():
    pixels = np.array([[[[0.2, 0.4, 0.6], [0.6, 0.4, 0.2]]]], np.float32)
    gray = 0.299 * 0.2 + 0.587 * 0.4 + 0.114 * 0.6
    bright = on_tensorflow("jitter", pixels, np.array([[1.5, 1, 1]], np.float32))
    np.testing.assert_allclose(bright, pixels * 1.5, rtol=1e-6)
    gray_only = on_tensorflow("jitter", pixels, np.array([[1, 0, 1]], np.float32))
    np.testing.assert_allclose(gray_only[0, 0, 0], gray, rtol=1e-5)
    flat = on_tensorflow("jitter", pixels, np.array([[1, 1, 0]], np.float32))
    assert np.ptp(flat) < 1e-6


def test_crop_moves_by_whole_pixels_and_fills_with_zeros():
    """Side 8 reaches one pixel each way: draws below 1/3, below 2/3 and above are moves by -1, 0 and 1."""
    image = np.arange(1, 65, dtype=np.float32).reshape(1, 8, 8)
    moved = apply("crop", image, [[0.1, 0.9]])[0]
    np.testing.assert_array_equal(moved[1:, :-1], image[0, :-1, 1:])
    assert (moved[0] == 0).all()
    assert (moved[:, -1] == 0).all()
    moves = np.floor(drawn("crop", 30_000) * 3)
    np.testing.assert_allclose([(moves == move).mean() for move in range(3)], [1 / 3] * 3, atol=0.01)


def test_cutout_zeroes_a_box_of_half_the_side_cut_at_the_edge():
    ones = np.ones((1, 8, 8), np.float32)
    for place, size in {0.0: 2, 0.5: 4, 0.999: 2}.items():
        zeros = apply("cutout", ones, [[place, 0.5]])[0] == 0
        assert (zeros.any(axis=1).sum(), zeros.any(axis=0).sum(), zeros.sum()) == (size, 4, size * 4)
    box = np.argwhere(apply("cutout", ones, [[0.5, 0.25]])[0] == 0)
    assert box.min(axis=0).tolist() == [2, 0]
    assert box.max(axis=0).tolist() == [5, 3]


def test_random_resized_crop_enlarges_its_box():
    image = np.arange(64, dtype=np.float32).reshape(1, 8, 8)
    quarter = apply("random_resized_crop", image, [[0.25, 0.0, 0.0, 1.0]])[0]
    np.testing.assert_allclose(quarter[[0, 0, -1, -1], [0, -1, 0, -1]], image[0][[0, 0, 3, 3], [4, 7, 4, 7]])
    np.testing.assert_allclose(quarter[0, 1], 0.75 * image[0, 0, 4] + 0.25 * image[0, 0, 5])


def test_boxes_have_their_ratio_in_pixels_and_stay_inside():
    """Ratio 1 of a wide image is a square; a box below one pixel reads what is there."""
    columns = np.broadcast_to(np.arange(32, dtype=np.float32), (1, 8, 32))
    box = [[0.25, 0.0, 0.0, 0.0]]  # of 8 x 32 pixels: 8 x 8, so columns 0 to 7 fill the width
    assert apply("random_resized_crop", columns, box)[0, 0, -1] == pytest.approx(7, abs=1e-5)
    ones = np.ones((1, 8, 8), np.float32)
    np.testing.assert_allclose(apply("random_resized_crop", ones, [[0.01, 0.0, 0.3, 0.9]]), ones, atol=1e-6)


@pytest.mark.parametrize("name", ["scale", "rotate"])
def test_moves_equal_torch_grid_sample(name):
    torch = pytest.importorskip("torch")
    images, parameters = images_of((5, 9, 9, 2)), drawn(name, 5)
    zero = np.zeros(5, np.float32)
    if name == "scale":
        theta = [[parameters[:, 1], zero, zero], [zero, parameters[:, 0], zero]]
    else:
        cosine, sine = np.cos(parameters), np.sin(parameters)
        theta = [[cosine, -sine, zero], [sine, cosine, zero]]
    grid = torch.nn.functional.affine_grid(
        torch.tensor(np.array(theta)).permute(2, 0, 1), (5, 2, 9, 9), align_corners=False
    )
    channels_first = torch.tensor(images).permute(0, 3, 1, 2)
    expected = torch.nn.functional.grid_sample(channels_first, grid, align_corners=False)
    np.testing.assert_allclose(on_backend(name, images, parameters), expected.permute(0, 2, 3, 1).numpy(), atol=1e-4)
