"""What every reader of files refuses before it believes anything, by name, and what it goes on reading."""

import io
import json
import struct
import zipfile
from pathlib import Path

import h5py
import mutants
import nets
import numpy as np
import pytest

import kerasticket as kt
from kerasticket.analysis.results import Surface
from kerasticket.data import DistilledSet
from kerasticket.data.formats import torch_files
from kerasticket.files import hdf5
from kerasticket.files.json_files import read_json, write_json

pytestmark = pytest.mark.same_on_every_backend
ASSETS = Path(__file__).parents[2] / "assets"
MASK = {"a/kernel": np.eye(4, dtype=bool), "b/kernel": np.ones((3, 5), bool)}


def surface() -> Surface:
    x = np.arange(9.0)
    return Surface("random", "none", np.ones((9, 2)), x, x, np.zeros((1, 2)), *np.ones((3, 1)), (1.0, 2.0), 0.1)


def test_shipped_files_without_digests_still_load():
    assert all(np.isfinite(Surface.load(path).net_loss).all() for path in ASSETS.glob("results/*.h5"))
    assert len(DistilledSet.load(ASSETS / "distilled" / "digits_ipc1.h5")) == 10


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


@pytest.mark.parametrize("name", ["mask|a/kernel", "shape|a/kernel", "manifest"])
def test_a_lost_member_of_a_mask_file_is_told(name, tmp_path):
    kt.save_masks(tmp_path / "masks.npz", MASK)
    found = mutants.members((tmp_path / "masks.npz").read_bytes())
    del found[f"{name}.npy"]
    (tmp_path / "masks.npz").write_bytes(mutants.zipped(found))
    if name == "manifest":  # a file of before there were any
        assert kt.load_masks(tmp_path / "masks.npz").keys() == MASK.keys()
        return
    with pytest.raises(ValueError, match=r"masks.npz.*lacks arrays against its manifest"):
        kt.load_masks(tmp_path / "masks.npz")


def test_a_lost_member_of_an_older_file_is_told_too(tmp_path):
    np.savez(tmp_path / "masks.npz", **{"mask|a": np.zeros(1, np.uint8)})
    with pytest.raises(ValueError, match="Expected bits and a shape for the mask 'a'"):
        kt.load_masks(tmp_path / "masks.npz")
    np.savez(tmp_path / "sparse.npz", **{"format": np.array("kerasticket sparse weights 1"), "dense|a": np.ones(2)})
    with pytest.raises(ValueError, match="Expected the paths of all weights in '.*sparse.npz'"):
        kt.load_sparse(tmp_path / "sparse.npz")


def test_masks_that_take_more_memory_than_is_believed_are_asked_for(tmp_path):
    kt.save_masks(tmp_path / "masks.npz", {"k": np.ones(4096, bool)})
    with pytest.raises(ValueError, match=r"which claims 4,096. If you trust it, pass most_bytes=4096"):
        kt.load_masks(tmp_path / "masks.npz", most_bytes=4000)
    assert kt.load_masks(tmp_path / "masks.npz", most_bytes=4096)["k"].all()


def test_changed_tickets_are_told(tmp_path):
    path = tmp_path / "ticket.keras"
    kt.Ticket.dense(kt.masked(nets.mlp())).save(path)
    found = mutants.members(path.read_bytes())
    header = json.loads(found["ticket.json"])
    for change, message in (
        ({"ticket.json": json.dumps(header | {"rewind_epoch": 3}).encode()}, "it was changed after it was written"),
        ({"config.json": found["config.json"].replace(b"relu", b"tanh")}, r"its members \['config.json'\]"),
        ({"more.txt": b""}, r"its members \['more.txt'\]"),
        ({"../more.txt": b""}, "members that lead out of it"),
    ):
        path.write_bytes(mutants.zipped(found | change))
        with pytest.raises(ValueError, match=f"ticket.keras.*{message}"):
            kt.Ticket.load(path)


def test_a_config_that_asks_for_more_weights_than_the_file_has_is_not_built(tmp_path):
    from kerasticket.models import saved

    path = tmp_path / "trained.keras"
    nets.mlp().save(path)
    found = mutants.members(path.read_bytes())
    config = json.loads(found["config.json"])
    layer = next(layer for layer in config["config"]["layers"] if "units" in layer["config"])
    layer["config"]["units"] = 10**9
    path.write_bytes(mutants.zipped(found | {"config.json": json.dumps(config).encode()}))
    with pytest.raises(ValueError, match=r"trained.keras'.*its config asks for [\d,]+ weights"):
        saved.load(path)


@pytest.mark.parametrize("pickled", mutants.PICKLES)
def test_pickles_that_declare_sizes_are_refused_or_small(pickled, tmp_path):
    with zipfile.ZipFile(tmp_path / "data.pt", "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
    if pickled == mutants.STACKED:
        assert torch_files.load(tmp_path / "data.pt") == []
        return
    with pytest.raises(ValueError, match=r"data.pt (is refused|is empty, cut short)"):
        print(torch_files.load(tmp_path / "data.pt"))


def test_a_pickle_gets_no_more_than_is_there():
    source = torch_files._Source(io.BytesIO(b"\x96" + struct.pack("<Q", 2**40)))
    with pytest.raises(EOFError, match="names 1,099,511,627,776 bytes, and may have 9"):
        source.read(2**40)


def test_changed_json_is_told_and_fields_are_named(tmp_path):
    path = tmp_path / "result.json"
    write_json(path, {"accuracy": 0.5})
    assert read_json(path) == {"accuracy": 0.5}
    with pytest.raises(ValueError, match="Expected the field 'loss' in '.*result.json'"):
        read_json(path)["loss"]
    path.write_text(path.read_text().replace("0.5", "0.6"))
    with pytest.raises(ValueError, match="result.json' is damaged JSON: it was changed after it was written"):
        read_json(path)
    path.write_text('{"accuracy": 0.6}')  # of before there were digests
    assert read_json(path) == {"accuracy": 0.6}
    for text, message in (("[1]", "an object with fields"), ("[" * 10**5, "too deeply"), ("{", "damaged JSON")):
        path.write_text(text)
        with pytest.raises(ValueError, match=f"result.json.*{message}"):
            read_json(path)
    with pytest.raises(ValueError, match="' is damaged JSON: it is a folder"):
        read_json(tmp_path)


def test_devices_are_no_files():
    with pytest.raises(ValueError, match="it is a device or a pipe"):
        hdf5.read("/dev/zero", "kerasticket surface")


HEADERS = [
    b"{'descr': '<f4', 'fortran_order': False, 'shape': (2,",
    b"{'a': 1}",
    b"(" * 500,
    b"\x00",
    b"{'descr': [, 'shape",
]


@pytest.mark.parametrize("header", HEADERS, ids=range(len(HEADERS)))
def test_a_header_that_is_none_is_refused_by_the_file_s_name(header, tmp_path):
    path = tmp_path / "images.npz"
    member = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(8)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images.npy", member)
        archive.writestr("labels.npy", member)
    for read in (kt.load_masks, kt.load_sparse, lambda path: kt.data.load(f"npz:{path}")):
        with pytest.raises(ValueError, match=r"images\.npz"):
            read(path)
