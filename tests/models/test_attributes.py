"""Flags and attributes of layers go through JSON and come back of the same types; what is no data is refused."""

import json

import keras
import nets
import numpy as np
import pytest

from kerasticket.models import attributes
from kerasticket.models.paths import named_variables

pytestmark = pytest.mark.same_on_every_backend


def twin_of(model: keras.Model) -> keras.Model:
    return type(model).from_config(model.get_config())


def through_a_file(model: keras.Model) -> keras.Model:
    """A model built from the config, with what was recorded of this one."""
    recorded = json.loads(json.dumps(attributes.record(model, twin_of(model))))
    again = twin_of(model)
    attributes.put(again, recorded)
    return again


VALUES = {
    "number": 3,
    "text": "a",
    "nothing": None,
    "pair": (1, (2.5, "b")),
    "names": {"b", "a"},
    "frozen": frozenset({1}),
    "table": {1: [True, None], "x": {"y": (1,)}},
    "array": np.arange(6, dtype="int16").reshape(2, 3),
    "scalar": np.float32(0.1),
    "dates": np.array(["2020-01-01"], "datetime64[D]"),
    "texts": np.array(["ab", "c"]),
}


@pytest.mark.parametrize("name", VALUES)
def test_data_come_back_of_the_same_type(name):
    model = nets.mlp()
    vars(model.get_layer("hidden"))[name] = VALUES[name]
    found = vars(through_a_file(model).get_layer("hidden"))[name]
    assert type(found) is type(VALUES[name])
    assert getattr(found, "dtype", None) == getattr(VALUES[name], "dtype", None)
    assert np.all(found == VALUES[name]) if hasattr(found, "dtype") else found == VALUES[name]


def test_flags_and_layers_among_the_attributes_come_back():
    model = nets.small_convnet()
    model.get_layer("conv").trainable = False
    model.get_layer("norm").gamma.trainable = False
    model.last = model.get_layer("classifier")
    again = through_a_file(model)
    assert not again.get_layer("conv").trainable
    assert again.last is again.get_layer("classifier")
    flags = {path: variable.trainable for path, variable in named_variables(again).items()}
    assert flags == {path: variable.trainable for path, variable in named_variables(model).items()}
    assert not flags["norm/gamma"]


def test_a_model_as_its_config_says_has_nothing_to_record():
    model = nets.small_convnet()
    assert attributes.record(model, twin_of(model)) == {"attributes": {}, "trainable": {}}


def test_what_is_no_data_is_refused_by_its_name():
    model = nets.mlp()
    vars(model.get_layer("hidden"))["hook"] = print
    with pytest.raises(ValueError, match=r"Received: 'hook' of 'hidden', of type builtin.*Let Dense write it in"):
        attributes.record(model, twin_of(model))
