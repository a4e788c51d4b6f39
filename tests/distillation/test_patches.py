"""RDED: the crops that a network is surest of, of different images, tiled in order."""

import dataclasses

import numpy as np
import pytest

import kerasticket as kt
from kerasticket.distillation import RealisticPatches
from kerasticket.distillation.patches import _Judge

pytestmark = pytest.mark.usefixtures("plain_operations")

SMALL = RealisticPatches(net_epochs=1, crops=3, candidates=8, model="lenet_300_100")


@pytest.fixture(scope="module")
def digits():
    return kt.data.load("digits", "train", images_per_class=10)


@pytest.mark.parametrize("factor", [1, 2])
def test_the_best_crop_of_each_image_and_then_the_best_images(factor, digits, monkeypatch):
    """With a judge that likes dark images, by hand over all crops that were drawn."""
    method, drawn = dataclasses.replace(SMALL, factor=factor), []
    monkeypatch.setattr(_Judge, "_losses", lambda self, crops, label: drawn.append(crops) or crops.mean(axis=(1, 2, 3)))
    judge = _Judge(method, digits, 1, 0)
    best = judge._best_crops(4)
    crops = np.stack(drawn)  # (crops, images, 16, 16, 1)
    assert crops.shape[:2] == (3, 8)
    means = crops.mean(axis=(2, 3, 4))
    darkest = np.argsort(means.min(axis=0))[: factor**2]
    for rank, image in enumerate(darkest):
        np.testing.assert_array_equal(best[rank], crops[means[:, image].argmin(), image])


@pytest.mark.same_on_every_backend
def test_whole_images_are_the_crops_of_area_one(digits):
    """Then RDED is a choice of real images, of their own class and of the candidates."""
    made = dataclasses.replace(SMALL, smallest_crop=1.0, temperature=None).distill(digits, ipc=2, seed=0)
    for image, label in zip(made.images, made.labels, strict=True):
        own = digits.images[digits.labels == label] / np.float32(255)
        assert np.abs(own - image).max(axis=(1, 2, 3)).min() < 1e-6


def test_crops_are_judged_as_they_are_decoded(digits):
    """The loss of a tiled and decoded crop, by the network itself."""
    judge = _Judge(dataclasses.replace(SMALL, factor=2), digits, 1, 0)
    judge.step(0)
    crops = digits.images[:4] / np.float32(255)
    stored = kt.data.multi_formation.tile_cells(crops, 2, "area")
    decoded = kt.data.multi_formation.decode_cells(np, stored, 2)
    logits = judge.network.predict((decoded - digits.mean[0]) / digits.std[0], verbose=0)
    expected = np.log(np.exp(logits).sum(axis=1)) - logits[:, 3]
    np.testing.assert_allclose(judge._losses(crops, 3), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.same_on_every_backend
def test_labels_are_soft_unless_there_is_no_temperature(digits):
    soft, hard = (dataclasses.replace(SMALL, temperature=t).distill(digits, ipc=1, seed=0) for t in (2.0, None))
    np.testing.assert_array_equal(soft.images, hard.images)
    assert soft.is_soft
    assert soft.settings["labels"]["temperature"] == 2.0
    assert hard.labels.tolist() == list(range(10))


@pytest.mark.same_on_every_backend
@pytest.mark.parametrize("model", ["convnet", "resnet10"])
def test_networks_with_statistics_can_judge(model, digits):
    assert dataclasses.replace(SMALL, model=model, width=4).distill(digits, ipc=1, seed=0).images.max() <= 1


def test_bad_settings_are_refused(digits):
    for options, message in (
        ({"crops": 0}, "crops >= 1"),
        ({"smallest_crop": 0.0}, "smallest_crop in"),
        ({"temperature": -1.0}, "temperature > 0"),
        ({"model": "vit"}, "model to be one of"),
    ):
        with pytest.raises(ValueError, match=message):
            dataclasses.replace(SMALL, **options)
    with pytest.raises(ValueError, match=r"in 1\.\.8, the candidates of the smallest class.*so 12 crops"):
        dataclasses.replace(SMALL, factor=2).distill(digits, ipc=3, seed=0)
    with pytest.raises(ValueError, match="factor must"):
        dataclasses.replace(SMALL, factor=17).distill(digits, ipc=1, seed=0)
