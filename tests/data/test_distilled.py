"""Distilled sets: what they hold and refuse, their file, IDC's decoding, and the two baselines."""

import re
from dataclasses import fields, replace

import h5py
import keras
import nets
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasticket.data import DistilledSet, ImageSet, load, mix, random_real
from kerasticket.data.multi_formation import decode_cells, tile_cells

RNG = np.random.default_rng(0)


def distilled(**changes) -> DistilledSet:
    values = {
        "images": RNG.random((4, 8, 8, 3), dtype=np.float32),
        "labels": np.array([0, 0, 1, 1]),
        "class_names": ("cat", "dog"),
        "source": "mine:1.0/train",
        "method": "by hand",
        "mean": (0.5, 0.4, 0.3),
        "std": (0.25, 0.2, 0.1),
        "factor": 2,
        "settings": {"steps": 3, "sizes": (1, 2)},
        "seeds": {"images": 1},
        "accuracy": {"convnet": {"mean": 0.9, "std": 0.01, "nets": 5}},
        "command": "python make.py",
    }
    return DistilledSet(**(values | changes))


SOFT = np.array([[0.5, 0.5], [1, 0], [0, 1], [0.1, 0.9]], np.float32)
ZCA = {"space": "zca", "mean": (), "std": (), "zca": {"epsilon": 0.1, "source": "cifar10:3.0.2/train"}}


@pytest.mark.parametrize("changes", [{}, {"labels": SOFT}, ZCA, {"space": "normalized", "factor": 1}])
def test_a_file_gives_back_every_field(tmp_path, changes):
    before = distilled(**changes)
    before.save(tmp_path / "set.h5")
    after = DistilledSet.load(tmp_path / "set.h5")
    for each in fields(DistilledSet):
        ours, theirs = getattr(before, each.name), getattr(after, each.name)
        assert type(ours) is type(theirs)
        np.testing.assert_equal(theirs, ours)
    assert after.images.dtype == np.float32
    assert [path.name for path in tmp_path.iterdir()] == ["set.h5"]


def test_fields_become_plain_and_match_what_the_file_gives_back(tmp_path):
    """NumPy's floats and lists, as people pass them."""
    given = distilled(class_names=["cat", np.str_("dog")], mean=np.full(3, 0.5, np.float32), std=[0.25] * 3)
    given.save(tmp_path / "set.h5")
    DistilledSet.load(tmp_path / "set.h5").check_matches(given)
    pixels = np.zeros((2, 8, 8, 3), np.uint8)
    real = ImageSet(pixels, np.array([0, 1]), ["cat", "dog"], "mine", np.full(3, 0.5, np.float32), [0.25] * 3)
    given.check_matches(real)
    swapped = ZCA | {"zca": dict(reversed(ZCA["zca"].items()))}
    distilled(**ZCA).check_matches(distilled(**swapped))
    for wrong in ({"class_names": "cd"}, {"mean": 0.5}, {"method": 3}, {"labels": [0, 0, 1, 1]}):
        with pytest.raises(ValueError, match="must be"):
            distilled(**wrong)


def test_a_file_cannot_point_elsewhere_or_claim_more_than_it_holds(tmp_path):
    """Bytes of other files would be handed on with the next save."""
    (tmp_path / "secret.bin").write_bytes(bytes(4 * 8 * 8 * 3 * 4))
    distilled().save(tmp_path / "other.h5")
    shape = (4, 8, 8, 3)
    tricks = {
        "lies in another file": lambda file: file.create_dataset(
            "images", shape, "f4", external=[(str(tmp_path / "secret.bin"), 0, h5py.h5f.UNLIMITED)]
        ),
        "is a link": lambda file: file.__setitem__("images", h5py.ExternalLink(str(tmp_path / "other.h5"), "/images")),
        "claims .* bytes": lambda file: file.create_dataset("images", (10**4, 512, 512, 3), "f4", chunks=True),
    }
    for message, trick in tricks.items():
        distilled().save(tmp_path / "set.h5")
        with h5py.File(tmp_path / "set.h5", "a") as file:
            del file["images"]
            trick(file)
        nets.unseal(tmp_path / "set.h5")
        with pytest.raises(ValueError, match=message):
            DistilledSet.load(tmp_path / "set.h5")


def test_the_file_describes_itself(tmp_path):
    distilled().save(tmp_path / "set.h5")
    with h5py.File(tmp_path / "set.h5") as file:
        assert file.attrs["format"] == "kerasticket distilled set"
        assert file.attrs["format_version"] == 1
        assert file.attrs["source"] == '"mine:1.0/train"'
        assert '"keras"' in file.attrs["versions"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": np.zeros((4, 8, 8, 3))}, "images must be float32"),
        ({"images": np.zeros((0, 8, 8, 3), np.float32), "labels": np.zeros(0, np.int64)}, "n at least 1"),
        ({"images": np.full((4, 8, 8, 3), np.nan, np.float32)}, "images must be finite.*768 NaN"),
        ({"images": np.full((4, 8, 8, 3), 200, np.float32)}, r"pixels in \[0, 1\].*200.*divide bytes by 255"),
        ({"labels": np.array([0, 0, 1, 2])}, r"labels must lie in 0\.\.1.*Received: 0\.\.2"),
        ({"labels": np.array([0, 0, 1])}, r"labels must be int64 of shape \(4,\)"),
        ({"labels": SOFT.astype(np.float64)}, "soft labels must be float32"),
        ({"labels": SOFT[:, :1]}, r"soft labels must be float32 of shape \(4, 2\)"),
        ({"labels": SOFT * 2}, "sum to 1"),
        ({"space": "lab"}, "space to be one of"),
        ({"space": "zca"}, 'space "zca" needs zca='),
        ({"mean": (), "std": ()}, "one number per channel"),
        ({"factor": 0}, "factor must be at least 1"),
        ({"factor": 7}, "factor must be at least 1 and leave pixels"),
        ({"settings": {"function": print}}, "settings must be a dict that JSON can hold"),
        ({"accuracy": {"mean": float("nan")}}, "accuracy must be a dict that JSON can hold"),
        ({"seeds": [1]}, "seeds must be a dict that JSON can hold"),
    ],
)
def test_impossible_fields_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        distilled(**changes)


def test_damaged_and_foreign_files_are_refused(tmp_path):
    path = tmp_path / "set.h5"
    with pytest.raises(ValueError, match="does not exist"):
        DistilledSet.load(path)
    distilled().save(path)
    whole = path.read_bytes()
    for length in (0, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="truncated, damaged or no HDF5 file"):
            DistilledSet.load(path)
    path.write_bytes(b"PK\x03\x04 a zip file")
    with pytest.raises(ValueError, match="truncated, damaged or no HDF5 file"):
        DistilledSet.load(path)
    with h5py.File(path, "w") as file:
        file["data"] = np.zeros(3)
    with pytest.raises(ValueError, match="must say format='kerasticket distilled set'"):
        DistilledSet.load(path)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda file: file.attrs.__setitem__("format_version", 2), "must have format version 1. Received: 2"),
        (lambda file: file.attrs.__delitem__("source"), "truncated, damaged"),
        (lambda file: file.attrs.__setitem__("mean", "3"), "not a usable distilled set"),
        (lambda file: file.attrs.__setitem__("factor", '"two"'), "not a usable distilled set"),
        (
            lambda file: file.attrs.__setitem__("class_names", '["cat"]'),
            r"not a usable.*labels must lie in 0\.\.0",
        ),
        (
            lambda file: file["images"].__setitem__(0, np.nan),
            "not a usable distilled set: images must be finite",
        ),
        (lambda file: file["labels"].__setitem__(0, 5), r"not a usable.*labels must lie in"),
    ],
)
def test_a_file_with_impossible_values_is_refused(tmp_path, damage, message):
    distilled().save(tmp_path / "set.h5")
    with h5py.File(tmp_path / "set.h5", "r+") as file:
        damage(file)
    nets.unseal(tmp_path / "set.h5")
    with pytest.raises(ValueError, match=message):
        DistilledSet.load(tmp_path / "set.h5")


def test_saving_is_all_or_nothing(tmp_path, monkeypatch):
    path = tmp_path / "set.h5"
    distilled().save(path)
    before = path.read_bytes()
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(ValueError, match=r"Cannot write.*disk full"):
        distilled(method="another").save(path)
    assert path.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1
    with pytest.raises(ValueError, match=r"Cannot write.*existing folder"):
        distilled().save(tmp_path / "absent" / "set.h5")


def test_cells_are_decoded_class_by_class_then_cell_by_cell():
    """Every stored cell has its own gray, 100 * image + cell, so the order can be read off."""
    images = np.zeros((4, 4, 4, 1), np.float32)
    for image in range(4):
        for cell, (row, column) in enumerate(np.ndindex(2, 2)):
            images[image, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2] = (100 * image + cell) / 400
    stored = distilled(images=images, mean=(0.0,), std=(1.0,))
    decoded, labels = stored.decode()
    grays = np.round(decoded[:, 0, 0, 0] * 400).astype(int).tolist()
    assert grays == [0, 100, 1, 101, 2, 102, 3, 103, 200, 300, 201, 301, 202, 302, 203, 303]
    assert labels.tolist() == [0] * 8 + [1] * 8
    assert (decoded == decoded[:, :1, :1]).all()
    assert (stored.images_per_class, stored.decoded_count) == (2, 16)


def test_one_cell_enlarged_by_hand():
    cell = np.array([[0, 1], [0, 1]], np.float32)
    images = np.tile(cell, (2, 2))[None, :, :, None]
    np.testing.assert_allclose(decode_cells(np, images, 2)[0, :, :, 0], [[0, 0.25, 0.75, 1]] * 4)


def test_factor_one_changes_nothing():
    stored = distilled(factor=1, labels=SOFT)
    images, labels = stored.decode()
    assert (images == stored.images).all()
    assert (labels == SOFT).all()


def test_soft_labels_follow_their_image():
    stored = distilled(labels=SOFT)
    images, labels = stored.decode()
    assert labels.shape == (16, 2)
    # Most probable classes 0 0 1 1: two runs of two images.
    np.testing.assert_array_equal(labels[:8], np.tile(SOFT[:2], (4, 1)))
    np.testing.assert_array_equal(labels[8:], np.tile(SOFT[2:], (4, 1)))
    assert images.shape == (16, 8, 8, 3)


@pytest.mark.parametrize(("side", "factor"), [(8, 2), (16, 2), (9, 3), (32, 3), (10, 4)])
def test_cells_equal_torch_interpolation_of_idcs_padding(side, factor):
    torch = pytest.importorskip("torch")
    images = RNG.random((3, side, side, 2), dtype=np.float32)
    padded = torch.tensor(images).permute(0, 3, 1, 2)
    padded = torch.nn.functional.pad(padded, (0, -side % factor, 0, -side % factor), value=0.5)
    cell = padded.shape[-1] // factor
    cells = [padded[:, :, i * cell : (i + 1) * cell, j * cell : (j + 1) * cell] for i, j in np.ndindex(factor, factor)]
    expected = torch.nn.functional.interpolate(
        torch.cat(cells), size=(side, side), mode="bilinear", align_corners=False
    )
    ours = decode_cells(np, images, factor)
    np.testing.assert_allclose(ours, expected.permute(0, 2, 3, 1).numpy(), atol=1e-6)


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_decoding_on_the_backend_equals_numpy(factor):
    images = RNG.random((3, 16, 16, 3), dtype=np.float32)
    ours = keras.ops.convert_to_numpy(decode_cells(keras.ops, keras.ops.convert_to_tensor(images), factor))
    np.testing.assert_allclose(ours, decode_cells(np, images, factor), atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(side=st.integers(4, 20), factor=st.integers(1, 4), count=st.integers(1, 3))
def test_tiling_a_constant_per_cell_is_undone_by_decoding(side, factor, count):
    if (factor - 1) * -(-side // factor) >= side or side % factor:
        return
    grays = np.arange(factor**2 * count, dtype=np.float32)
    cells = np.broadcast_to(grays[:, None, None, None], (len(grays), side, side, 1)).copy()
    np.testing.assert_allclose(decode_cells(np, tile_cells(cells, factor), factor), cells, rtol=1e-6)


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


def real(**changes) -> ImageSet:
    values = {
        "images": np.zeros((2, 8, 8, 3), np.uint8),
        "labels": np.array([0, 1]),
        "class_names": ("cat", "dog"),
        "source": "mine:1.0/test",
        "mean": (0.5, 0.4, 0.3),
        "std": (0.25, 0.2, 0.1),
    }
    return ImageSet(**(values | changes))


def test_matching_data_are_accepted():
    distilled().check_matches(real())
    distilled(space="normalized").check_matches(real())


@pytest.mark.parametrize(
    ("ours", "theirs", "message"),
    [
        ({}, {"images": np.zeros((2, 4, 4, 3), np.uint8)}, "image shape: (8, 8, 3) against (4, 4, 3)"),
        ({}, {"class_names": ("dog", "cat")}, "order: ('cat', 'dog') against ('dog', 'cat')"),
        ({}, {"mean": (0.5, 0.4, 0.2)}, "value space: [0, 1] normalized with mean (0.5, 0.4, 0.3)"),
        (
            ZCA,
            {},
            "value space: ZCA of cifar10:3.0.2/train with epsilon 0.1 against [0, 1] normalized",
        ),
    ],
)
def test_data_of_another_kind_are_refused_with_both_sides_named(ours, theirs, message):
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        distilled(**ours).check_matches(real(**theirs))
    assert "mine:1.0/train" in str(error.value)
    assert "mine:1.0/test" in str(error.value)


def test_images_per_class_needs_equal_classes():
    with pytest.raises(ValueError, match=r"equal classes. Received: \[3, 1\]"):
        _ = replace(distilled(), labels=np.array([0, 0, 0, 1])).images_per_class
