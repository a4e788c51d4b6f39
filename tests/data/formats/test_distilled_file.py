"""The HDF5 file of a distilled set: whole or refused, by what is wrong with it."""

import h5py
import nets
import numpy as np
import pytest
from distilled_sets import distilled

from kerasticket.data import DistilledSet
from kerasticket.data.formats import distilled_file

pytestmark = pytest.mark.same_on_every_backend


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


def test_the_old_spelling_of_a_space_is_understood(tmp_path):
    distilled_file.write(tmp_path / "set.h5", {"images": np.ones(3)}, {"space": "normalised", "more": [1]})
    found = distilled_file.read(tmp_path / "set.h5", {"images"}, {"space"})
    assert found.keys() == {"images", "space"}  # what is asked for
    assert found["space"] == "normalized"
    with pytest.raises(ValueError, match="it lacks 'labels'"):
        distilled_file.read(tmp_path / "set.h5", {"images"}, {"labels"})
