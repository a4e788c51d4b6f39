"""Sparse weight files: exact to the bit, small where weights are pruned, damaged ones refused."""

import io

import keras
import nets
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import kerasticket as kt
from kerasticket.masks import zeroed
from kerasticket.params import differing
from kerasticket.tickets.sparse_files import size_bound

SHAPES = arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)
FLOATS = arrays.arrays(np.float32, SHAPES, elements=st.sampled_from([0.0, -0.0, 1.5, -2.0, np.nan, np.inf, 1e-45]))
NUMBERS = FLOATS | arrays.arrays(np.int64, SHAPES, elements=st.integers(-2, 2)) | arrays.arrays(np.float16, SHAPES)
PATHS = st.text("abc_/|0", min_size=1, max_size=12)


@given(params=st.dictionaries(PATHS, NUMBERS, max_size=4), seed=st.integers(0, 9))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.same_on_every_backend
def test_what_is_loaded_is_what_was_saved(params, seed, tmp_path):
    rng = np.random.default_rng(seed)
    mask = {path: np.asarray(rng.random(a.shape) < 0.5) for path, a in params.items() if rng.random() < 0.5}
    params = zeroed(params, mask)
    kt.save_sparse(tmp_path / "weights.npz", (params, mask))
    found = kt.load_sparse(tmp_path / "weights.npz")
    assert not differing(params, found.params)
    assert not differing(mask, found.mask)
    assert list(found.params) == list(params)
    assert [path.name for path in tmp_path.iterdir()] == ["weights.npz"]


def masked_net() -> keras.Model:
    model = kt.masked(nets.small_convnet())
    kt.set_mask(model, nets.half_mask(model))
    return model


def test_masked_models_and_tickets_come_back(tmp_path):
    model = masked_net()
    for source in (model, kt.Ticket.dense(model)):
        kt.save_sparse(tmp_path / "weights.npz", source)
        found = kt.load_sparse(tmp_path / "weights.npz")
        other = kt.masked(nets.small_convnet())
        kt.set_mask(other, found.mask)
        kt.set_params(other, found.params)
        assert not differing(kt.get_params(other), kt.get_params(model))
        assert not differing(kt.get_mask(other), kt.get_mask(model))
        assert not differing(kt.load_masks(tmp_path / "weights.npz"), kt.get_mask(model))


def test_stripped_models_come_back_without_masks(tmp_path):
    plain = kt.strip(masked_net())
    kt.save_sparse(tmp_path / "weights.npz", plain)
    found = kt.load_sparse(tmp_path / "weights.npz")
    other = nets.small_convnet()
    kt.set_params(other, found.params)
    assert not found.mask
    assert not differing(kt.get_params(other), kt.get_params(plain))


def test_a_sparse_file_of_weights_is_no_ticket_of_others(tmp_path):
    model = masked_net()
    kt.save_sparse(tmp_path / "weights.npz", kt.strip(model))
    with pytest.raises(ValueError, match="load_sparse"):
        kt.load_masks(tmp_path / "weights.npz")
    with pytest.raises(ValueError, match="load_sparse"):
        kt.import_ticket(model, tmp_path / "weights.npz")


@pytest.mark.same_on_every_backend
@pytest.mark.parametrize("with_mask", [True, False])
@pytest.mark.parametrize("kept", [0.5, 0.1, 0.01])
def test_size_falls_with_sparsity(kept, with_mask, tmp_path):
    rng = np.random.default_rng(0)
    mask = {"dense/kernel": rng.random((400, 500)) < kept}
    params = zeroed({"dense/kernel": rng.normal(size=(400, 500)).astype("float32")}, mask)
    kt.save_sparse(tmp_path / "weights.npz", (params, mask if with_mask else {}))
    size = (tmp_path / "weights.npz").stat().st_size
    assert size < 4 * mask["dense/kernel"].sum() + 200_000 / 8 + 2000
    assert size <= size_bound(params, mask)


@pytest.mark.same_on_every_backend
def test_the_bound_holds_for_what_does_not_compress(tmp_path):
    noise = np.random.default_rng(0).integers(0, 2**32, 5000, np.uint32).view(np.float32)
    params = {f"a_long_path_of_a_layer_{i}/kernel": noise for i in range(20)}
    mask = {path: np.ones(5000, bool) for path in list(params)[::2]}
    kt.save_sparse(tmp_path / "weights.npz", (params, mask))
    assert (tmp_path / "weights.npz").stat().st_size <= size_bound(params, mask)


def edited(**changes) -> bytes:
    """A file of one masked weight, some of its arrays others, or absent: None."""
    whole = {"format": np.array("kerasticket sparse weights 1"), "paths": np.array(["k"])}
    whole |= {"mask|k": np.packbits(np.eye(3, dtype=bool)), "shape|k": np.array([3, 3]), "kept|k": np.ones(3, "f4")}
    whole |= {name.replace("__", "|"): array for name, array in changes.items()}
    buffer = io.BytesIO()
    np.savez(buffer, **{name: array for name, array in whole.items() if array is not None})
    return buffer.getvalue()


DAMAGED = {
    "empty": (b"", "Expected an .npz file of plain arrays"),
    "half": (edited()[:300], "Expected an .npz file of plain arrays"),
    "another file": (edited(format=None), "Expected a file of save_sparse.*which is none"),
    "a later format": (edited(format=np.array("kerasticket sparse weights 2")), "Expected a file of save_sparse"),
    "a pickle": (edited(kept__k=np.array([{}], object)), "Python objects in it, which are never loaded"),
    "a weight too few": (edited(kept__k=np.ones(2, "f4")), r"Expected 3 kept weights for 'k'.*shape \(2,\)"),
    "weights of two axes": (edited(kept__k=np.ones((3, 1), "f4")), r"Expected 3 kept weights.*shape \(3, 1\)"),
    "no weights": (edited(kept__k=None), "Expected 3 kept weights for 'k'.*Received: none"),
    "no bits": (edited(mask__k=None), "Expected bits and a shape for the weights 'k'"),
    "no shape": (edited(shape__k=None), "Expected bits and a shape for the weights 'k'"),
    "another shape": (edited(shape__k=np.array([5, 5])), "4 bytes for a mask.*'k'.*damaged"),
    "another path": (edited(paths=np.array(["j"])), "Expected bits and a shape for the weights 'j'"),
}


@pytest.mark.same_on_every_backend
def test_the_file_that_is_damaged_below_is_whole_at_first(tmp_path):
    (tmp_path / "whole.npz").write_bytes(edited())
    np.testing.assert_array_equal(kt.load_sparse(tmp_path / "whole.npz").params["k"], np.eye(3, dtype="f4"))


@pytest.mark.same_on_every_backend
@pytest.mark.parametrize("damage", DAMAGED)
def test_damaged_and_foreign_files_are_refused(damage, tmp_path):
    content, message = DAMAGED[damage]
    (tmp_path / "bad.npz").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        kt.load_sparse(tmp_path / "bad.npz")


K = np.ones((2, 2), "float32")
REFUSED = {
    "a list": ([K], "Expected a model, a ticket or the tuple"),
    "params alone": ({"k": K}, "Expected a model, a ticket or the tuple"),
    "three": (({"k": K}, {}, {}), "Expected a model, a ticket or the tuple"),
    "an unknown path": (({"k": K}, {"j": K > 0}), "masks of booleans that fit the params. Received: 'j'.*no such path"),
    "a mask of numbers": (({"k": K}, {"k": K}), "masks of booleans.*dtype float32"),
    "another shape": (({"k": K}, {"k": K[0] > 0}), r"masks of booleans.*'k' of shape \(2,\).*shape \(2, 2\)"),
    "a pruned weight": (({"k": K}, {"k": K < 0}), "pruned weights to be exactly zero. Received: others at .'k'"),
    "minus zero": (({"k": -0.0 * K}, {"k": K < 0}), "pruned weights to be exactly zero"),
    "texts": (({"k": np.array(["a"])}, {}), "numbers of a type that NumPy files know. Received: <U1"),
    "no model yet": (keras.Sequential([keras.layers.Dense(2)], name="later"), "Expected a built model.*'later'"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_saved_is_refused(kind, tmp_path):
    source, message = REFUSED[kind]
    with pytest.raises(ValueError, match=message):
        kt.save_sparse(tmp_path / "weights.npz", source)
    assert not list(tmp_path.iterdir())


def test_the_ending_is_npz(tmp_path):
    with pytest.raises(ValueError, match=r"ends in \.npz"):
        kt.save_sparse(tmp_path / "weights.keras", nets.mlp())


def test_exported_models_keep_their_zeros(tmp_path):
    if keras.backend.backend() != "tensorflow":
        pytest.skip(f"what is read back here is a SavedModel of TensorFlow; the backend is {keras.backend.backend()}")
    import tensorflow as tf

    plain = kt.strip(masked_net())
    plain.export(tmp_path / "exported", verbose=False)
    served = tf.saved_model.load(str(tmp_path / "exported"))
    zeros = {tuple(v.shape): int((v.numpy() == 0).sum()) for v in served.variables if len(v.shape) > 1}
    params = kt.get_params(plain)
    expected = {array.shape: int((array == 0).sum()) for array in params.values() if array.ndim > 1}
    assert zeros == expected
    assert min(zeros.values()) > 0
    x, _ = nets.batch(plain)
    np.testing.assert_allclose(served.serve(x).numpy(), plain.predict(x, verbose=0), atol=1e-6)
