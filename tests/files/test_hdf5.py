"""HDF5 results: what is written comes back, a change is told, and nothing reaches out of its file."""

import hashlib

import h5py
import nets
import numpy as np
import pytest

from kerasticket.analysis.results import Surface
from kerasticket.files import hdf5

pytestmark = pytest.mark.same_on_every_backend


def surface() -> Surface:
    x = np.arange(9.0)
    return Surface("random", "none", np.ones((9, 2)), x, x, np.zeros((1, 2)), *np.ones((3, 1)), (1.0, 2.0), 0.1)


def test_a_changed_hdf5_file_is_told_and_plain_hdf5_reads_it(tmp_path):
    path = tmp_path / "surface.h5"
    surface().save(path)
    with h5py.File(path) as file:
        np.testing.assert_array_equal(file["loss"], np.arange(9.0))
    content = bytearray(path.read_bytes())
    place = content.find(np.float64(7).tobytes() + np.float64(8).tobytes())
    content[place : place + 8] = np.float64(6.5).tobytes()
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"surface \(HDF5\).*surface.h5', absent or damaged: it was cut, or changed"):
        Surface.load(path)
    nets.unseal(path)
    assert Surface.load(path).loss[7] == 6.5


HDF5 = {
    "a link": (lambda file: file.__setitem__("loss", h5py.ExternalLink("/etc/passwd", "x")), "'loss' is a link"),
    "a soft link": (lambda file: file.__setitem__("loss", h5py.SoftLink("/accuracy")), "'loss' is a link"),
    "other storage": (
        lambda file: file.create_dataset("loss", (9,), "u1", external=[("/etc/passwd", 0, 9)]),
        "'loss' lies in another file",
    ),
    "a huge shape": (
        lambda file: file.create_dataset("loss", (10**13,), "f8", chunks=True, compression="gzip"),
        "claims 80,000,000,000,000 bytes",
    ),
    "nothing stored": (lambda file: file.create_dataset("loss", (9,), "f8", chunks=True), "of which none are there"),
    "text": (lambda file: file.create_dataset("loss", data=["a"] * 9), "'loss' has object, no numbers"),
    "another shape": (lambda file: file.create_dataset("loss", data=np.ones(8)), r"shape \(8, 2\) as coordinates"),
    "nothing": (lambda file: None, r"fields of a Surface in '.*surface.h5'. Received: \['loss'\] are absent"),
    "a list": (lambda file: file.attrs.__setitem__("about", "[]"), "its description is a list"),
    "depth": (lambda file: file.attrs.__setitem__("about", "[" * 20_000), "nested too deeply"),
}


@pytest.mark.parametrize("damage", HDF5)
def test_a_result_cannot_point_elsewhere_or_claim_more_than_it_holds(damage, tmp_path):
    change, message = HDF5[damage]
    surface().save(tmp_path / "surface.h5")
    nets.unseal(tmp_path / "surface.h5")
    with h5py.File(tmp_path / "surface.h5", "r+") as file:
        del file["loss"]
        change(file)
    with pytest.raises(ValueError, match=message) as error:
        Surface.load(tmp_path / "surface.h5")
    assert "surface.h5" in str(error.value)


def test_devices_are_no_files():
    with pytest.raises(ValueError, match="it is a device or a pipe"):
        hdf5.read("/dev/zero", "kerasticket surface")


def test_the_seal_is_the_sha256_of_what_follows_it(tmp_path):
    path = tmp_path / "a.h5"
    hdf5.write(path, "kerasticket test", {"seeds": [1, 2]}, {"x": np.arange(3), "y": np.zeros((0, 2), "float32")})
    about, arrays = hdf5.read(path, "kerasticket test")
    assert about == {"seeds": [1, 2]}
    assert arrays["x"].tolist() == [0, 1, 2]
    assert (arrays["y"].shape, arrays["y"].dtype) == ((0, 2), "float32")
    content = path.read_bytes()
    assert content.startswith(f"kerasticket sha256 {hashlib.sha256(content[512:]).hexdigest()}\n".encode())
    with pytest.raises(ValueError, match="Expected a kerasticket other .* of format 'kerasticket test'"):
        hdf5.read(path, "kerasticket other")


def test_attributes_are_one_text_or_one_whole_number(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.attrs.update({"text": "a", "number": 3, "list": [1, 2], "real": 0.5})
        assert (hdf5.text(file, "text"), hdf5.number(file, "number")) == ("a", 3)
        assert hdf5.text(file, "absent") is hdf5.number(file, "absent") is None
        with pytest.raises(ValueError, match="attribute 'number' is no text"):
            hdf5.text(file, "number")
        with pytest.raises(ValueError, match="attribute 'real' is no number"):
            hdf5.number(file, "real")
        with pytest.raises(ValueError, match="attribute 'list' is not one value"):
            hdf5.number(file, "list")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda file: file.__setitem__("group/link", h5py.SoftLink("/x")), "'link' is a link"),
        (lambda file: file.__setitem__("group/again", file["group"]), "group '/group/?.*' is there twice"),
        (lambda file: file.create_dataset("big", (10**6,), "f8", chunks=True), "'big' claims 8,000,000 bytes"),
    ],
)
def test_groups_are_looked_through_to_the_last(change, message, tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", data=np.ones(3))
        file.create_dataset("group/deep/y", data=[b"text"])
        hdf5.check_all(file, 10**4)
        change(file)
        with pytest.raises(ValueError, match=message):
            hdf5.check_all(file, 10**4)
