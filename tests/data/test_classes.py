"""Names, order and labels of classes, wherever data come from, and what is ignored or refused at the door."""

import dataclasses
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from image_folders import folders, write

import kerasticket as kt
from kerasticket.data import classes, load, load_folder
from kerasticket.data.formats import importers

pytestmark = pytest.mark.same_on_every_backend


@pytest.mark.parametrize(
    "names",
    [
        tuple(map(str, range(12))),
        tuple(f"{number:02}" for number in range(1, 13)),
        tuple(f"class{number}" for number in range(1, 13)),
        tuple(f"{number}_thing" for number in range(1, 13)),
        ("2", "10", "B", "a", "é"),
        ("n01440764", "n02102040", "n13037406"),
    ],
)
def test_folders_and_importers_read_the_same_images_in_each_class(names, tmp_path):
    """`names` are in the order expected; each class's gray level tells whose images it has."""
    folders(tmp_path, names)
    real = load_folder(tmp_path)
    assert real.class_names == names
    assert real.images[:, 0, 0, 0].tolist() == [20 * place for place in range(len(names))]
    read = importers.read(tmp_path / "train", "folder", class_names=real.class_names, mean=(0.5,) * 3, std=(0.5,) * 3)
    by_label = read.images[np.argsort(read.labels), 0, 0, 0] * 255
    np.testing.assert_allclose(by_label, real.images[:, 0, 0, 0], atol=1e-4)


@given(st.lists(st.text("ab-_Z ü", min_size=1, max_size=4), unique=True))
@settings(max_examples=50, deadline=None)
def test_words_and_numbers_of_one_length_keep_the_order_of_text(names):
    assert list(classes.in_order(names)) == sorted(names)
    padded = [f"{name}{index % 90 + 10}" for index, name in enumerate(names)]
    assert list(classes.in_order(padded)) == sorted(set(padded))


@given(st.permutations(range(5)), st.booleans())
@settings(max_examples=30, deadline=None)
def test_labels_follow_their_names_into_any_order(order, soft):
    names = tuple("abcde")
    labels = np.eye(5, dtype=np.float32)[[4, 0, 2, 2]] if soft else np.array([4, 0, 2, 2])
    images = np.zeros((4, 4, 4, 1), np.float32)
    ours = kt.data.DistilledSet(images, labels, names, "mine", "hand", mean=(0.5,), std=(1.0,))
    theirs = classes.in_the_order_of(ours, [names[place] for place in order], "others")
    assert [theirs.class_names[label] for label in theirs.hard_labels] == ["e", "a", "c", "c"]


def test_other_names_are_refused_and_numbers_are_no_names():
    ours = kt.data.ImageSet(np.zeros((2, 4, 4, 1), np.uint8), [0, 1], ("cat", "dog"), "pets", (0.5,), (1.0,))
    with pytest.raises(ValueError, match=r"only in the first \['dog'\], only in the second \['fox'\]"):
        classes.in_the_order_of(ours, ("cat", "fox"), "the test data")
    unknown = dataclasses.replace(ours, class_names=("0", "1"), source="unknown")
    with pytest.raises(ValueError, match="Expected the same classes"):  # "pets" has them as names
        classes.in_the_order_of(dataclasses.replace(unknown, source="pets"), ("dog", "cat"), "pets")
    told = classes.in_the_order_of(unknown, ("dog", "cat"), "pets")
    assert (told.class_names, told.labels.tolist()) == (("dog", "cat"), [0, 1])


@pytest.mark.parametrize("other", [("bag", "coat"), ("bag", "shirt", "zebra"), ("bag", "Coat", "shirt")])
@pytest.mark.parametrize("split", ["train", "test"])
def test_splits_of_other_classes_are_refused(other, split, tmp_path):
    folders(folders(tmp_path, ("bag", "coat", "shirt")), other, "test")
    with pytest.raises(ValueError, match=r"Expected the same classes in .*only in the first"):
        load_folder(tmp_path, split)


def test_an_own_folder_has_its_own_size_and_channels(tmp_path):
    folders(folders(tmp_path, ("a", "b"), shape=(28, 20, 1)), ("a", "b"), "test", (9, 9, 3))
    for split in ("train", "test"):  # the training images decide
        own = load(f"folder:{tmp_path}", split)
        assert (own.input_shape, own.mean) == ((28, 20, 1), (0.449,))
    assert load_folder(tmp_path, channels=3).input_shape == (28, 20, 3)
    write(tmp_path / "train" / "a" / "1.png", 3, (28, 28, 1))
    assert load_folder(tmp_path, memory_limit=0).input_shape == (224, 224, 1)


def test_what_is_no_image_is_ignored_and_counted(tmp_path):
    folders(tmp_path, ("a", "b"))
    train = tmp_path / "train"
    for name in (".ipynb_checkpoints", "a/nested", "__MACOSX"):
        (train / name).mkdir()
    for name in (".DS_Store", "a/Thumbs.db", "a/._0.png", "b/photo.tif"):
        (train / name).touch()
    with pytest.warns(UserWarning, match=r"7 files and folders .*\(.db: 1, .tif: 1, folder: 1, hidden: 4\)"):
        assert load_folder(tmp_path).class_names == ("a", "b")
    with pytest.warns(UserWarning, match=r"\.db: 1, \.tif: 1, hidden: 4"):
        assert importers.read(train, "folder", mean=(0.5,) * 3, std=(0.5,) * 3).class_names == ("a", "b")
    (train / "a" / "link.jpg").symlink_to("nowhere")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ValueError, match=r"link.jpg cannot be read as an image"):
            load_folder(tmp_path)
