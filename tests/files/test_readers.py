"""What every reader of files refuses before it believes anything, by name, and what it goes on reading."""

import json
import zipfile
from pathlib import Path

import mutants
import nets
import numpy as np
import pytest

import kerasticket as kt
from kerasticket.analysis.results import Surface
from kerasticket.data import DistilledSet

pytestmark = pytest.mark.same_on_every_backend
ASSETS = Path(__file__).parents[2] / "assets"
MASK = {"a/kernel": np.eye(4, dtype=bool), "b/kernel": np.ones((3, 5), bool)}


def test_shipped_files_without_digests_still_load():
    assert all(np.isfinite(Surface.load(path).net_loss).all() for path in ASSETS.glob("results/*.h5"))
    assert len(DistilledSet.load(ASSETS / "distilled" / "digits_ipc1.h5")) == 10


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
