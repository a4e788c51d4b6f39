"""The controls of distilled sets: real images as they are, and IDC's mix of shrunk ones."""

import numpy as np
import pytest

from kerasticket.data import load, mix, random_real
from kerasticket.data.baselines import chosen_real

pytestmark = pytest.mark.same_on_every_backend


def test_random_real_takes_whole_images_class_major():
    digits = load("digits")
    baseline = random_real(digits, 3, seed=1)
    assert baseline.labels.tolist() == [label for label in range(10) for _ in range(3)]
    assert (baseline.method, baseline.factor, baseline.space, baseline.images_per_class) == (
        "random_real",
        1,
        "unit",
        3,
    )
    rows = {(image.tobytes(), label) for image, label in zip(digits.to_float(), digits.labels, strict=True)}
    assert all((image.tobytes(), label) in rows for image, label in zip(baseline.images, baseline.labels, strict=True))
    assert (random_real(digits, 3, seed=1).images == baseline.images).all()
    assert not (random_real(digits, 3, seed=2).images == baseline.images).all()


def test_mix_tiles_the_first_images_of_each_class_as_idc_does():
    digits = load("digits")
    stored = mix(digits, images_per_class=2, factor=2)
    sevens = digits.to_float()[digits.labels == 7][:8, ::2, ::2]
    first, second = stored.images[14:16]
    np.testing.assert_array_equal(first, _grid(sevens[0::2]))
    np.testing.assert_array_equal(second, _grid(sevens[1::2]))
    assert (stored.method, stored.settings, stored.seeds) == ("mix", {"resize": "nearest"}, {"images": None})
    assert not (mix(digits, 2, 2, seed=0).images == stored.images).all()
    assert not (mix(digits, 2, 2, method="area").images == stored.images).all()


def _grid(cells: np.ndarray) -> np.ndarray:
    top, bottom = np.concatenate(cells[:2], axis=1), np.concatenate(cells[2:], axis=1)
    return np.concatenate([top, bottom], axis=0)


def test_baselines_refuse_what_the_data_cannot_give():
    digits = load("digits")
    with pytest.raises(ValueError, match="has only 100 images"):
        mix(digits, 26, 2)
    with pytest.raises(ValueError, match="has only 100 images"):
        random_real(digits, 101)
    with pytest.raises(ValueError, match="factor must be at least 1"):
        mix(digits, 1, 0)


def test_chosen_images_are_those_at_the_positions_in_their_order():
    digits = load("digits")
    chosen = chosen_real(digits, np.array([7, 3]))
    np.testing.assert_array_equal(chosen.images, digits.to_float()[[7, 3]])
    assert chosen.labels.tolist() == digits.labels[[7, 3]].tolist()
    assert (chosen.method, chosen.mean, chosen.class_names) == ("chosen_real", digits.mean, digits.class_names)


def test_images_that_are_not_in_memory_are_refused():
    digits = load("digits")
    with pytest.raises(ValueError, match=r"images in memory \(an ImageSet\). Received: DistilledSet"):
        random_real(random_real(digits, 1), 1)
