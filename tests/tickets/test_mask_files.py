"""Mask files: exact for every shape, a bit per weight, readable with NumPy alone, damaged ones refused."""

import io
import zipfile

import keras
import nets
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import kerasticket as kt
from kerasticket.params import differing
from kerasticket.tickets import mask_files

BOOLEANS = arrays.arrays(bool, arrays.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=7))


@given(mask=st.dictionaries(st.text("abc_/|0", min_size=1, max_size=12), BOOLEANS, min_size=1, max_size=4))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.same_on_every_backend
def test_what_is_loaded_is_what_was_saved(mask, tmp_path):
    kt.save_masks(tmp_path / "masks.npz", mask)
    assert not differing(mask, kt.load_masks(tmp_path / "masks.npz"))
    assert [path.name for path in tmp_path.iterdir()] == ["masks.npz"]


def sources():
    model = kt.masked(nets.small_convnet())
    mask = nets.half_mask(model)
    kt.set_mask(model, mask)
    return {"mask": mask, "model": model, "ticket": kt.Ticket.dense(model)}


@pytest.mark.parametrize("source", ["mask", "model", "ticket"])
def test_masks_tickets_and_models_are_saved_alike(source, tmp_path):
    made = sources()
    kt.save_masks(tmp_path / "masks.npz", made[source])
    found = kt.load_masks(tmp_path / "masks.npz")
    assert not differing(found, made["mask"])
    other = kt.masked(nets.small_convnet())
    kt.set_mask(other, found)
    assert not differing(kt.get_mask(other), made["mask"])


@pytest.mark.same_on_every_backend
def test_a_weight_takes_a_bit(tmp_path):
    kept = np.random.default_rng(0).random((400, 1000)) < 0.5  # which no compression makes smaller
    kt.save_masks(tmp_path / "masks.npz", {"dense/kernel": kept})
    assert kept.size / 8 <= (tmp_path / "masks.npz").stat().st_size < 1.02 * kept.size / 8


@pytest.mark.same_on_every_backend
def test_plain_arrays_of_zeros_and_ones_are_masks(tmp_path):
    path = tmp_path / "plain.npz"
    np.savez(path, **{"a/kernel": np.eye(2), "b/kernel": np.eye(2, dtype=bool), "c/kernel": np.eye(2, dtype=np.int8)})
    assert all(array.dtype == bool and (array == np.eye(2)).all() for array in kt.load_masks(path).values())


def bytes_of(**arrays) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **{name.replace("__", "|"): array for name, array in arrays.items()})
    return buffer.getvalue()


def pickled() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, kernel=np.array([{"an": "object"}], object))
    return buffer.getvalue()


def without_a_member() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("kernel.npy", b"no array")
    return buffer.getvalue()


WHOLE = bytes_of(mask__k=np.packbits(np.ones(9, bool)), shape__k=np.array([3, 3]))
DAMAGED = {
    "empty": (b"", "Expected an .npz file of plain arrays"),
    "text": (b"no archive at all", "Expected an .npz file of plain arrays"),
    "half": (WHOLE[: len(WHOLE) // 2], "Expected an .npz file of plain arrays"),
    "no array in it": (without_a_member(), "Expected an .npz file of plain arrays"),
    "a pickle": (pickled(), "Python objects in it, which are never loaded"),
    "another number of bits": (
        bytes_of(mask__k=np.zeros(1, np.uint8), shape__k=np.array([3, 3])),
        "2 bytes for a mask of shape.*1 of uint8.*'k'",
    ),
    "bits of floats": (bytes_of(mask__k=np.zeros(2), shape__k=np.array([3, 3])), "mask of shape.*2 of float64"),
    "no bits": (bytes_of(shape__k=np.array([3, 3])), "bits and a shape for the mask 'k'.*bits=None"),
    "a negative shape": (bytes_of(mask__k=np.zeros(0, np.uint8), shape__k=np.array([-3])), r"shape \(-3,\)"),
    "a shape of floats": (bytes_of(mask__k=np.zeros(2, np.uint8), shape__k=np.array([3.0, 3.0])), "bits and a shape"),
    "a huge shape": (bytes_of(mask__k=np.zeros(2, np.uint8), shape__k=np.array([2**40, 2**40])), "mask of shape"),
    "weights": (bytes_of(k=np.array([0.5, 1.0])), r"0 and 1, at 'k'.*float64 with the values \[0.5\]"),
    "texts": (bytes_of(k=np.array(["a"])), "0 and 1, at 'k'"),
    "not a number": (bytes_of(k=np.array([np.nan, 1.0])), "0 and 1, at 'k'"),
}


@pytest.mark.same_on_every_backend
@pytest.mark.parametrize("damage", DAMAGED)
def test_damaged_and_foreign_files_are_refused(damage, tmp_path):
    content, message = DAMAGED[damage]
    (tmp_path / "bad.npz").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        kt.load_masks(tmp_path / "bad.npz")


@pytest.mark.same_on_every_backend
def test_an_absent_file_and_a_single_array_are_refused(tmp_path):
    np.save(tmp_path / "single.npy", np.ones(3))
    for name in ("absent.npz", "single.npy"):
        with pytest.raises(ValueError, match="Expected an .npz file of plain arrays"):
            kt.load_masks(tmp_path / name)


def test_what_has_no_mask_is_not_saved(tmp_path):
    path = tmp_path / "masks.npz"
    with pytest.raises(ValueError, match=r"ends in \.npz"):
        kt.save_masks(tmp_path / "masks.keras", {"k": np.ones(2, bool)})
    with pytest.raises(ValueError, match="boolean arrays by path"):
        kt.save_masks(path, {"k": np.ones(2)})
    with pytest.raises(ValueError, match="boolean arrays by path"):
        kt.save_masks(path, {})
    with pytest.raises(ValueError, match="Expected a mask, a ticket or a masked model. Received: list"):
        kt.save_masks(path, [np.ones(2, bool)])
    with pytest.raises(ValueError, match="Expected a model with masked layers"):
        kt.save_masks(path, nets.mlp())
    assert not path.exists()


def test_the_model_that_is_asked_is_a_keras_model():
    assert not differing(mask_files.mask_of(kt.masked(nets.mlp())), kt.get_mask(kt.masked(nets.mlp())))
    assert isinstance(kt.masked(nets.mlp()), keras.Model)
