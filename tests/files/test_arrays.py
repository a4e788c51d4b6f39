"""Arrays of .npz files: those that come back, and what a manifest tells of one that was changed."""

import json

import mutants
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from kerasticket.files.arrays import Arrays, digest, with_manifest
from kerasticket.params import same_bits

pytestmark = pytest.mark.same_on_every_backend
KINDS = st.sampled_from(["float32", "float64", "int8", "uint16", "bool", "complex64"])


@settings(max_examples=25, deadline=None)
@given(arrays.arrays(KINDS, arrays.array_shapes(min_dims=0, min_side=0, max_side=4)), st.booleans())
def test_any_array_comes_back_to_the_bit(tmp_path_factory, array, by_columns):
    path = tmp_path_factory.mktemp("any") / "a.npz"
    np.savez(path, **with_manifest({"a": np.array(array, order="F" if by_columns else "C")}))
    with Arrays(path) as file:
        assert file.names == ("a",)
        assert same_bits(file["a"], array)


def test_the_digest_is_of_kind_and_shape_as_well_and_not_of_the_order_in_memory():
    array = np.arange(6, dtype="int32").reshape(2, 3)
    others = [array.reshape(3, 2), array.view("float32"), array.astype("int64"), array + 1]
    assert len({digest(each) for each in (array, *others)}) == 5
    assert digest(np.asfortranarray(array)) == digest(array)


def test_a_file_without_a_manifest_is_read_as_it_is(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", a=np.ones(2), b=np.zeros((1, 0)))
    with Arrays(tmp_path / "a.npz") as file:
        assert file.digests is None
        assert {name: array.shape for name, array in file.all().items()} == {"a": (2,), "b": (1, 0)}


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"a": np.full(2, 3.0)}, "'a' is another array than the manifest says: it was changed"),
        ({"b": np.ones(1)}, r"it adds arrays against its manifest: \['b'\]"),
        ({"manifest": np.array(json.dumps({"a": "0", "c": "0"}).encode())}, r"it lacks arrays.*\['c'\]"),
        ({"manifest": np.array(b"[]")}, "its manifest is none"),
        ({"manifest": np.ones(1)}, "its manifest is none"),
        ({"a": np.array([("x", 1)], "U1, i4")}, "which is no plain one"),
        ({"a": np.array([{}], object)}, "an array of object, which is no plain one"),
    ],
)
def test_what_was_changed_is_told(other, message, tmp_path):
    np.savez(tmp_path / "a.npz", **(with_manifest({"a": np.ones(2)}) | other))
    with pytest.raises(ValueError, match=message), Arrays(tmp_path / "a.npz") as file:
        file.all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda npy: npy.replace(b"(2,)", b"(3,)"), r"claims shape \(3,\) of bool, and has 2 bytes"),
        (lambda npy: npy.replace(b"(2,)", b"(-2,)").replace(b" \n", b"\n"), r"claims shape \(-2,\)"),
        (lambda npy: npy[:-1] + b"\x02", "booleans that are neither 0 nor 1"),
        (lambda npy: npy[:6] + b"\x03" + npy[7:], r"an array of NumPy's format \(3, 0\)"),
    ],
)
def test_an_array_that_is_not_what_it_claims_is_refused(change, message, tmp_path):
    np.savez(tmp_path / "a.npz", a=np.ones(2, bool))
    found = mutants.members((tmp_path / "a.npz").read_bytes())
    (tmp_path / "a.npz").write_bytes(mutants.zipped({"a.npy": change(found["a.npy"])}))
    with pytest.raises(ValueError, match=message), Arrays(tmp_path / "a.npz") as file:
        file.all()


def test_a_member_that_is_no_array_is_refused(tmp_path):
    (tmp_path / "a.npz").write_bytes(mutants.zipped({"readme.txt": b"text"}))
    with pytest.raises(ValueError, match="member 'readme.txt' is no array"):
        Arrays(tmp_path / "a.npz")
