"""Images of a study: the caller's own or those of the configuration, in one space and one order of classes."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

import kerasticket as kt
from kerasticket.data.digest import digest
from kerasticket.experiments.config import Config
from kerasticket.experiments.images import DIGESTS, Own, load_data, own_images

pytestmark = pytest.mark.same_on_every_backend

ROOT = Path(__file__).parents[2]
IMP = Config(kinds=("imp",), distilled="absent.h5")
DIGITS = Config(distilled=str(ROOT / "assets/distilled/digits_ipc1.h5"), images_per_class=5)


def arrays(count: int, seed: int):
    """Images whose brightness is their class."""
    labels = np.arange(count) % 2
    images = np.random.default_rng(seed).integers(0, 100, (count, 8, 8)) + 100 * labels[:, None, None]
    return images.astype("uint8"), labels


TRAIN, TEST = arrays(20, 0), arrays(10, 1)


def test_test_images_are_standardized_as_the_training_images():
    own = own_images(TRAIN, TEST)
    assert own.train.mean == pytest.approx((TRAIN[0].mean() / 255,))
    assert (own.test.mean, own.test.std) == (own.train.mean, own.train.std)
    np.testing.assert_array_equal(own.test.images[..., 0], TEST[0])


def test_image_sets_and_class_names_are_taken_as_they_are():
    images = kt.data.ImageSet.from_arrays(*TRAIN, ("dark", "bright"))
    own = own_images(images, (*TEST, ("dark", "bright")))
    assert own.train is images
    assert own.test.class_names == ("dark", "bright")
    assert own_images(images, images).test is images


def test_none_are_those_of_the_configuration():
    assert own_images(None, None) == Own()
    distilled = kt.data.DistilledSet.load(DIGITS.distilled)
    assert own_images(None, None, distilled).distilled is distilled


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        (TRAIN, None, "neither. Received: train alone"),
        (None, TEST, "neither. Received: test alone"),
        (TRAIN[0], TEST, r"Expected train=\(images, labels\).*Received: <class 'numpy.ndarray'>"),
        (TRAIN, (TEST[0],), r"Expected test=\(images, labels\)"),
        (TRAIN, (TEST[0], TEST[1] + 1), "label"),
    ],
)
def test_what_is_no_pair_is_refused(train, test, message):
    with pytest.raises(ValueError, match=message):
        own_images(train, test)


def test_own_images_stand_in_place_of_the_data_set():
    own = own_images(TRAIN, TEST)
    found = load_data(IMP, own)
    assert found.train is own.train
    assert found.test.images is own.test.images
    assert found.distilled is None
    assert found.digests == dict(zip(DIGESTS, (digest(own.train), digest(own.test)), strict=True))
    few = load_data(IMP.replace(images_per_class=3), own)
    assert np.bincount(few.train.labels).tolist() == [3, 3]
    assert len(few.test) == 10
    assert few.digests["train_sha256"] != found.digests["train_sha256"]


def test_test_images_have_the_classes_of_the_training_images_in_their_order():
    turned = kt.data.ImageSet.from_arrays(TEST[0], 1 - TEST[1], ("bright", "dark"))
    own = Own(kt.data.ImageSet.from_arrays(*TRAIN, ("dark", "bright")), turned)
    found = load_data(IMP, own)
    assert found.test.class_names == ("dark", "bright")
    np.testing.assert_array_equal(found.test.labels, TEST[1])
    other = dataclasses.replace(turned, class_names=("bright", "black"))
    with pytest.raises(ValueError, match="same classes"):
        load_data(IMP, dataclasses.replace(own, test=other))


def test_a_set_of_the_callers_is_taken_and_must_fit():
    own = own_images(TRAIN, TEST, kt.data.DistilledSet.load(DIGITS.distilled))
    with pytest.raises(ValueError, match="class"):
        load_data(IMP.replace(kinds=("synthetic",)), own)
    fits = kt.data.random_real(own.train, 2)
    found = load_data(IMP.replace(kinds=("synthetic",)), dataclasses.replace(own, distilled=fits))
    np.testing.assert_array_equal(found.distilled.images, fits.images)


def test_a_whitened_set_whitens_the_real_images_by_all_of_them():
    own = own_images(TRAIN, TEST)
    zca = kt.data.ZCA.fit(own.train)
    whitened = zca.whiten(own.train.subset(2, 0))
    found = load_data(IMP.replace(images_per_class=4), dataclasses.replace(own, distilled=whitened))
    np.testing.assert_array_equal(found.train.images, zca.whiten(own.train.subset(4, 0)).images)
    np.testing.assert_array_equal(found.test.images, zca.whiten(own.test).images)
    assert found.digests["test_sha256"] == digest(own.test)  # of what they were before


def test_the_set_may_be_absent_where_no_search_needs_it():
    few = DIGITS.replace(kinds=("imp",))
    assert load_data(few.replace(distilled="absent.h5")).distilled is None
    assert len(load_data(few).distilled.images) == 10
    with pytest.raises(ValueError, match=r"no such file. Make one.*--dataset digits.*--out absent.h5"):
        load_data(DIGITS.replace(distilled="absent.h5"))
