"""Where real images come from: the embedded digits, TensorFlow Datasets where present, folders, and arrays."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from kerasticket.data import DATASETS, IMAGENET10, StreamedImages, load, load_folder
from kerasticket.data.augmentation.resize import resize
from kerasticket.data.sources import archives, digits

pytestmark = pytest.mark.same_on_every_backend
NAMES = ("cat", "dog")
X = np.random.default_rng(0).integers(0, 256, (6, 8, 10), dtype=np.uint8)
Y = np.array([0, 1, 2, 0, 1, 2])


def test_digits_are_split_once_and_for_all():
    positions = digits.split_positions(load_digits().target)
    assert len(positions["train"]) == 1000
    assert sorted([*positions["train"], *positions["test"]]) == list(range(1797))
    assert positions["train"][:8].tolist() == [1, 2, 3, 8, 11, 13, 15, 17]
    train, test = load("digits"), load("digits", "test")
    assert np.bincount(train.labels).tolist() == [100] * 10
    assert (len(test), test.num_classes, train.input_shape) == (797, 10, (16, 16, 1))


def test_digits_become_bytes_exactly():
    native = load_digits().images[digits.split_positions(load_digits().target)["train"]]
    assert (load("digits", image_size=8).images[..., 0] == np.round(native * 255 / 16)).all()
    sixteenths = resize(np, native[..., None], 16, 16) * 16
    assert (sixteenths == np.round(sixteenths)).all()
    assert (load("digits").images == np.round(sixteenths * 255 / 256)).all()


def test_digits_constants_were_measured_on_the_train_split():
    pixels = load("digits").to_float().astype(np.float64)
    assert pixels.mean() == pytest.approx(digits.MEAN[0], abs=5e-5)
    assert pixels.std() == pytest.approx(digits.STD[0], abs=5e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "cifar"}, "Unknown data set.*Did you mean 'cifar10'"),
        ({"name": "qqqq"}, "Unknown data set.*Received: 'qqqq'"),
        ({"name": "digits", "split": "validation"}, "split to be one of"),
        ({"name": "digits", "image_size": 0}, "image_size must be at least 1"),
        ({"name": "folder:/no/such"}, "Expected a folder.*Received: /no/such"),
    ],
)
def test_bad_requests_are_refused_at_once(arguments, message):
    with pytest.raises(ValueError, match=message):
        load(**arguments)


def test_absent_data_without_download_name_the_folder(tmp_path):
    with pytest.raises(ValueError, match=f"{tmp_path}.*download=False.*TFDS_DATA_DIR"):
        load("mnist", data_dir=tmp_path, download=False)


def test_absent_data_without_network_fail_fast_and_name_the_folder(tmp_path, monkeypatch):
    def unreachable(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr(archives.socket, "create_connection", unreachable)
    monkeypatch.setattr(archives.urllib.request, "getproxies", dict)
    with pytest.raises(ValueError, match=f"{tmp_path}.*failed.*no route.*connect to the network"):
        load("mnist", data_dir=tmp_path)


def test_a_proxy_is_not_probed(monkeypatch):
    monkeypatch.setattr(archives.urllib.request, "getproxies", lambda: {"https": "http://proxy"})
    archives.probe("https://no.such.host.invalid/")


def test_every_data_set_has_constants_for_its_channels():
    for name, dataset in DATASETS.items():
        if name != "digits":
            assert len(dataset.mean) == len(dataset.std)
            assert dataset.url.startswith(("http://", "https://"))


@pytest.mark.usefixtures("real_cifar10")
def test_constants_are_those_of_the_codes_whose_sets_are_read():
    """IDC's, the paper's and DC's tables, which give CIFAR-100 the numbers of CIFAR-10."""
    cifar = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
    svhn = (0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970)
    table = {"cifar10": cifar, "cifar100": cifar, "svhn_cropped": svhn, "mnist": ((0.1307,), (0.3081,))}
    for name, (mean, std) in table.items():
        assert (DATASETS[name].mean, DATASETS[name].std) == (mean, std)


def test_damaged_files_of_a_data_set_are_named(tmp_path):
    version = next(path for path in Path(os.environ["TFDS_DATA_DIR"], "cifar10").iterdir() if path.name[0].isdigit())
    broken = tmp_path / "cifar10" / version.name
    shutil.copytree(version, broken, ignore=shutil.ignore_patterns("*train.tfrecord*"))
    with pytest.raises(ValueError, match="damaged or missing"):
        load("cifar10", "train", images_per_class=1, data_dir=tmp_path)


@pytest.mark.usefixtures("real_cifar10")
def test_images_of_a_subset_keep_their_labels():
    import tensorflow_datasets as tfds

    subset = load("cifar10", "test", images_per_class=100)
    first = tfds.as_numpy(tfds.load("cifar10", split="test[:1500]", data_dir=os.environ["TFDS_DATA_DIR"]))
    label_of = {example["image"].tobytes(): int(example["label"]) for example in first}
    pairs = zip(subset.images, subset.labels, strict=True)
    found = [(label_of[image.tobytes()], label) for image, label in pairs if image.tobytes() in label_of]
    assert len(found) > 50
    assert all(expected == label for expected, label in found)


@pytest.mark.usefixtures("real_cifar10")
def test_cifar10_is_decoded_only_as_far_as_asked():
    images = load("cifar10", "test", images_per_class=50, seed=1)
    assert images.source == "cifar10:3.0.2/test, 50 per class, seed 1"
    assert np.bincount(images.labels).tolist() == [50] * 10
    assert images.class_names[:3] == ("airplane", "automobile", "bird")
    pixels = images.to_float().reshape(-1, 3).mean(axis=0, dtype=np.float64)
    np.testing.assert_allclose(pixels, images.mean, atol=0.03)
    assert (load("cifar10", "test", images_per_class=50, seed=1).images == images.images).all()
    assert load("cifar10", "test", images_per_class=2, image_size=8).input_shape == (8, 8, 3)


@pytest.mark.usefixtures("real_imagenette")
def test_imagenette_is_cropped_and_streams_above_the_memory_limit():
    images = load("imagenette", "test", images_per_class=3)
    assert images.images.shape == (30, 64, 64, 3)
    streamed = load("imagenette", "test", images_per_class=3, memory_limit=1000)
    assert isinstance(streamed, StreamedImages)
    assert streamed.source == images.source
    assert (streamed.to_memory().images == images.images).all()


def write_folder(root, classes, sizes, suffix="png"):
    """<root>/<split>/<class>/<number>.<suffix>, each image filled with its own value."""
    import tensorflow as tf

    value = 0
    for split, count in sizes.items():
        for name in classes:
            folder = root / split / name
            folder.mkdir(parents=True)
            for index in range(count):
                value += 1
                pixels = np.full((12, 20, 3), value, np.uint8)
                tf.io.write_file(str(folder / f"{index}.{suffix}"), tf.io.encode_png(pixels))
    return root


def test_a_folder_is_read_in_the_order_of_its_names(tmp_path):
    root = write_folder(tmp_path, ["b", "a"], {"train": 3, "val": 1})
    images = load(f"folder:{root}", image_size=8)
    assert (images.class_names, images.labels.tolist()) == (("a", "b"), [0, 0, 0, 1, 1, 1])
    assert images.images[:, 0, 0, 0].tolist() == [4, 5, 6, 1, 2, 3]
    assert len(load_folder(root, "test", image_size=8)) == 2
    assert load_folder(root, wnids=("b",), image_size=8, images_per_class=2).class_names == ("b",)
    streamed = load_folder(root, image_size=8, memory_limit=10)
    assert (streamed.to_memory().images == images.images).all()
    assert len(streamed.subset(1, seed=0)) == 2


def test_imagenet10_takes_the_papers_classes_in_the_papers_order(tmp_path):
    root = write_folder(tmp_path, [*sorted(IMAGENET10), "n00000001"], {"train": 1})
    images = load(f"imagenet10:{root}", image_size=8)
    assert images.class_names == IMAGENET10
    assert len(IMAGENET10) == len(set(IMAGENET10)) == 10
    assert (images.images.shape, images.mean) == ((10, 8, 8, 3), (0.485, 0.456, 0.406))


def test_bad_folders_are_refused(tmp_path):
    (tmp_path / "pictures").mkdir()
    with pytest.raises(ValueError, match=r"needs a folder train for 'train'.*pictures"):
        load_folder(tmp_path)
    (tmp_path / "train" / "cat").mkdir(parents=True)
    with pytest.raises(ValueError, match="holds no image files"):
        load_folder(tmp_path)
    with pytest.raises(ValueError, match=r"missing: \['dog'\]"):
        load_folder(tmp_path, wnids=("dog",))
    (tmp_path / "train" / "cat" / "broken.jpg").write_bytes(b"\xff\xd8 no image")
    with pytest.raises(ValueError, match=r"cat.broken.jpg cannot be read as an image"):
        load_folder(tmp_path, image_size=8)


def test_a_wide_image_is_cropped_at_its_center(tmp_path):
    import tensorflow as tf

    pixels = np.zeros((8, 16, 3), np.uint8)
    pixels[:, 4:12] = 200
    (tmp_path / "train" / "only").mkdir(parents=True)
    tf.io.write_file(str(tmp_path / "train" / "only" / "a.png"), tf.io.encode_png(pixels))
    assert (load_folder(tmp_path, image_size=8).images == 200).all()


def test_streamed_images_refuse_a_mixture_of_paths_and_bytes():
    with pytest.raises(ValueError, match="all paths"):
        StreamedImages(np.array(["a", b"b"], dtype=object), np.array([0, 1]), NAMES, "mine", (0.5,), (1.0,), (8, 8, 1))


def test_an_npz_of_own_arrays_is_a_data_set(tmp_path):
    path = tmp_path / "own.npz"
    np.savez(path, x_train=X, y_train=Y, x_test=X[:2] // 2, y_test=Y[:2], class_names=["a", "b", "c"])
    train, test = (load(f"npz:{path}", split) for split in ("train", "test"))
    assert (train.mean, train.class_names) == (test.mean, test.class_names)
    assert (test.images[..., 0] == X[:2] // 2).all()
    assert len(load(f"npz:{path}", images_per_class=1)) == 3
    np.savez(path, images=X, labels=Y)
    assert (load(f"npz:{path}").images[..., 0] == X).all()
    with pytest.raises(ValueError, match=r"own.npz must hold the arrays .*test_labels.* for 'test'"):
        load(f"npz:{path}", "test")
    path.write_bytes(b"PK no archive")
    with pytest.raises(ValueError, match=r"own.npz cannot be read as an .npz"):
        load(f"npz:{path}")
    with pytest.raises(ValueError, match="image_size is not for arrays"):
        load(f"npz:{path}", image_size=8)
