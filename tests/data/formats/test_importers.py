"""Importers of other projects' distilled sets: each format, the check of the space, and what is refused."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

import kerasticket as kt
from kerasticket.data.formats import importers
from kerasticket.data.zca import ZCA

pytestmark = pytest.mark.same_on_every_backend

MTT = Path(__file__).parents[4] / "shared" / "distilled" / "mtt_cifar10_10ipc_images.pt"


@pytest.fixture(scope="module")
def digits():
    return kt.data.load("digits")


@pytest.fixture(scope="module")
def stored(digits):
    """Three digits of each class: pixels in [0, 1], channels last, and labels."""
    real = kt.data.random_real(digits, 3, 0)
    return real.images, real.labels


def write(format, folder, images, labels):
    """Files as that project writes them, and the path to give."""
    first = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    if format == "arrays":
        np.savez(folder / "set.npz", images=images, labels=labels)
        return folder / "set.npz"
    if format in ("rded", "folder"):
        tf = pytest.importorskip("tensorflow")
        for i, (image, label) in enumerate(zip(images, labels, strict=True)):
            place = folder / (f"class{label:05d}_id{i:05d}.png" if format == "rded" else f"{label}/{i:05d}.png")
            place.parent.mkdir(exist_ok=True)
            place.write_bytes(tf.io.encode_png((image * 255).round().astype(np.uint8)).numpy())
        return folder
    torch = pytest.importorskip("torch")
    images, labels = torch.from_numpy(first), torch.from_numpy(labels)
    if format in ("mtt", "tesla"):
        torch.save(labels, folder / "labels_best.pt")
        torch.save(images, folder / "images_best.pt")
        return folder / "images_best.pt"
    pair = [images, labels]
    torch.save(
        pair if format == "idc" else {"data": [[images * 0, labels], pair], "accs_all_exps": {"ConvNet": [0.5]}},
        folder / "data.pt",
    )
    return folder / "data.pt"


@pytest.mark.parametrize("format", importers.FORMATS)
def test_each_format_gives_the_images_that_were_written(format, tmp_path, digits, stored):
    """Values to a byte's rounding, labels, class names and the space of the format."""
    images, labels = stored
    space = importers.FORMATS[format].space
    if space == "normalized":
        images = ((images - np.float32(digits.mean)) / np.float32(digits.std)).astype(np.float32)
    elif space == "zca":
        images = ZCA.fit(digits).whitened(images)
    factor = 1 if format == "idc" else None
    read = importers.read(write(format, tmp_path, images, labels), format, real=digits, factor=factor)
    np.testing.assert_allclose(read.images, images, atol=1e-6)
    np.testing.assert_array_equal(read.labels, labels)
    assert (read.space, read.class_names, read.source) == (space, digits.class_names, digits.source)
    assert read.factor == 1


def test_the_factor_of_idc_is_told_by_its_folder_and_checked(tmp_path, digits, stored):
    mixed = kt.data.mix(digits, 3, 2)
    assert importers.read(write("idc", tmp_path, mixed.images, mixed.labels), "idc", real=digits).factor == 2
    with pytest.raises(ValueError, match=r"said to be of factor 3, but looks like 2 .*Pass factor=2"):
        importers.read(tmp_path / "data.pt", "idc", real=digits, factor=3)
    path = write("idc", tmp_path, *stored)
    with pytest.raises(ValueError, match=r"said to be of factor 2, but looks like 1 .*Pass factor=1"):
        importers.read(path, "idc", real=digits)
    folder = tmp_path / "conv3in_grad_mse_nd2000_cut_niter2000_factor1_lr0.005_mix_ipc10"
    folder.mkdir()
    assert importers.read(path.rename(folder / "data.pt"), "idc", real=digits).factor == 1


def test_named_folders_follow_the_order_of_the_names_that_are_known(tmp_path, digits, stored):
    """Not their own; without any, they are the names."""
    real = dataclasses.replace(digits, class_names=tuple(f"digit {name}" for name in "9081726354"))
    names = [f"digit {label}" for label in range(10)]
    for name, image in zip(names, stored[0][::3], strict=True):
        write("folder", tmp_path, image[None], np.array([0]))
        (tmp_path / "0").rename(tmp_path / name)
    about = {"mean": (0.5,), "std": (0.5,)}
    read = importers.read(tmp_path, "folder", class_names=real.class_names, **about)
    for image, label in zip(read.images, read.labels, strict=True):
        place = names.index(real.class_names[label])
        np.testing.assert_allclose(image, stored[0][3 * place], atol=1e-6)
    assert importers.read(tmp_path, "folder", **about).class_names == tuple(names)
    with pytest.raises(ValueError, match=r"has classes \['digit 0'.*which are none of \['0', '1'"):
        importers.read(tmp_path, "folder", real=digits)


def test_a_class_in_several_folders_is_refused(tmp_path, stored):
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
        write("folder", tmp_path / split, *stored)
    with pytest.raises(ValueError, match=r"class '0' in .*test.0 and in .*train.0: pass one"):
        importers.read(tmp_path, "folder")


def test_images_that_mtt_has_whitened_back_have_the_labels_of_the_others(tmp_path, digits, stored):
    path = write("mtt", tmp_path, *stored)
    read = importers.read(path.rename(tmp_path / "images_zca_best.pt"), "mtt", real=digits)
    assert (read.space, read.labels.tolist()) == ("unit", stored[1].tolist())


def test_large_images_of_mtt_are_not_taken_for_whitened(tmp_path):
    """ZCA of 128 x 128 pixels would take 45 GiB."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (20, 128, 128, 3), np.uint8)
    names, labels = ("cat", "dog"), np.arange(20) % 2
    real = kt.data.ImageSet(pixels, labels, names, "large", (0.5,) * 3, (0.25,) * 3)
    path = write("mtt", tmp_path, (pixels[:4] / np.float32(255) - np.float32(0.5)) / np.float32(0.25), labels[:4])
    assert importers.read(path, "mtt", real=real).space == "normalized"
    with pytest.raises(ValueError, match=r"ZCA of images of 49,152 values would take 45 GiB"):
        importers.read(path, "mtt", real=real, space="zca")


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((2, 8, 8, 1)), np.array(["cat", "dog"]), "must hold labels"),
        (np.zeros((2, 8, 8, 1), complex), np.arange(2), "must hold images, numbers"),
        (np.full((2, 8, 8, 1), "0.5"), np.arange(2), "must hold images, numbers"),
        (np.zeros((0, 8, 8, 1)), np.arange(0), "must hold images, numbers"),
        (np.zeros((1, 8, 8, 1)), np.array(0), "must hold labels"),
    ],
)
def test_arrays_of_something_else_are_refused(images, labels, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        importers.read(write("arrays", tmp_path, images, labels), "arrays", mean=(0.5,), std=(0.5,))


def test_soft_labels_may_lack_a_class_too(tmp_path, digits, stored):
    soft = (np.eye(10) * 0.9 + 0.01).astype(np.float32)[stored[1]]
    path = write("arrays", tmp_path, stored[0][:27], soft[:27])
    with pytest.raises(ValueError, match=r"no images of the classes \['9'\]"):
        importers.read(path, "arrays", real=digits)


def test_a_wrong_space_is_an_error_with_the_evidence(tmp_path, digits, stored):
    """Whitened images that are said to be normalized are refused; so are normalized ones said to be whitened."""
    images, labels = stored
    whitened = ZCA.fit(digits).whitened(images)
    normalized = ((images - np.float32(digits.mean)) / np.float32(digits.std)).astype(np.float32)
    for wrong, pixels, said in (("zca", whitened, "normalized"), ("normalized", normalized, "zca")):
        path = write("arrays", tmp_path, pixels, labels)
        with pytest.raises(
            ValueError, match=rf"said to be in space '{said}', but looks like '{wrong}' \(.*\d+% lie nearest"
        ):
            importers.read(path, "arrays", real=digits, space=said)
    path = write("arrays", tmp_path, normalized, labels)
    with pytest.raises(ValueError, match=r"pixels in \[0, 1\]"):
        importers.read(path, "arrays", real=digits)


def test_a_set_of_other_data_is_refused(tmp_path, digits, stored):
    """Another shape, classes that are missing, labels out of range."""
    images, labels = stored
    with pytest.raises(ValueError, match=r"shape \(8, 8, 1\); those of digits.* have \(16, 16, 1\)"):
        importers.read(write("arrays", tmp_path, images[:, :8, :8], labels), "arrays", real=digits)
    with pytest.raises(ValueError, match=r"no images of the classes \['9'\]"):
        importers.read(write("arrays", tmp_path, images[labels < 9], labels[labels < 9]), "arrays", real=digits)
    few = dataclasses.replace(digits, images=digits.images[digits.labels < 9], labels=digits.labels[digits.labels < 9])
    with pytest.raises(ValueError, match=r"real images of every class.*none of \['9'\]"):
        importers.read(write("arrays", tmp_path, images, labels), "arrays", real=few)
    with pytest.raises(ValueError, match=r"labels must lie in 0\.\.9"):
        importers.read(write("arrays", tmp_path, images, labels + 1), "arrays", real=digits)
    with pytest.raises(ValueError, match="whole numbers as labels"):
        importers.read(write("arrays", tmp_path, images, labels + 0.5), "arrays", real=digits)
    with pytest.raises(ValueError, match="NaN"):
        importers.read(write("arrays", tmp_path, images * np.nan, labels), "arrays", real=digits)


def test_without_real_images_the_fields_are_given(tmp_path, stored):
    """Class names default to numbers; mean and std have to be told."""
    path = write("arrays", tmp_path, *stored)
    read = importers.read(path, "arrays", mean=(0.3,), std=(0.4,), source="mine")
    assert (read.class_names, read.source) == (tuple("0123456789"), "mine")
    with pytest.raises(ValueError, match="mean and std"):
        importers.read(path, "arrays")


def test_soft_labels_and_channels_first_are_read(tmp_path, digits, stored):
    """Distributions stay as they are."""
    images, labels = stored
    soft = np.eye(10, dtype=np.float32)[labels] * 0.9 + 0.01
    path = write("arrays", tmp_path, images.transpose(0, 3, 1, 2), soft)
    read = importers.read(path, "arrays", real=digits)
    np.testing.assert_array_equal(read.images, images)
    np.testing.assert_array_equal(read.labels, soft)


def test_files_that_cannot_be_read_are_named(tmp_path, stored):
    """Absent, cut short, of several sizes, or with labels that nobody can name."""
    images, labels = stored
    with pytest.raises(ValueError, match=r"absent.npz cannot be read as a set of format 'arrays'"):
        importers.read(tmp_path / "absent.npz", "arrays")
    path = write("arrays", tmp_path, images, labels)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match="cannot be read"):
        importers.read(path, "arrays")
    with pytest.raises(ValueError, match=r"Expected labels in 0\.\.29, or class_names="):
        importers.read(write("arrays", tmp_path, images, labels + 2**40), "arrays")
    folder = tmp_path / "images"
    folder.mkdir()
    write("rded", folder, images[:2], labels[:2])
    (folder / "class00001_id00009.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match="cannot be read"):
        importers.read(folder, "rded")
    write("rded", folder, images[9:10, :8, :8], np.array([1]))
    (folder / "class00001_id00000.png").rename(folder / "class00001_id00009.png")
    with pytest.raises(ValueError, match="images of 2 sizes"):
        importers.read(folder, "rded")


def test_folders_with_numbers_are_classes_by_number(tmp_path, stored):
    """2 comes before 10, and a class that is missing keeps its number."""
    names = ("2", "10", "11")
    for name, label in zip(names, (2, 3, 4), strict=True):
        write("folder", tmp_path, stored[0][:1], np.array([label]))
        (tmp_path / str(label)).rename(tmp_path / f"new{name}")
    for name in names:
        (tmp_path / f"new{name}").rename(tmp_path / name)
    about = {"class_names": tuple(map(str, range(12))), "mean": (0.5,), "std": (0.5,)}
    assert sorted(importers.read(tmp_path, "folder", **about).labels.tolist()) == [2, 10, 11]


def test_names_that_are_unknown_are_refused(tmp_path, stored):
    path = write("arrays", tmp_path, *stored)
    with pytest.raises(ValueError, match="Expected a format of"):
        importers.read(path, "numpy")
    with pytest.raises(ValueError, match="Expected a space of"):
        importers.read(path, "arrays", space="rgb")


@pytest.mark.usefixtures("real_cifar10")
@pytest.mark.skipif(not MTT.is_file(), reason=f"needs {MTT}")
def test_the_published_set_of_mtt(monkeypatch):
    """100 images of ten classes in ZCA space; taken for normalized ones, they are refused."""
    real = kt.data.load("cifar10", images_per_class=400)
    zca = ZCA.fit(real)  # once: it takes seconds
    monkeypatch.setattr(ZCA, "fit", lambda *arguments: zca)
    read = importers.read(MTT, "mtt", real=real)
    assert (read.images.shape, read.images_per_class, read.space) == ((100, 32, 32, 3), 10, "zca")
    assert read.images.std() == pytest.approx(0.55, abs=0.02)
    with pytest.raises(ValueError, match="looks like 'zca'"):
        importers.read(MTT, "mtt", real=real, space="normalized")


def test_soft_labels_that_are_logits_are_read_at_their_temperature(tmp_path, digits, stored):
    images, labels = stored
    logits = (np.eye(10) * 6 - 3).astype(np.float32)[labels]
    path = write("arrays", tmp_path, images, logits)
    with pytest.raises(ValueError, match=r"Received: values in \[-3, 3\], which look like logits.*temperature"):
        importers.read(path, "arrays", real=digits)
    read = importers.read(path, "arrays", real=digits, temperature=2.0)
    exponents = np.exp(logits / 2.0)
    np.testing.assert_allclose(read.labels, exponents / exponents.sum(axis=1, keepdims=True), rtol=1e-6)
    with pytest.raises(ValueError, match="temperature > 0"):
        importers.read(path, "arrays", real=digits, temperature=0.0)
    (tmp_path / "hard").mkdir()
    with pytest.raises(ValueError, match=r"holds classes and no logits. Received: temperature=1\.0"):
        importers.read(write("arrays", tmp_path / "hard", images, labels), "arrays", real=digits, temperature=1.0)
