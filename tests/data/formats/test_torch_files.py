"""Files of torch.save without torch: tensors of every kind, and pickles that would do harm."""

import io
import os
import pickle
import struct
import zipfile

import mutants
import numpy as np
import pytest

from kerasticket.data.formats import torch_files

pytestmark = pytest.mark.same_on_every_backend


class Harm:
    """Unpickled by plain pickle, it makes a folder."""

    def __init__(self, folder):
        self.folder = str(folder)

    def __reduce__(self):
        return os.mkdir, (self.folder,)


def test_a_malicious_pickle_is_refused_and_runs_nothing(tmp_path):
    """In the zip format and in the old one; plain pickle would have run it."""
    victim = tmp_path / "harmed"
    code = pickle.dumps([Harm(victim), 1])
    with zipfile.ZipFile(tmp_path / "new.pt", "w") as archive:
        archive.writestr("archive/data.pkl", code)
    (tmp_path / "old.pt").write_bytes(code)
    for name in ("new.pt", "old.pt"):
        with pytest.raises(ValueError, match="refused, nothing of it was run: it wants to use .*mkdir"):
            torch_files.load(tmp_path / name)
        assert not victim.exists()
    pickle.loads(code)
    assert victim.exists()


@pytest.mark.parametrize(
    "call",
    [
        b"cbuiltins\neval\n(S'1'\ntR.",
        b"cnumpy\nload\n(S'x'\ntR.",
        b"ctorch\nload\n(S'x'\ntR.",
        b"cnumpy\ndtype\n(S'O'\ntR.",
    ],
)
def test_only_names_of_tensors_are_known(call, tmp_path):
    with zipfile.ZipFile(tmp_path / "set.pt", "w") as archive:
        archive.writestr("archive/data.pkl", call)
    with pytest.raises(ValueError, match="refused"):
        torch_files.load(tmp_path / "set.pt")


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before 1.6"])
def test_tensors_of_every_kind_are_read(zipped, tmp_path):
    """Types, views, empty and shared tensors, parameters, numbers; as torch itself reads them."""
    torch = pytest.importorskip("torch")
    base = torch.arange(24.0).reshape(4, 6)
    kinds = [
        torch.ones(2, dtype=getattr(torch, kind)) for kind in ("bool", "uint8", "int16", "int64", "float16", "float64")
    ]
    value = {
        "views": [base, base[1:, ::2], base.T],
        "kinds": kinds,
        "empty": torch.zeros(0, 3),
        "accuracy": np.float64(0.5),
    }
    value |= {"parameter": torch.nn.Parameter(base), "scalar": torch.tensor(3)}
    torch.save(value, tmp_path / "set.pt", _use_new_zipfile_serialization=zipped)
    read = torch_files.load(tmp_path / "set.pt")
    expected = value["views"] + kinds + [value[name] for name in ("empty", "parameter", "scalar")]
    received = read["views"] + read["kinds"] + [read[name] for name in ("empty", "parameter", "scalar")]
    for array, tensor in zip(received, expected, strict=True):
        np.testing.assert_array_equal(array, tensor.detach().numpy(), strict=True)
    assert read["accuracy"] == 0.5


def test_a_damaged_file_is_named(tmp_path):
    """Cut at several places, empty, or of another kind."""
    torch = pytest.importorskip("torch")
    whole = io.BytesIO()
    torch.save([torch.ones(100), torch.ones(3)], whole)
    whole = whole.getvalue()
    path = tmp_path / "data.pt"
    for content in (whole[: len(whole) // 2], whole[:20], b"", b"no tensors"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"data.pt is empty, cut short or no file of torch.save"):
            torch_files.load(path)
    with pytest.raises(ValueError, match="does not exist"):
        torch_files.load(tmp_path / "absent.pt")


def test_a_file_that_is_cut_within_its_last_storage_is_refused(tmp_path):
    """In the old format too, down to a single value that is left."""
    torch = pytest.importorskip("torch")
    path = tmp_path / "old.pt"
    torch.save([torch.arange(100.0)], path, _use_new_zipfile_serialization=False)
    path.write_bytes(path.read_bytes()[: -99 * 4])
    with pytest.raises(ValueError, match="cut short"):
        torch_files.load(path)


def _shared_tuples(depth: int) -> bytes:
    """A pickle's tuple of the same tuple twice, and so on: small in memory, of 2^depth parts."""
    return b"Nq\x00" + b"".join(b"0h%ch%c\x86q%c" % (i, i, i + 1) for i in range(depth))


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (b"cnumpy\ndtype\n(S'V8'\ntR.", "something else than numbers"),
        (b"ctorch._utils\n_rebuild_tensor_v2\n}S'__doc__'\nS'x'\nsb.", "sets the state"),
        (b"}N" + b"\x85" * 40_000 + b"K\x00s.", "neither text nor numbers"),  # hashing it would crash Python
        (b"}(" + _shared_tuples(60) + b"K\x00u.", "neither text nor numbers"),  # or take 2^60 steps
        (b"(" + _shared_tuples(60) + b"K\x00d.", "neither text nor numbers"),
        (b"ccollections\nOrderedDict\n((" + _shared_tuples(60) + b"K\x00t\x85tR.", "neither text nor numbers"),
        (b"\x8f.", "holds a set"),
        (b"(S'storage'\ntQ.", "no storage of a tensor"),
    ],
)
def test_what_a_pickle_could_do_harm_with_is_refused(code, message, tmp_path):
    with zipfile.ZipFile(tmp_path / "set.pt", "w") as archive:
        archive.writestr("archive/data.pkl", code)
    before = torch_files._Unpickler.tensor.__doc__
    with pytest.raises(ValueError, match=message):
        torch_files.load(tmp_path / "set.pt")
    assert torch_files._Unpickler.tensor.__doc__ == before


def test_a_tensor_cannot_reach_beyond_its_storage():
    tensor = torch_files._Unpickler(io.BytesIO(), None, most=10**6).tensor
    wrapping = (np.uint8(200),), (np.uint8(2),)
    with pytest.raises(ValueError, match="beyond its 143 values"):
        tensor(np.zeros(143), 0, *wrapping)
    with pytest.raises(ValueError, match="beyond its 4 values"):
        tensor(np.zeros(4), 1, (2, 2), (2, 1))
    with pytest.raises(ValueError, match="negative"):
        tensor(np.zeros(4), -1, (2,), (1,))
    with pytest.raises(ValueError, match="larger than the file"):
        tensor(np.zeros(1), 0, (10**5, 10**5), (0, 0))


def test_many_expanded_tensors_do_not_fill_the_memory():
    """Each would be small enough alone."""
    unpickler = torch_files._Unpickler(io.BytesIO(), None, most=8 * 10**6)
    for _ in range(10):
        unpickler.tensor(np.zeros(1), 0, (10**5,), (0,))
    with pytest.raises(ValueError, match="far larger than the file"):
        unpickler.tensor(np.zeros(1), 0, (10**5,), (0,))
    with pytest.raises(ValueError, match="far larger than the file"):
        unpickler.bytes("a" * 10**6, "latin1")


def test_negated_and_bfloat16_tensors_are_read_and_others_named(tmp_path):
    """As torch reads them; of float8 the message says what to do."""
    torch = pytest.importorskip("torch")
    values = torch.tensor([1.5, -2.0, 3.0])
    torch.save([torch._neg_view(values), values.to(torch.bfloat16)], tmp_path / "set.pt")
    negated, half = torch_files.load(tmp_path / "set.pt")
    assert negated.tolist() == [-1.5, 2, -3]
    assert (half.dtype, half.tolist()) == (np.float32, [1.5, -2, 3])
    torch.save([torch.ones(2, dtype=torch.complex64)], tmp_path / "set.pt")
    with pytest.raises(ValueError, match="ComplexFloatStorage; save its tensors as float32"):
        torch_files.load(tmp_path / "set.pt")


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
