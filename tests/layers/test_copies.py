"""A copy answers as its original to the bit, and has its flags and attributes: over a zoo of odd models."""

import dataclasses
import functools

import keras
import numpy as np
import pytest
from keras import tree
from odd_models import ONLY_ON, ZOO

import kerasticket as kt
from kerasticket.layers.composite import plain_kind
from kerasticket.models.paths import layer_paths, named_variables

pytestmark = pytest.mark.filterwarnings("ignore")
HERE = [name for name in ZOO if ONLY_ON.get(name, keras.backend.backend()) == keras.backend.backend()]
COPIED = [name for name in HERE if not ZOO[name].in_place]


def tensors(x):
    # Strings are tensors for TensorFlow alone, which is where they are tried.
    return tree.map_structure(keras.ops.convert_to_tensor, x)


def outputs(model, x) -> list[np.ndarray]:
    return [keras.ops.convert_to_numpy(y) for y in tree.flatten(model(tensors(x), training=False))]


def traits(name: str, model) -> dict:
    """All that is no weight: classes, flags of layers and variables, and what the model's own entry asks for."""
    layers = {
        path: layer for path, layer in layer_paths(model).items() if not isinstance(layer, keras.layers.InputLayer)
    }
    flags = {
        path: (plain_kind(one).__name__, one.trainable, one.supports_masking, one.dtype_policy.name)
        for path, one in ({"": model} | layers).items()
    }
    variables = {path: (v.trainable, v.dtype) for path, v in named_variables(model).items()}
    return {"flags": flags, "variables": variables, "facts": ZOO[name].facts(model)}


@functools.cache
def known(name: str) -> tuple:
    """The model, its outputs, its traits, and its masked copy."""
    model = ZOO[name].make()
    expected, before = outputs(model, ZOO[name].x), traits(name, model)
    return model, expected, before, kt.masked(model)


def check(name: str, copy) -> None:
    _, expected, before, _ = known(name)
    for a, b in zip(outputs(copy, ZOO[name].x), expected, strict=True):
        np.testing.assert_array_equal(a, b)
    assert traits(name, copy) == before


@pytest.mark.parametrize("name", HERE)
def test_masked_is_the_original(name):
    model, _, _, masked = known(name)
    assert (masked is model) == ZOO[name].in_place
    assert "head/kernel" in kt.get_mask(masked) or "hidden/kernel" in kt.get_mask(masked)
    check(name, masked)
    if masked is not model:
        assert not {id(v) for v in model.variables} & {id(v) for v in masked.variables}
        assert not kt.get_mask(model)
        check(name, model)


@pytest.mark.parametrize("name", COPIED)
def test_strip_is_the_original(name):
    masked = known(name)[3]
    plain = kt.strip(masked)
    assert plain is not masked
    assert not kt.get_mask(plain)
    check(name, plain)


@pytest.mark.parametrize("name", COPIED)
def test_the_model_of_a_ticket_is_the_original(name):
    check(name, kt.Ticket.dense(known(name)[3]).model())


@pytest.mark.parametrize("name", COPIED)
def test_a_ticket_is_read_as_it_was_or_refused_at_save(name, tmp_path):
    ticket, path = kt.Ticket.dense(known(name)[3]), tmp_path / "ticket.keras"
    if ZOO[name].refused:
        with pytest.raises(ValueError, match=f"(?s){ZOO[name].refused}.*architecture=None"):
            ticket.save(path)
        assert not list(tmp_path.iterdir())
        ticket = dataclasses.replace(ticket, architecture=None)
    ticket.save(path)
    if not ZOO[name].refused and not ZOO[name].alone:
        check(name, kt.Ticket.load(path).model())
        return
    again = kt.masked(ZOO[name].make())
    kt.Ticket.load(path).apply(again)
    check(name, again)


@pytest.mark.parametrize("name", [name for name in COPIED if ZOO[name].compacted])
def test_compact_is_the_original(name):
    check(name, kt.compact(known(name)[3]).model)


@pytest.mark.parametrize("name", COPIED)
def test_a_copy_has_weights_of_its_own(name):
    model, _, _, masked = known(name)
    twin = kt.Ticket.dense(masked).model()
    for variable in twin.variables:
        variable.assign(np.zeros(variable.shape, variable.dtype))
    check(name, model)
    check(name, masked)
