"""Settings of studies: frozen, read without Keras, and true to the methods and recipes that there are."""

import dataclasses
import subprocess
import sys

import pytest

import kerasticket as kt
from kerasticket.experiments import settings
from kerasticket.experiments.settings import DISTILLATIONS, METHODS, EvaluationSettings

pytestmark = pytest.mark.same_on_every_backend

ALL = [value for name, value in vars(settings).items() if name.endswith("Settings")]


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_settings_are_frozen_and_say_what_they_are(kind):
    first, *others = dataclasses.fields(kind)
    made = kind(("a",)) if first.default is dataclasses.MISSING else kind()
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(made, first.name, None)
    assert all(field.default is not dataclasses.MISSING for field in others)
    assert not kind.__doc__.startswith(kind.__name__)


def test_methods_are_those_of_the_library_with_dc_dsa_and_tesla():
    assert set(METHODS) == {*kt.distillation.METHODS, "dc", "dsa", "tesla"}


@pytest.mark.parametrize("name", DISTILLATIONS)
def test_presets_name_recipes_and_fill_in_their_files(name):
    preset = DISTILLATIONS[name]
    assert preset.augmentation in kt.data.RECIPES
    assert "{ipc}" in preset.out


def test_architectures_are_there():
    from kerasticket.distillation.evaluation import ARCHITECTURES

    assert set(EvaluationSettings(("a",)).architectures) <= set(ARCHITECTURES)


def test_no_keras_is_imported():
    code = "import sys, kerasticket.experiments.settings as _; assert 'keras' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
